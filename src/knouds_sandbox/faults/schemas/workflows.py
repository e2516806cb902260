"""Faults: the shape of workflows, summaries and schemas."""

import html
from typing import Any

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.envelopes import invalid_body
from knouds_sandbox.fault_points import Edit
from knouds_sandbox.faults.editing import AnswerEdit, changed, for_each, on_success, with_value, without
from knouds_sandbox.faults.fault import fault
from knouds_sandbox.faults.resource_edits import on_create, on_document, on_list, with_slug
from knouds_sandbox.handlers.workflows import NewWorkflow
from knouds_sandbox.state.workflow_documents import estimated_credits, make_slug
from knouds_sandbox.state.workflow_records import find_workflow

_EPOCH_MS = 1_780_000_000_000

_SCHEMAS = "getWorkflowSchema getPublicWorkflowSchema"


def _schema(edit: AnswerEdit, operations: str = _SCHEMAS) -> Edit:
    return on_success(operations, edit)


@fault("workflows.get-round-trips", on_create, is_subtle=True)
def create_refuses_what_get_shows(new: NewWorkflow) -> None:
    """Create refuses a document with updatedAt."""
    if "updatedAt" in new.body:
        raise invalid_body("updatedAt is set by the server.")


@fault("workflows.get-round-trips", is_subtle=True)
def workflows_name_escaped() -> Edit:
    """Names are shown escaped for HTML."""
    return on_document(changed("name", html.escape))


@fault("workflows.get-round-trips", on_create, is_subtle=True)
def create_drops_loose_nodes(new: NewWorkflow) -> None:
    """Create drops nodes without an edge."""
    tied = {edge[end] for edge in new.members["edges"] for end in ("source", "target")}
    new.members["nodes"] = [node for node in new.members["nodes"] if node["id"] in tied]


@fault("workflows.slug-charset")
def create_slug_with_underscores() -> Edit:
    """A new slug has underscores."""
    return with_slug(lambda name: make_slug(name, joiner="_"))


@fault("workflows.summary-fields")
def workflows_summary_lacks_folder() -> Edit:
    """A summary has no folderId."""
    return on_list(without("*.folderId"))


@fault("workflows.summary-fields", lambda edit: on_list(for_each("*.description", edit)), is_subtle=True)
def workflows_summary_describes_by_name(line: dict[str, Any], member: str) -> None:
    """A summary's description is the workflow's name."""
    line[member] = line["name"]


@fault("workflows.summary-cost-is-number-or-null", is_subtle=True)
def workflows_summary_cost_always_null() -> Edit:
    """A summary's cost is null, even with generator nodes."""
    return on_list(with_value("*.estimatedCreditCost", None))


@fault("workflows.updated-at-is-iso")
def workflows_document_updated_at_epoch() -> Edit:
    """A workflow's updatedAt is a number."""
    return on_document(with_value("updatedAt", _EPOCH_MS))


@fault("workflows.document-shape")
def workflows_document_lacks_created_by() -> Edit:
    """A workflow has no createdBy."""
    return on_document(without("createdBy"))


@fault("workflows.viewport-shape")
def workflows_viewport_as_list() -> Edit:
    """The viewport is a list."""
    return on_document(changed("viewport", lambda viewport: list(viewport.values())))


@fault("workflows.node-shape")
def workflows_node_lacks_position() -> Edit:
    """A node has no position."""
    return on_document(without("nodes.*.position"))


@fault("workflows.edge-shape")
def workflows_edge_lacks_handle() -> Edit:
    """An edge has no targetHandle."""
    return on_document(without("edges.*.targetHandle"))


@fault("schema.fields-have-name-and-type")
def schema_field_lacks_type() -> Edit:
    """A field has no type."""
    return _schema(without("fields.*.type"))


@fault("schema.empty-without-request-input")
def schema_fields_null_without_input() -> Edit:
    """A schema's fields are null without a Request Input node."""
    return _schema(changed("fields", lambda fields: fields or None))


@fault("schema.shape")
def schema_lacks_values() -> Edit:
    """A schema has no values."""
    return _schema(without("values"), "getWorkflowSchema")


@fault("schema.shape")
def schema_cost_as_text() -> Edit:
    """A schema's estimatedCreditCost is a string."""
    return _schema(changed("estimatedCreditCost", str), "getWorkflowSchema")


@fault("schema.public-shape-without-cost", lambda edit: _schema(edit, "getPublicWorkflowSchema"))
def schema_public_with_cost(answer: OutgoingAnswer) -> None:
    """The public schema shows the cost."""
    workflow = find_workflow(answer.store, answer.path_params["slug"])
    answer.body["estimatedCreditCost"] = workflow and estimated_credits(workflow.document)


@fault("schema.public-shape-without-cost", is_subtle=True)
def schema_public_lacks_the_last_field() -> Edit:
    """The public schema leaves out the last field."""
    return _schema(changed("fields", lambda fields: fields[:-1]), "getPublicWorkflowSchema")
