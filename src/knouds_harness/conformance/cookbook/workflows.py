"""Workflows: read, written, and refused."""

from __future__ import annotations

import json
from typing import Any, Final

from knouds_harness.conformance.checks import (
    authentication,
    capabilities,
    envelopes,
    isolation,
    refusals,
    schemas,
    validation,
    workflows,
)
from knouds_harness.conformance.claims import Check
from knouds_harness.conformance.needs import (
    ADMIN_KEY,
    FOREIGN_TEMPLATE,
    FREE_KEY,
    FULL_KEY,
    MAY_WRITE,
    OWN_FILED_WORKFLOW,
    OWN_PRIVATE_WORKFLOW,
    OWN_WORKFLOW,
    PUBLIC_WORKFLOW,
    STRANGER_KEY,
    Need,
)
from knouds_harness.conformance.probe import Call
from knouds_harness.conformance.recipes import MAY_READ, Recipe
from knouds_harness.conformance.stage import Stage
from knouds_harness.conformance.subjects import NO_SUCH_WORKFLOW, SCRATCH_NAME
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.target.resources import Workflow

_TOO_LONG: Final = b" " * 1_500_000
_NOT_JSON: Final = b'{"name": '
_DOCUMENT: Final = {
    "name": "Harness whole document",
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
    workflow: Need[Workflow],
    *checks: Check[...],
    key: Need[Any] | None = FULL_KEY,
    statuses: tuple[int, ...] = (200,),
) -> Recipe:
    def provoke(stage: Stage) -> Exchange:
        return stage.send(operation, key, Call(path_values={"slug": stage.probe.need(workflow).slug}))

    return Recipe(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=statuses,
        needs=(MAY_READ, *((key,) if key else ()), workflow),
        provoke=provoke,
        checks=checks,
    )


def _unknown(operation: str, call: Call, check: Check[[]], *, key: Need[Any] | None = FULL_KEY) -> Recipe:
    return Recipe(
        operation=operation,
        outcome="unknown-slug",
        says="There is no workflow of this slug.",
        statuses=(404,),
        code="NOT_FOUND",
        needs=(MAY_WRITE if call.encoded_body() or operation == "deleteWorkflow" else MAY_READ, FULL_KEY),
        provoke=lambda stage: stage.send(operation, key, call.having(path_values={"slug": NO_SUCH_WORKFLOW})),
        checks=(check,),
    )


def _write(
    operation: str,
    outcome: str,
    says: str,
    call: Call,
    *checks: Check[...],
    statuses: tuple[int, ...] = (200,),
    key: Need[Any] = FULL_KEY,
) -> Recipe:
    """On a workflow that is made for it."""

    def provoke(stage: Stage) -> Exchange:
        slug = (
            stage.subjects.make_workflow() if operation == "deleteWorkflow" else stage.subjects.scratch_slug
        )
        if statuses[0] < 300 and operation == "deleteWorkflow":
            return stage.subjects.delete(stage.owner, slug)
        return stage.send(operation, key, call.having(path_values={"slug": slug}))

    return Recipe(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=statuses,
        needs=(MAY_WRITE, FULL_KEY, key),
        provoke=provoke,
        checks=checks,
    )


def _create(
    outcome: str,
    says: str,
    call: Call,
    *checks: Check[...],
    statuses: tuple[int, ...],
    code: str | None = None,
) -> Recipe:
    def provoke(stage: Stage) -> Exchange:
        exchange = stage.send("createWorkflow", FULL_KEY, call)
        stage.subjects.note_created(exchange)
        return exchange

    return Recipe(
        operation="createWorkflow",
        outcome=outcome,
        says=says,
        statuses=statuses,
        code=code,
        needs=(MAY_WRITE, FULL_KEY),
        provoke=provoke,
        checks=checks,
    )


def _second_of_free_account(stage: Stage) -> Exchange:
    owner = stage.probe.need(FREE_KEY)
    stage.subjects.make_workflow(owner)
    return stage.send("createWorkflow", FREE_KEY, Call(json={"name": SCRATCH_NAME}))


def _sent_back(stage: Stage) -> Exchange:
    slug = stage.probe.need(OWN_WORKFLOW).slug
    document = stage.send("getWorkflow", FULL_KEY, Call(path_values={"slug": slug}))
    created = stage.send("createWorkflow", FULL_KEY, Call(raw=document.body))
    stage.subjects.note_created(created)
    return created


def _read_deleted(stage: Stage) -> Exchange:
    slug = stage.subjects.make_workflow()
    stage.subjects.delete(stage.owner, slug)
    return stage.send("getWorkflow", FULL_KEY, Call(path_values={"slug": slug}))


_FIELD: Final = Call(json={"description": "Written by the harness."})
_FOLDER: Final = Call(json={"folderId": None})
_FOREIGN: Final = refusals.WRITE_FOREIGN_WORKFLOW

_OWN: Final = (capabilities.admitted, workflows.creator_may)
_MOVE: Final = (capabilities.admitted, workflows.move_accepted)

RECIPES: Final = (
    Recipe(
        operation="listWorkflows",
        outcome="summaries",
        says="A key lists workflows.",
        statuses=(200,),
        needs=(MAY_READ, FULL_KEY),
        provoke=lambda stage: stage.send("listWorkflows", FULL_KEY),
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
    _read(
        "getWorkflow", "in-folder", "A key reads a workflow that lies in a folder.", OWN_FILED_WORKFLOW, *_OWN
    ),
    _read(
        "getWorkflow",
        "foreign",
        "A key reads someone else's private workflow.",
        OWN_PRIVATE_WORKFLOW,
        refusals.READ_FOREIGN_WORKFLOW,
        isolation.refused,
        key=STRANGER_KEY,
        statuses=(404, 403),
    ),
    _read(
        "getWorkflow",
        "template",
        "A key reads someone else's template.",
        FOREIGN_TEMPLATE,
        statuses=(200, 403, 404),
    ),
    _unknown("getWorkflow", Call(), refusals.UNKNOWN_WORKFLOW),
    Recipe(
        operation="getWorkflow",
        outcome="bad-slug",
        says="The slug has capitals.",
        statuses=(404, 400),
        needs=(MAY_READ, FULL_KEY),
        provoke=lambda stage: stage.send("getWorkflow", FULL_KEY, Call(path_values={"slug": "No_Such_Slug"})),
    ),
    _read("getWorkflowSchema", "fields", "A key reads the schema of its workflow.", OWN_WORKFLOW, *_OWN),
    _read(
        "getWorkflowSchema",
        "no-fields",
        "A key reads the schema of a workflow without a Request Input node.",
        schemas.WITHOUT_REQUEST_INPUT,
        schemas.no_request_input,
    ),
    _read(
        "getWorkflowSchema",
        "every-field",
        "A key reads the schema of a public workflow.",
        PUBLIC_WORKFLOW,
    ),
    _unknown("getWorkflowSchema", Call(), refusals.UNKNOWN_SCHEMA),
    _read(
        "getPublicWorkflowSchema",
        "public",
        "Anybody reads the schema of a public workflow.",
        PUBLIC_WORKFLOW,
        authentication.public_operation,
        schemas.public_schema,
        key=None,
    ),
    _read(
        "getPublicWorkflowSchema",
        "private",
        "Anybody reads the schema of a private workflow.",
        OWN_PRIVATE_WORKFLOW,
        refusals.PRIVATE_PUBLIC_SCHEMA,
        key=None,
        statuses=(404,),
    ),
    _unknown("getPublicWorkflowSchema", Call(), refusals.PRIVATE_PUBLIC_SCHEMA, key=None),
    _create(
        "created", "A workflow is created.", Call(json={"name": "Harness recorded"}), statuses=(201, 200)
    ),
    _create("whole-document", "A whole document is created.", Call(json=_DOCUMENT), statuses=(201, 200)),
    Recipe(
        operation="createWorkflow",
        outcome="as-read",
        says="A workflow is created from what another one was read as.",
        statuses=(201, 200),
        needs=(MAY_READ, MAY_WRITE, FULL_KEY, OWN_WORKFLOW),
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
        Call(json={"name": SCRATCH_NAME, "tags": 7}),
        validation.misshapen_create,
        statuses=(400, 422),
    ),
    _create("not-json", "The body is cut short.", Call(raw=_NOT_JSON), statuses=(400, 422)),
    _create(
        "too-large",
        "The body is 1.5 MB of blanks.",
        Call(raw=_TOO_LONG),
        envelopes.oversized_body,
        statuses=(413, 400),
    ),
    _create(
        "content-type",
        "The body is sent as text.",
        Call(raw=json.dumps({"name": SCRATCH_NAME}).encode(), headers=(("content-type", "text/plain"),)),
        statuses=(400, 415, 422, 201, 200),
    ),
    Recipe(
        operation="createWorkflow",
        outcome="second-of-free-account",
        says="A free account creates a second workflow.",
        statuses=(403, 402, 409),
        needs=(MAY_WRITE, FREE_KEY),
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
    Recipe(
        operation="updateWorkflow",
        outcome="template",
        says="Someone else's template is changed.",
        statuses=(403, 404),
        needs=(MAY_WRITE, FULL_KEY, FOREIGN_TEMPLATE),
        provoke=lambda stage: stage.send(
            "updateWorkflow",
            FULL_KEY,
            _FIELD.having(path_values={"slug": stage.probe.need(FOREIGN_TEMPLATE).slug}),
        ),
        checks=(workflows.template_write,),
    ),
    _write(
        "updateWorkflow", "misshapen", "The name is a number.", Call(json={"name": 7}), statuses=(400, 422)
    ),
    _write("updateWorkflow", "not-json", "The body is cut short.", Call(raw=_NOT_JSON), statuses=(400, 422)),
    _write(
        "updateWorkflow",
        "foreign",
        "Someone else changes the description.",
        _FIELD,
        _FOREIGN,
        statuses=(403, 404),
        key=STRANGER_KEY,
    ),
    _unknown("updateWorkflow", _FIELD, refusals.UNKNOWN_WORKFLOW),
    _write("moveWorkflow", "to-root", "The workflow is moved to the root.", _FOLDER, *_MOVE),
    _write(
        "moveWorkflow",
        "no-folder",
        "The body names no folder.",
        Call(json={}),
        validation.misshapen_move,
        statuses=(400, 422),
    ),
    _write(
        "moveWorkflow",
        "foreign",
        "Someone else moves the workflow.",
        _FOLDER,
        _FOREIGN,
        statuses=(403, 404),
        key=STRANGER_KEY,
    ),
    _unknown("moveWorkflow", _FOLDER, refusals.UNKNOWN_WORKFLOW),
    _write("deleteWorkflow", "deleted", "The owner deletes a workflow.", Call(), *_OWN),
    Recipe(
        operation="getWorkflow",
        outcome="deleted",
        says="A workflow is read that was deleted.",
        statuses=(404,),
        code="NOT_FOUND",
        needs=(MAY_READ, MAY_WRITE, FULL_KEY),
        provoke=_read_deleted,
        checks=(workflows.gone,),
    ),
    _write(
        "deleteWorkflow",
        "foreign",
        "Someone else deletes the workflow.",
        Call(),
        _FOREIGN,
        statuses=(403, 404),
        key=STRANGER_KEY,
    ),
    _unknown("deleteWorkflow", Call(), refusals.UNKNOWN_WORKFLOW),
)
