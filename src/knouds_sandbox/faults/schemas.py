"""Faults: the shape of responses."""

import html
from functools import partial

from knouds_sandbox.answers import AnswerEdit, OutgoingAnswer, answered
from knouds_sandbox.bodies import invalid_body
from knouds_sandbox.fault_points import Edit, fault, note_met
from knouds_sandbox.faults.editing import (
    RESET,
    RUNS,
    changed,
    ignoring,
    on_answer,
    on_create,
    on_document,
    on_list,
    on_poll,
    on_rows,
    on_run,
    on_run_where,
    on_submit,
    on_success,
    on_usage,
    refused,
    sent_as,
    since_end_s,
    with_header,
    with_slug,
    with_value,
    without,
)
from knouds_sandbox.handlers.workflows import NewWorkflow
from knouds_sandbox.state.workflows import estimated_credits, find_workflow, make_slug


@fault("usage.page-shape", on_usage(without("total")))
def usage_lacks_total() -> None:
    """Usage has no total."""


@fault("usage.row-shape", on_usage(without("rows.*.requestId")))
def usage_row_lacks_request_id() -> None:
    """A row has no requestId."""


@fault("usage.row-status-closed", on_rows(lambda run: {"status": "done"} if run.ended_unix_s else {}))
def usage_row_status_is_done() -> None:
    """The row of an ended run has the status done."""


@fault("usage.source-closed", on_usage(with_value("rows.*.source", "api")))
def usage_row_source_is_api() -> None:
    """A row's source is api."""


@fault("usage.slim-has-no-workflow", on_usage(changed("rows.*.workflowSlug", lambda slug: slug or "direct")))
def usage_slim_names_a_workflow() -> None:
    """The row of a direct model run names a workflow."""


@fault("usage.no-provider-ids", is_subtle=True)
def usage_models_shows_provider_ids() -> Edit:
    """Usage models shows a provider-internal id; rows do not."""
    return on_success("listUsageModels", changed("models", lambda ids: [*ids, "fal:seedance/v2"]))


@fault("usage.models-are-distinct")
def usage_models_repeat() -> Edit:
    """Usage models repeats ids."""
    return on_success("listUsageModels", changed("models", lambda ids: sorted(ids + ids)))


@fault("usage.models-are-distinct", is_subtle=True)
def usage_models_lacks_the_last() -> Edit:
    """Usage models leaves out the last model."""
    return on_success("listUsageModels", changed("models", lambda ids: ids[:-1]))


@fault("usage.models-are-distinct", ignoring("owner", operations="listUsageModels"))
def usage_models_of_everyone() -> None:
    """Usage models lists everyone's models."""


@fault("whoami.user-object", on_success("getWhoami", without("user.email")))
def whoami_lacks_email() -> None:
    """The user has no email."""


@fault("whoami.role-closed", on_success("getWhoami", changed("user.role", str.upper)))
def whoami_role_in_capitals() -> None:
    """whoami's role is in capitals."""


@fault("whoami.tier-is-string", on_success("getWhoami", with_value("user.tier", 4)))
def whoami_tier_as_number() -> None:
    """whoami's tier is a number."""


@fault("whoami.approved-is-true", on_success("getWhoami", with_value("user.approved", "true")))
def whoami_approved_as_text() -> None:
    """whoami's approved is a string."""


@fault("ground.status-is-documented", on_success("getWhoami", answered(203)))
def whoami_is_203() -> None:
    """whoami answers 203."""


@fault("pricing.is-public-json")
def pricing_is_404() -> Edit:
    """Public pricing gets a 404."""
    return on_answer("getPublicPricing", refused(404, "NOT_FOUND", "There is no such route."))


@fault("health.is-public-json", on_answer("getHealth", sent_as(b"ok", "text/plain; charset=utf-8")))
def health_is_text() -> None:
    """Health is plain text."""


_EPOCH_MS = 1_780_000_000_000

_SCHEMAS = "getWorkflowSchema getPublicWorkflowSchema"


def _schema(edit: AnswerEdit, operations: str = _SCHEMAS) -> Edit:
    return on_success(operations, edit)


@fault("workflows.get-round-trips", on_create, is_subtle=True)
def create_refuses_what_get_shows(new: NewWorkflow) -> None:
    """Create refuses a document with updatedAt."""
    if "updatedAt" in new.body:
        note_met()
        raise invalid_body("updatedAt is set by the server.")


@fault("workflows.get-round-trips", on_document(changed("name", html.escape)), is_subtle=True)
def workflows_name_escaped() -> None:
    """Names are shown escaped for HTML."""


@fault("workflows.get-round-trips", on_create, is_subtle=True)
def create_drops_loose_nodes(new: NewWorkflow) -> None:
    """Create drops nodes without an edge."""
    tied = {edge[end] for edge in new.members["edges"] for end in ("source", "target")}
    new.members["nodes"] = [node for node in new.members["nodes"] if node["id"] in tied]


@fault("workflows.slug-charset", with_slug(lambda name: make_slug(name).replace("-", "_")))
def create_slug_with_underscores() -> None:
    """A new slug has underscores."""


@fault("workflows.summary-fields", on_list(without("*.folderId")))
def workflows_summary_lacks_folder() -> None:
    """A summary has no folderId."""


@fault("workflows.summary-cost-is-number-or-null", is_subtle=True)
def workflows_summary_cost_always_null() -> Edit:
    """A summary's cost is null, even with generator nodes."""
    return on_list(with_value("*.estimatedCreditCost", None))


@fault("workflows.updated-at-is-iso", on_document(with_value("updatedAt", _EPOCH_MS)))
def workflows_document_updated_at_epoch() -> None:
    """A workflow's updatedAt is a number."""


@fault("workflows.document-shape", on_document(without("createdBy")))
def workflows_document_lacks_created_by() -> None:
    """A workflow has no createdBy."""


@fault("workflows.viewport-shape", on_document(changed("viewport", lambda viewport: list(viewport.values()))))
def workflows_viewport_as_list() -> None:
    """The viewport is a list."""


@fault("workflows.node-shape", on_document(without("nodes.*.position")))
def workflows_node_lacks_position() -> None:
    """A node has no position."""


@fault("workflows.edge-shape", on_document(without("edges.*.targetHandle")))
def workflows_edge_lacks_handle() -> None:
    """An edge has no targetHandle."""


@fault("schema.fields-have-name-and-type", _schema(without("fields.*.type")))
def schema_field_lacks_type() -> None:
    """A field has no type."""


@fault("schema.empty-without-request-input", _schema(changed("fields", lambda fields: fields or None)))
def schema_fields_null_without_input() -> None:
    """A schema's fields are null without a Request Input node."""


@fault("schema.shape", _schema(without("values"), "getWorkflowSchema"))
def schema_lacks_values() -> None:
    """A schema has no values."""


@fault("schema.public-shape-without-cost", lambda edit: _schema(edit, "getPublicWorkflowSchema"))
def schema_public_with_cost(answer: OutgoingAnswer) -> None:
    """The public schema shows the cost."""
    workflow = find_workflow(answer.store, answer.path_params["slug"])
    answer.body["estimatedCreditCost"] = workflow and estimated_credits(workflow.document)


@fault("schema.public-shape-without-cost", is_subtle=True)
def schema_public_lacks_the_last_field() -> Edit:
    """The public schema leaves out the last field."""
    return _schema(changed("fields", lambda fields: fields[:-1]), "getPublicWorkflowSchema")


@fault("async.submit-shape", on_submit(without("_async")))
def async_lacks_marker() -> None:
    """A submit has no _async."""


@fault("async.submit-is-processing", on_submit(with_value("status", "queued")))
def async_status_is_queued() -> None:
    """A submitted execution has the status queued."""


@fault("async.execution-id-is-uuid", on_submit(changed("executionId", lambda execution_id: execution_id[:8])))
def async_execution_id_is_short() -> None:
    """A submit's executionId has eight characters."""


@fault("async.workflow-submit-names-slug", on_submit(without("workflowSlug")))
def async_lacks_workflow_slug() -> None:
    """The submit of a workflow has no workflowSlug."""


@fault("async.poll-url-leads-to-execution")
def async_poll_url_elsewhere() -> Edit:
    """A submit's pollUrl leads to /api/runs."""
    return on_submit(changed("pollUrl", lambda url: url.replace("executions", "runs")))


@fault("async.poll-url-leads-to-execution", on_submit, is_subtle=True)
def async_poll_url_of_the_one_before(answer: OutgoingAnswer) -> None:
    """A submit's pollUrl leads to the previous execution of the account."""
    row = answer.store.row(
        "SELECT old.execution_id FROM runs old, runs new WHERE new.execution_id = ?"
        " AND old.account_id = new.account_id AND old.id < new.id AND old.execution_id IS NOT NULL"
        " ORDER BY old.id DESC LIMIT 1",
        answer.body["executionId"],
    )
    answer.body["pollUrl"] = f"/api/executions/{row[0] if row else answer.body['executionId']}"


@fault("async.webhook-delivery-shape", on_submit(with_value("webhookDelivery", {})))
def async_webhook_lacks_configured() -> None:
    """A submit's webhookDelivery is empty."""


@fault("execution.poll-shape", on_poll, is_subtle=True)
def execution_names_the_latest(answer: OutgoingAnswer) -> None:
    """A poll names the latest execution instead of the requested one."""
    (answer.body["executionId"],) = answer.store.row(
        "SELECT execution_id FROM runs WHERE execution_id IS NOT NULL ORDER BY id DESC LIMIT 1"
    )


@fault("execution.poll-shape", on_poll(without("executionId")))
def execution_lacks_id() -> None:
    """A poll has no executionId."""


@fault("execution.status-closed", on_poll(with_value("status", "done"), status="completed"))
def execution_status_is_done() -> None:
    """A completed execution has the status done."""


_LATE_S = 0.3


@fault("execution.completed-has-result", on_poll, is_subtle=True)
def execution_result_comes_late(answer: OutgoingAnswer) -> None:
    """A completed execution has no result for its first 300 ms."""
    if (ended_for_s := since_end_s(answer)) is not None and ended_for_s < _LATE_S:
        answer.body.pop("result", None)


@fault("execution.failed-has-error", on_poll(without("error.code"), status="failed"))
def execution_error_lacks_code() -> None:
    """A failed execution's error has no code."""


@fault("execution.failed-has-error", partial(on_poll, status="failed"), is_subtle=True)
def execution_failed_shows_completed(answer: OutgoingAnswer) -> None:
    """A failed execution is shown as completed."""
    del answer.body["error"]
    answer.body |= {"status": "completed", "result": {"text": "Nothing."}}


@fault("run.success-is-true", on_run(with_value("success", value=False)))
def run_success_is_false() -> None:
    """A run's success is false."""


@fault("run.success-shape", on_run(without("cost")))
def run_lacks_cost() -> None:
    """A run reports no cost."""


@fault("run.result-present", on_run(without("result")))
def run_lacks_result() -> None:
    """A run has no result."""


@fault("run.result-present", is_subtle=True)
def run_text_result_is_null() -> Edit:
    """The result of a run that makes text is null."""
    return on_run_where(
        lambda run: "text" in run.outcome["result"] and run.model_ids, with_value("result", None)
    )


@fault("run.cost-is-credits", on_run(changed("cost", str)))
def run_cost_as_text() -> None:
    """A run's cost is a string."""


@fault("run.ms-is-number", on_run(without("ms"), "runWorkflow"))
def run_lacks_ms() -> None:
    """A workflow run reports no ms."""


@fault("rate.headers-on-success", on_answer(RUNS, with_header(RESET, lambda _: None)))
def rate_reset_left_out() -> None:
    """X-RateLimit-Reset is left out."""
