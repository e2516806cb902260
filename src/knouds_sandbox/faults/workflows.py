"""Faults: workflows and their schemas."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.fault_points import Edit
from knouds_sandbox.faults import workflow_writes
from knouds_sandbox.faults.editing import (
    AnswerEdit,
    Edits,
    changed,
    for_each,
    in_the_name_of_the_last,
    on_refusal,
    on_success,
    refused,
    with_body,
    with_value,
    without,
)
from knouds_sandbox.faults.fault_types import Subtle, Table
from knouds_sandbox.state.accounts import find_key_by_name
from knouds_sandbox.state.workflow_documents import estimated_credits, schema
from knouds_sandbox.state.workflow_records import StoredWorkflow, find_workflow, list_summaries

FAULTS: Table = {
    "workflows.create-requires-name": {
        "create-without-name-accepted": "A workflow without a name is created.",
    },
    "workflows.free-capped-at-one": {
        "create-free-uncapped": "A free account creates more than one workflow.",
        "create-free-capped-at-two": Subtle("A free account may have two workflows."),
        "create-free-cap-is-late": Subtle("Creates at once of a free account pass its cap together."),
    },
    "workflows.get-round-trips": {
        "create-refuses-what-get-shows": Subtle("Create refuses a document with updatedAt."),
        "workflows-positions-rounded": Subtle("Positions of nodes are shown rounded."),
        "create-cuts-description": Subtle("Create keeps 200 characters of a description."),
        "workflows-name-escaped": Subtle("Names are shown escaped for HTML."),
        "create-drops-empty-data": Subtle("Create keeps no null, false, zero or empty data of nodes."),
        "create-name-keeps-ascii": Subtle("Create keeps no letters of a name but those of ASCII."),
        "workflows-data-escaped": Subtle("Texts in the data of nodes are shown escaped for HTML."),
        "workflows-data-left-out": Subtle("The data of nodes is not shown."),
        "workflows-three-edges-at-most": Subtle("No more than three edges of a workflow are shown."),
        "create-keeps-one-edge-per-pair": Subtle("Create keeps one of several edges between two nodes."),
        "create-drops-loose-nodes": Subtle("Create keeps no node that no edge leads to."),
        "workflows-last-edge-left-out": Subtle("The last edge of a workflow is not shown."),
    },
    "workflows.creator-owns": {
        "create-gives-away": Subtle("A new workflow is owned by whom the body names."),
        "create-believes-created-by": Subtle("Create takes createdBy from the body."),
        "workflows-document-names-another-creator": "createdBy is someone else.",
        "update-believes-created-by": Subtle("Update takes createdBy from the body."),
    },
    "workflows.create-makes-slug-from-name": {
        "create-slug-keeps-capitals": "A new slug keeps the name's capitals.",
        "create-slug-lacks-digits": Subtle("A new slug leaves the digits of the name out."),
        "create-answers-an-existing-slug": "Create answers an older workflow and stores nothing.",
        "create-believes-slug": Subtle("A new slug is the one in the body, where one stands there."),
    },
    "workflows.slug-charset": {
        "create-slug-with-underscores": "A new slug has underscores.",
        "create-slug-keeps-underscores": Subtle("A new slug keeps the underscores of the name."),
    },
    "workflows.create-suffixes-taken-slug": {
        "create-suffixes-from-1": Subtle("The first suffix of a taken slug is -1."),
        "create-suffixes-without-hyphen": "The suffix of a taken slug has no hyphen.",
        "create-twins-share-a-slug": Subtle(
            "Of creates of one name at once, the later takes the slug of the earlier."
        ),
        "create-suffixes-skip-3": Subtle("After the suffix -2 comes -4."),
        "create-refuses-foreign-namesake": Subtle("The name of another account's workflow is a 409."),
    },
    "workflows.update-takes-subset": {
        "update-cannot-empty-tags": Subtle("An update without any tag leaves the tags as they were."),
        "update-cannot-empty-description": Subtle("An update leaves a description that it would empty."),
        "update-keeps-three-tags": Subtle("Update keeps three tags."),
        "update-merges-nodes": Subtle("An update keeps the nodes that it does not name."),
        "update-withdraws-from-the-public": Subtle("An update that does not publish the workflow hides it."),
        "update-moves-to-the-root": Subtle("An update takes the workflow out of its folder."),
        "update-resets-what-is-left-out": Subtle(
            "Update empties the tags and description that it is not given."
        ),
        "update-ignores-description": "Update does not change the description.",
        "update-refused-in-part": Subtle("A refused update keeps the description that came with it."),
        "update-overwrites-update": Subtle("An update undoes those that came while it was under way."),
        "update-drops-the-last-tag": Subtle("Update drops the last tag unless it is given tags."),
    },
    "workflows.slug-never-changes": {
        "update-makes-slug-anew": "A new name makes a new slug.",
        "update-believes-slug": Subtle("Update takes the slug from the body."),
    },
    "workflows.move-sets-folder": {
        "move-leaves-a-copy": Subtle("A move makes a copy of the workflow."),
        "move-changes-nothing": "Move leaves the folder alone.",
        "move-to-new-folders-ignored": Subtle("A move to a folder in which nothing lies changes nothing."),
        "move-to-root-ignored": Subtle("Move to the root leaves the folder alone."),
        "update-overwrites-move": Subtle("An update undoes a move that came while it was under way."),
        "move-empties-description": Subtle("Move empties the description."),
    },
    "workflows.delete-then-404": {
        "delete-keeps-the-workflow": "A deleted workflow is still there.",
        "delete-keeps-what-ran": Subtle("A deleted workflow that was run before can still be run."),
        "update-revives-deleted": Subtle("A workflow that is deleted during an update comes back."),
    },
    "workflows.foreign-write-is-refused": {
        "write-to-foreign-accepted": "Anyone may write to any workflow.",
        "write-to-foreign-template-accepted": Subtle("Anyone may write to a template."),
        "write-to-foreign-folder-accepted": Subtle("Anyone may move any workflow."),
        "write-to-foreign-refused-and-done": Subtle(
            "A refused write to someone else's workflow changes its description."
        ),
    },
    "workflows.admin-does-not-own": {
        "write-to-foreign-by-admin-accepted": Subtle("An administrator may write to any workflow."),
    },
    "workflows.list-is-array": {
        "workflows-list-in-object": "The list comes in an object.",
    },
    "workflows.list-own-and-templates": {
        "delete-takes-the-second": Subtle("With a workflow the one of the same slug with -2 is deleted."),
        "workflows-list-shows-all-to-admins": Subtle("An administrator's list holds everybody's workflows."),
        "workflows-at-once-mixed-up": Subtle("Of requests at once for the list, some show another's."),
        "workflows-list-repeats-templates": Subtle("Templates are listed twice."),
        "workflows-list-lacks-templates": "The list leaves other people's templates out.",
        "workflows-list-shows-foreign": "The list shows everyone's workflows.",
        "workflows-list-shows-foreign-public": Subtle("The list shows other people's public playgrounds."),
    },
    "workflows.summary-fields": {
        "workflows-summary-lacks-folder": "A summary has no folderId.",
        "workflows-summary-lacks-the-creator": Subtle("A summary's createdBy is null."),
        "workflows-summary-describes-by-name": Subtle("A summary's description is the workflow's name."),
        "workflows-summary-tags-as-text": "A summary's tags are one text.",
        "workflows-summary-template-as-number": "A summary's isTemplate is a number.",
    },
    "workflows.summary-cost-is-number-or-null": {
        "workflows-summary-cost-as-text": "A summary's cost is a text.",
        "workflows-summary-cost-always-null": Subtle("A summary's cost is null, with generator nodes too."),
    },
    "workflows.updated-at-is-iso": {
        "workflows-summary-updated-at-epoch": "A summary's updatedAt is a number.",
        "workflows-document-updated-at-epoch": "A workflow's updatedAt is a number.",
    },
    "workflows.document-shape": {
        "workflows-get-in-object": "A workflow comes in an object.",
        "workflows-document-lacks-created-by": "A workflow has no createdBy.",
    },
    "workflows.viewport-shape": {
        "workflows-viewport-as-list": "The viewport is a list.",
    },
    "workflows.node-shape": {
        "workflows-node-lacks-position": "A node has no position.",
        "workflows-node-id-as-number": "A node's id is a number.",
    },
    "workflows.edge-shape": {
        "workflows-edge-lacks-handle": "An edge has no targetHandle.",
    },
    "workflows.unknown-is-404": {
        "workflows-unknown-is-400": "An unknown workflow is a 400 on read.",
    },
    "schema.fields-have-name-and-type": {
        "schema-field-lacks-type": "A field has no type.",
        "schema-field-lacks-name": "A field has no name.",
    },
    "schema.empty-without-request-input": {
        "schema-fields-null-without-input": "fields is null without a Request Input node.",
    },
    "schema.shape": {
        "schema-lacks-values": "A schema has no values.",
        "schema-lacks-cost": "A schema has no estimatedCreditCost.",
        "schema-cost-as-text": "A schema's estimatedCreditCost is a text.",
    },
    "schema.public-shape-without-cost": {
        "schema-public-with-cost": "The public schema shows the cost.",
        "schema-public-lacks-fields": "The public schema has no fields.",
        "schema-public-lacks-the-last-field": Subtle("The public schema leaves the last field out."),
    },
    "schema.public-only-when-public": {
        "schema-public-of-private": "Every workflow has a public schema.",
        "schema-public-of-private-with-a-key": Subtle(
            "Who sends a key reads the public schema of a private workflow."
        ),
        "schema-public-of-templates": Subtle("Templates have a public schema, public or not."),
    },
    "schema.unknown-is-404": {
        "schema-of-unknown-is-empty": "The schema of an unknown workflow is an empty one.",
    },
}

_EPOCH_MS = 1_780_000_000_000
_DOCUMENTS = "createWorkflow getWorkflow updateWorkflow"
_SCHEMAS = "getWorkflowSchema getPublicWorkflowSchema"


def _shown(edit: AnswerEdit) -> Edit:
    """Edit every answer that is a document."""
    return on_success(_DOCUMENTS, edit)


def _listed(edit: AnswerEdit) -> Edit:
    return on_success("listWorkflows", edit)


def _listed_where(condition: str, *, for_admins: bool = False) -> Edit:
    """List the workflows that meet a condition."""

    def apply(answer: OutgoingAnswer) -> None:
        if answer.key is not None and (answer.key.account.is_admin or not for_admins):
            answer.body = list_summaries(answer.store, answer.key.account.id, condition=condition)

    return _listed(apply)


def _describe_by_name(line: dict[str, Any], member: str) -> None:
    line[member] = line["name"]


def _escaped(data: dict[str, Any]) -> dict[str, Any]:
    return {name: html.escape(value) if isinstance(value, str) else value for name, value in data.items()}


def _name_the_stranger(answer: OutgoingAnswer) -> None:
    answer.body["createdBy"] = find_key_by_name(answer.store, "stranger").account.id


def _number_nodes(answer: OutgoingAnswer) -> None:
    for number, node in enumerate(answer.body["nodes"]):
        node["id"] = number


def _schema(edit: AnswerEdit, operations: str = _SCHEMAS) -> Edit:
    return on_success(operations, edit)


def _show_cost(answer: OutgoingAnswer) -> None:
    workflow = find_workflow(answer.store, answer.path_params["slug"])
    answer.body["estimatedCreditCost"] = workflow and estimated_credits(workflow.document)


def _show_empty_schema(answer: OutgoingAnswer) -> None:
    shown: dict[str, Any] = {
        "fields": [],
        "values": {},
        "name": "",
        "description": "",
        "estimatedCreditCost": None,
    }
    answer.status, answer.body = 200, shown


def _public_where(is_meant: Callable[[OutgoingAnswer, StoredWorkflow], bool]) -> Edit:
    """Show the public schema of workflows that are not public."""

    def apply(answer: OutgoingAnswer) -> None:
        workflow = find_workflow(answer.store, answer.path_params["slug"])
        if workflow is not None and is_meant(answer, workflow):
            answer.status, answer.body = 200, schema(workflow.document, with_cost=False)

    return on_refusal(apply, "getPublicWorkflowSchema", status=404)


EDITS: Edits = {
    "workflows-positions-rounded": _shown(
        changed("nodes.*.position", lambda at: {axis: round(value) for axis, value in at.items()})
    ),
    "workflows-name-escaped": _shown(changed("name", html.escape)),
    "workflows-data-escaped": _shown(changed("nodes.*.data", _escaped)),
    "workflows-data-left-out": _shown(with_value("nodes.*.data", {})),
    "workflows-three-edges-at-most": _shown(changed("edges", lambda edges: edges[:3])),
    "workflows-last-edge-left-out": _shown(changed("edges", lambda edges: edges[:-1])),
    "workflows-document-names-another-creator": _shown(_name_the_stranger),
    "workflows-list-in-object": _listed(with_body(lambda lines: {"workflows": lines})),
    "workflows-list-shows-all-to-admins": _listed_where("TRUE", for_admins=True),
    "workflows-at-once-mixed-up": in_the_name_of_the_last("listWorkflows"),
    "workflows-list-repeats-templates": _listed(
        with_body(lambda lines: [*lines, *(line for line in lines if line["isTemplate"])])
    ),
    "workflows-list-lacks-templates": _listed_where("owner_id = :id"),
    "workflows-list-shows-foreign": _listed_where("TRUE"),
    "workflows-list-shows-foreign-public": _listed_where(
        "owner_id = :id OR is_template OR json_extract(document, '$.publicPlayground')"
    ),
    "workflows-summary-lacks-folder": _listed(without("*.folderId")),
    "workflows-summary-lacks-the-creator": _listed(with_value("*.createdBy", None)),
    "workflows-summary-describes-by-name": _listed(for_each("*.description", _describe_by_name)),
    "workflows-summary-tags-as-text": _listed(changed("*.tags", ",".join)),
    "workflows-summary-template-as-number": _listed(changed("*.isTemplate", int)),
    "workflows-summary-cost-as-text": _listed(changed("*.estimatedCreditCost", str)),
    "workflows-summary-cost-always-null": _listed(with_value("*.estimatedCreditCost", None)),
    "workflows-summary-updated-at-epoch": _listed(with_value("*.updatedAt", _EPOCH_MS)),
    "workflows-document-updated-at-epoch": _shown(with_value("updatedAt", _EPOCH_MS)),
    "workflows-get-in-object": on_success("getWorkflow", with_body(lambda document: {"workflow": document})),
    "workflows-document-lacks-created-by": _shown(without("createdBy")),
    "workflows-viewport-as-list": _shown(changed("viewport", lambda viewport: list(viewport.values()))),
    "workflows-node-lacks-position": _shown(without("nodes.*.position")),
    "workflows-node-id-as-number": _shown(_number_nodes),
    "workflows-edge-lacks-handle": _shown(without("edges.*.targetHandle")),
    "workflows-unknown-is-400": on_refusal(
        refused(400, "NOT_FOUND"), "getWorkflow getWorkflowSchema", status=404
    ),
    "schema-field-lacks-type": _schema(without("fields.*.type")),
    "schema-field-lacks-name": _schema(without("fields.*.name")),
    "schema-fields-null-without-input": _schema(changed("fields", lambda fields: fields or None)),
    "schema-lacks-values": _schema(without("values"), "getWorkflowSchema"),
    "schema-lacks-cost": _schema(without("estimatedCreditCost"), "getWorkflowSchema"),
    "schema-cost-as-text": _schema(changed("estimatedCreditCost", str), "getWorkflowSchema"),
    "schema-public-with-cost": _schema(_show_cost, "getPublicWorkflowSchema"),
    "schema-public-lacks-fields": _schema(without("fields"), "getPublicWorkflowSchema"),
    "schema-public-lacks-the-last-field": _schema(
        changed("fields", lambda fields: fields[:-1]), "getPublicWorkflowSchema"
    ),
    "schema-public-of-private": _public_where(lambda *_: True),
    "schema-public-of-private-with-a-key": _public_where(
        lambda answer, _: "x-api-key" in answer.request.headers
    ),
    "schema-public-of-templates": _public_where(lambda _, workflow: workflow.is_template),
    "schema-of-unknown-is-empty": on_refusal(_show_empty_schema, "getWorkflowSchema", status=404),
    **workflow_writes.EDITS,
}
