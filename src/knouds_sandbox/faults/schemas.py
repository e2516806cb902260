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


@fault("usage.page-shape")
def usage_lacks_total() -> Edit:
    """Usage has no total."""
    return on_usage(without("total"))


@fault("usage.row-shape")
def usage_row_lacks_request_id() -> Edit:
    """A row has no requestId."""
    return on_usage(without("rows.*.requestId"))


@fault("usage.row-status-closed")
def usage_row_status_is_done() -> Edit:
    """The row of an ended run has the status done."""
    return on_rows(lambda run: {"status": "done"} if run.ended_unix_s else {})


@fault("usage.source-closed")
def usage_row_source_is_api() -> Edit:
    """A row's source is api."""
    return on_usage(with_value("rows.*.source", "api"))


@fault("usage.slim-has-no-workflow")
def usage_slim_names_a_workflow() -> Edit:
    """The row of a direct model run names a workflow."""
    return on_usage(changed("rows.*.workflowSlug", lambda slug: slug or "direct"))


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


@fault("usage.models-are-distinct")
def usage_models_of_everyone() -> Edit:
    """Usage models lists everyone's models."""
    return ignoring("owner", operations="listUsageModels")


@fault("whoami.user-object")
def whoami_lacks_email() -> Edit:
    """The user has no email."""
    return on_success("getWhoami", without("user.email"))


@fault("whoami.role-closed")
def whoami_role_in_capitals() -> Edit:
    """whoami's role is in capitals."""
    return on_success("getWhoami", changed("user.role", str.upper))


@fault("whoami.tier-is-string")
def whoami_tier_as_number() -> Edit:
    """whoami's tier is a number."""
    return on_success("getWhoami", with_value("user.tier", 4))


@fault("whoami.approved-is-true")
def whoami_approved_as_text() -> Edit:
    """whoami's approved is a string."""
    return on_success("getWhoami", with_value("user.approved", "true"))


@fault("ground.status-is-documented")
def whoami_is_203() -> Edit:
    """whoami answers 203."""
    return on_success("getWhoami", answered(203))


@fault("pricing.is-public-json")
def pricing_is_404() -> Edit:
    """Public pricing gets a 404."""
    return on_answer("getPublicPricing", refused(404, "NOT_FOUND", "There is no such route."))


@fault("health.is-public-json")
def health_is_text() -> Edit:
    """Health is plain text."""
    return on_answer("getHealth", sent_as(b"ok", "text/plain; charset=utf-8"))


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
    return with_slug(lambda name: make_slug(name).replace("-", "_"))


@fault("workflows.summary-fields")
def workflows_summary_lacks_folder() -> Edit:
    """A summary has no folderId."""
    return on_list(without("*.folderId"))


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


@fault("schema.public-shape-without-cost", lambda edit: _schema(edit, "getPublicWorkflowSchema"))
def schema_public_with_cost(answer: OutgoingAnswer) -> None:
    """The public schema shows the cost."""
    workflow = find_workflow(answer.store, answer.path_params["slug"])
    answer.body["estimatedCreditCost"] = workflow and estimated_credits(workflow.document)


@fault("schema.public-shape-without-cost", is_subtle=True)
def schema_public_lacks_the_last_field() -> Edit:
    """The public schema leaves out the last field."""
    return _schema(changed("fields", lambda fields: fields[:-1]), "getPublicWorkflowSchema")


@fault("async.submit-shape")
def async_lacks_marker() -> Edit:
    """A submit has no _async."""
    return on_submit(without("_async"))


@fault("async.submit-is-processing")
def async_status_is_queued() -> Edit:
    """A submitted execution has the status queued."""
    return on_submit(with_value("status", "queued"))


@fault("async.execution-id-is-uuid")
def async_execution_id_is_short() -> Edit:
    """A submit's executionId has eight characters."""
    return on_submit(changed("executionId", lambda execution_id: execution_id[:8]))


@fault("async.workflow-submit-names-slug")
def async_lacks_workflow_slug() -> Edit:
    """The submit of a workflow has no workflowSlug."""
    return on_submit(without("workflowSlug"))


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


@fault("async.webhook-delivery-shape")
def async_webhook_lacks_configured() -> Edit:
    """A submit's webhookDelivery is empty."""
    return on_submit(with_value("webhookDelivery", {}))


@fault("execution.poll-shape", on_poll, is_subtle=True)
def execution_names_the_latest(answer: OutgoingAnswer) -> None:
    """A poll names the latest execution instead of the requested one."""
    (answer.body["executionId"],) = answer.store.row(
        "SELECT execution_id FROM runs WHERE execution_id IS NOT NULL ORDER BY id DESC LIMIT 1"
    )


@fault("execution.poll-shape")
def execution_lacks_id() -> Edit:
    """A poll has no executionId."""
    return on_poll(without("executionId"))


@fault("execution.status-closed")
def execution_status_is_done() -> Edit:
    """A completed execution has the status done."""
    return on_poll(with_value("status", "done"), status="completed")


_LATE_S = 0.3


@fault("execution.completed-has-result", on_poll, is_subtle=True)
def execution_result_comes_late(answer: OutgoingAnswer) -> None:
    """A completed execution has no result for its first 300 ms."""
    if (ended_for_s := since_end_s(answer)) is not None and ended_for_s < _LATE_S:
        answer.body.pop("result", None)


@fault("execution.failed-has-error")
def execution_error_lacks_code() -> Edit:
    """A failed execution's error has no code."""
    return on_poll(without("error.code"), status="failed")


@fault("execution.failed-has-error", partial(on_poll, status="failed"), is_subtle=True)
def execution_failed_shows_completed(answer: OutgoingAnswer) -> None:
    """A failed execution is shown as completed."""
    del answer.body["error"]
    answer.body |= {"status": "completed", "result": {"text": "Nothing."}}


@fault("run.success-is-true")
def run_success_is_false() -> Edit:
    """A run's success is false."""
    return on_run(with_value("success", value=False))


@fault("run.success-shape")
def run_lacks_cost() -> Edit:
    """A run reports no cost."""
    return on_run(without("cost"))


@fault("run.result-present")
def run_lacks_result() -> Edit:
    """A run has no result."""
    return on_run(without("result"))


@fault("run.result-present", is_subtle=True)
def run_text_result_is_null() -> Edit:
    """The result of a run that makes text is null."""
    return on_run_where(
        lambda run: "text" in run.outcome["result"] and run.model_ids, with_value("result", None)
    )


@fault("run.cost-is-credits")
def run_cost_as_text() -> Edit:
    """A run's cost is a string."""
    return on_run(changed("cost", str))


@fault("run.ms-is-number")
def run_lacks_ms() -> Edit:
    """A workflow run reports no ms."""
    return on_run(without("ms"), "runWorkflow")


@fault("rate.headers-on-success")
def rate_reset_left_out() -> Edit:
    """X-RateLimit-Reset is left out."""
    return on_answer(RUNS, with_header(RESET, lambda _: None))
