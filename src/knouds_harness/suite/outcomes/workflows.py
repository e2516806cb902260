"""Workflows: read, written, and refused."""

from __future__ import annotations

from typing import Any, Final

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.workflow_names import fresh_name, marked
from knouds_harness.judging.checks import (
    authentication,
    capabilities,
    isolation,
    schemas,
    validation,
    workflows,
)
from knouds_harness.judging.checks.envelopes import refusals
from knouds_harness.judging.claim import Check
from knouds_harness.suite.outcomes.outcome import MAY_READ, ProvokedOutcome
from knouds_harness.suite.outcomes.resources import OutcomeResources
from knouds_harness.suite.support.call import Call
from knouds_harness.suite.support.subjects import NO_SUCH_WORKFLOW
from knouds_harness.suite.support.workflow_authoring import objects_in
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.keys import ADMIN_KEY, AUTHOR, FREE_KEY, READER, TWO_AUTHORS, WRITER
from knouds_harness.targets.needs.need import Need
from knouds_harness.targets.needs.workflows import (
    EDITED_WORKFLOW,
    FILED_WORKFLOW,
    FOREIGN_TEMPLATE,
    FOREIGN_WORKFLOW,
    OWN_WORKFLOW,
    PRIVATE_WORKFLOW,
    PUBLIC_WORKFLOW,
    WITHOUT_REQUEST_INPUT,
    key_with_workflow,
)
from knouds_harness.targets.resources import Workflow

_TOO_LONG: Final = b" " * 1_500_000
_NOT_JSON: Final = b'{"name": '
_DOCUMENT: Final = {
    "name": "whole document",
    "description": "Recorded, then deleted.",
    "tags": ["harness"],
    "nodes": [{"id": "in", "type": "Request Input", "position": {"x": 0, "y": 0}, "data": {"fields": []}}],
    "edges": [],
    "viewport": {"x": 0, "y": 0, "zoom": 1},
}


def _read(
    operation: str,
    outcome: str,
    says: str,
    need: Need[Any],
    *checks: Check[...],
    statuses: tuple[int, ...] = (200,),
) -> ProvokedOutcome:
    """By the key that the need finds, or where it finds none, by nobody."""

    def provoke(resources: OutcomeResources) -> Exchange:
        found = resources.tester.need(need)
        key, workflow = (None, found) if isinstance(found, Workflow) else found
        return resources.tester.send(operation, key, Call(path_values={"slug": workflow.slug}))

    return ProvokedOutcome(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=statuses,
        needs=(MAY_READ, need),
        provoke=provoke,
        checks=checks,
    )


def _unknown(operation: str, call: Call, check: Check[[]], *, key: Need[Any] | None) -> ProvokedOutcome:
    return ProvokedOutcome(
        operation=operation,
        outcome="unknown-slug",
        says="There is no workflow of this slug.",
        statuses=(404,),
        code="NOT_FOUND",
        needs=(MAY_READ, *((key,) if key else ())),
        provoke=lambda resources: resources.send(
            operation, key, call.having(path_values={"slug": NO_SUCH_WORKFLOW})
        ),
        checks=(check,),
    )


def _write(
    operation: str,
    outcome: str,
    says: str,
    call: Call,
    *checks: Check[...],
    statuses: tuple[int, ...] = (200,),
    key: Need[Any] = AUTHOR,
) -> ProvokedOutcome:
    """On a workflow that is made for it."""

    def provoke(resources: OutcomeResources) -> Exchange:
        slug = (
            resources.subjects.make_workflow()
            if operation == "deleteWorkflow"
            else resources.subjects.scratch_slug
        )
        if statuses[0] < 300 and operation == "deleteWorkflow":
            return resources.subjects.delete(resources.tester.need(AUTHOR), slug)
        return resources.send(operation, key, call.having(path_values={"slug": slug}))

    return ProvokedOutcome(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=statuses,
        needs=(AUTHOR, key),
        provoke=provoke,
        checks=checks,
    )


def _write_of_stranger(operation: str, says: str, call: Call) -> ProvokedOutcome:
    """On a workflow that is made for it by the first of two authors, with the key of the second."""

    def provoke(resources: OutcomeResources) -> Exchange:
        owner, stranger = resources.tester.need(TWO_AUTHORS)
        slug = resources.subjects.make_workflow(owner)
        return resources.tester.send(operation, stranger, call.having(path_values={"slug": slug}))

    return ProvokedOutcome(
        operation=operation,
        outcome="foreign",
        says=says,
        statuses=(403, 404),
        needs=(TWO_AUTHORS,),
        provoke=provoke,
        checks=(refusals.WRITE_FOREIGN_WORKFLOW,),
    )


def _create(
    outcome: str,
    says: str,
    call: Call,
    *checks: Check[...],
    statuses: tuple[int, ...],
) -> ProvokedOutcome:
    def provoke(resources: OutcomeResources) -> Exchange:
        return resources.send("createWorkflow", WRITER, call.having(json=marked(call.json)))

    return ProvokedOutcome(
        operation="createWorkflow",
        outcome=outcome,
        says=says,
        statuses=statuses,
        needs=(WRITER,),
        provoke=provoke,
        checks=checks,
    )


def _second_of_free_account(resources: OutcomeResources) -> Exchange:
    owner = resources.tester.need(FREE_KEY)
    resources.subjects.make_workflow(owner)
    return resources.send("createWorkflow", FREE_KEY, Call(json={"name": fresh_name("second")}))


def _sent_back(resources: OutcomeResources) -> Exchange:
    key, workflow = resources.tester.need(EDITED_WORKFLOW)
    document = resources.tester.send("getWorkflow", key, Call(path_values={"slug": workflow.slug}))
    return resources.tester.send("createWorkflow", key, Call(json=marked(document.json_or_none())))


def _read_deleted(resources: OutcomeResources) -> Exchange:
    slug = resources.subjects.make_workflow()
    resources.subjects.delete(resources.tester.need(AUTHOR), slug)
    return resources.send("getWorkflow", AUTHOR, Call(path_values={"slug": slug}))


def _write_to_template(resources: OutcomeResources) -> Exchange:
    key, template = resources.tester.need(FOREIGN_TEMPLATE)
    summaries = resources.tester.send("listWorkflows", key).json_or_none()
    listed = [each for each in objects_in(summaries) if each.get("slug") == template.slug and "name" in each]
    if not listed:
        raise Untested("a template that the list shows", "profile")
    call = Call(
        path_values={"slug": template.slug}, json={"name": listed[0]["name"]}
    )  # which changes nothing
    return resources.tester.send("updateWorkflow", key, call)


_FIELD: Final = Call(json={"description": "Written by the harness."})
_FOLDER: Final = Call(json={"folderId": None})

_OWN: Final = (capabilities.admitted, workflows.creator_may)
_MOVE: Final = (capabilities.admitted, workflows.move_accepted)

OUTCOMES: Final = (
    ProvokedOutcome(
        operation="listWorkflows",
        outcome="summaries",
        says="A key lists workflows.",
        statuses=(200,),
        needs=(MAY_READ, READER),
        provoke=lambda resources: resources.send("listWorkflows", READER),
        checks=(capabilities.admitted, validation.bodiless),
    ),
    _read(
        "getWorkflow",
        "document",
        "A key reads a workflow of its account.",
        OWN_WORKFLOW,
        *_OWN,
        validation.bodiless,
    ),
    _read("getWorkflow", "in-folder", "A key reads a workflow that lies in a folder.", FILED_WORKFLOW, *_OWN),
    _read(
        "getWorkflow",
        "foreign",
        "A key reads someone else's private workflow.",
        FOREIGN_WORKFLOW,
        refusals.READ_FOREIGN_WORKFLOW,
        isolation.refused,
        statuses=(404, 403),
    ),
    _read(
        "getWorkflow",
        "template",
        "A key reads someone else's template.",
        FOREIGN_TEMPLATE,
        statuses=(200, 403, 404),
    ),
    _unknown("getWorkflow", Call(), refusals.UNKNOWN_WORKFLOW, key=READER),
    ProvokedOutcome(
        operation="getWorkflow",
        outcome="bad-slug",
        says="The slug has capitals.",
        statuses=(404, 400),
        needs=(MAY_READ, READER),
        provoke=lambda resources: resources.send(
            "getWorkflow", READER, Call(path_values={"slug": "No_Such_Slug"})
        ),
    ),
    _read("getWorkflowSchema", "fields", "A key reads the schema of its workflow.", OWN_WORKFLOW, *_OWN),
    _read(
        "getWorkflowSchema",
        "no-fields",
        "A key reads the schema of a workflow without a Request Input node.",
        WITHOUT_REQUEST_INPUT,
        schemas.no_request_input,
    ),
    _read(
        "getWorkflowSchema",
        "every-field",
        "A key reads the schema of a public workflow.",
        key_with_workflow("workflow:read", having="with public = true", fits=lambda each: each.public),
    ),
    _read(
        "getWorkflowSchema",
        "foreign",
        "A key reads the schema of someone else's private workflow.",
        FOREIGN_WORKFLOW,
        refusals.READ_FOREIGN_WORKFLOW,
        isolation.refused,
        statuses=(404, 403),
    ),
    _unknown("getWorkflowSchema", Call(), refusals.UNKNOWN_SCHEMA, key=READER),
    _read(
        "getPublicWorkflowSchema",
        "public",
        "Anybody reads the schema of a public workflow.",
        PUBLIC_WORKFLOW,
        authentication.public_operation,
        schemas.public_schema,
    ),
    _read(
        "getPublicWorkflowSchema",
        "private",
        "Anybody reads the schema of a private workflow.",
        PRIVATE_WORKFLOW,
        refusals.PRIVATE_PUBLIC_SCHEMA,
        statuses=(404,),
    ),
    _unknown("getPublicWorkflowSchema", Call(), refusals.UNKNOWN_SCHEMA, key=None),
    _create("created", "A workflow is created.", Call(json={"name": "recorded"}), statuses=(201, 200)),
    _create("whole-document", "A whole document is created.", Call(json=_DOCUMENT), statuses=(201, 200)),
    ProvokedOutcome(
        operation="createWorkflow",
        outcome="as-read",
        says="A workflow is created from what another one was read as.",
        statuses=(201, 200),
        needs=(MAY_READ, EDITED_WORKFLOW),
        provoke=_sent_back,
        checks=(capabilities.admitted, schemas.round_trip),
    ),
    _create(
        "no-name",
        "A workflow without a name is created.",
        Call(json={"description": "no name"}),
        validation.create_without_name,
        statuses=(400, 422),
    ),
    _create(
        "misshapen",
        "The tags are no list.",
        Call(json={"name": "misshapen", "tags": 7}),
        validation.misshapen_create,
        statuses=(400, 422),
    ),
    _create("not-json", "The body is cut short.", Call(raw=_NOT_JSON), statuses=(400, 422)),
    _create(
        "too-large",
        "The body is 1.5 MB of blanks.",
        Call(raw=_TOO_LONG),
        refusals.oversized_body,
        statuses=(413, 400),
    ),
    _create(
        "content-type",
        "The body is sent as text.",
        Call(json={"name": "as text"}, headers=(("content-type", "text/plain"),)),
        statuses=(400, 415, 422, 201, 200),
    ),
    ProvokedOutcome(
        operation="createWorkflow",
        outcome="second-of-free-account",
        says="A free account creates a second workflow.",
        statuses=(403, 402, 409),
        needs=(FREE_KEY,),
        provoke=_second_of_free_account,
        checks=(workflows.second_of_free_account,),
    ),
    _write(
        "updateWorkflow",
        "written",
        "The description is changed.",
        _FIELD,
        capabilities.admitted,
        workflows.update_accepted,
    ),
    _write(
        "updateWorkflow",
        "by-admin",
        "An administrator changes the description of someone else's workflow.",
        _FIELD,
        workflows.admin_write,
        statuses=(403, 404),
        key=ADMIN_KEY,
    ),
    ProvokedOutcome(
        operation="updateWorkflow",
        outcome="template",
        says="Someone else's template is changed.",
        statuses=(403, 404),
        needs=(FOREIGN_TEMPLATE,),
        provoke=_write_to_template,
        checks=(workflows.template_write,),
    ),
    _write(
        "updateWorkflow", "misshapen", "The name is a number.", Call(json={"name": 7}), statuses=(400, 422)
    ),
    _write("updateWorkflow", "not-json", "The body is cut short.", Call(raw=_NOT_JSON), statuses=(400, 422)),
    _write_of_stranger("updateWorkflow", "Someone else changes the description.", _FIELD),
    _unknown("updateWorkflow", _FIELD, refusals.UNKNOWN_WORKFLOW, key=WRITER),
    _write("moveWorkflow", "to-root", "The workflow is moved to the root.", _FOLDER, *_MOVE),
    _write(
        "moveWorkflow",
        "no-folder",
        "The body names no folder.",
        Call(json={}),
        validation.misshapen_move,
        statuses=(400, 422),
    ),
    _write_of_stranger("moveWorkflow", "Someone else moves the workflow.", _FOLDER),
    _unknown("moveWorkflow", _FOLDER, refusals.UNKNOWN_WORKFLOW, key=WRITER),
    _write("deleteWorkflow", "deleted", "The owner deletes a workflow.", Call(), *_OWN),
    ProvokedOutcome(
        operation="getWorkflow",
        outcome="deleted",
        says="A workflow is read that was deleted.",
        statuses=(404,),
        code="NOT_FOUND",
        needs=(MAY_READ, AUTHOR),
        provoke=_read_deleted,
        checks=(workflows.gone,),
    ),
    _write_of_stranger("deleteWorkflow", "Someone else deletes the workflow.", Call()),
    _unknown("deleteWorkflow", Call(), refusals.UNKNOWN_WORKFLOW, key=WRITER),
)
