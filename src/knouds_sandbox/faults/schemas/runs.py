"""Faults: the shape of responses to runs, submits and polls."""

from functools import partial

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.fault_points import Edit, Point
from knouds_sandbox.faults.editing import changed, on_answer, with_header, with_value, without
from knouds_sandbox.faults.fault import fault
from knouds_sandbox.faults.resource_edits import (
    LIMIT,
    REMAINING,
    RESET,
    RUNS,
    on_poll,
    on_run,
    on_run_where,
    on_submit,
    since_end_s,
)


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


@fault("execution.completed-has-result")
def execution_lacks_result() -> Edit:
    """A completed execution has no result."""
    return on_poll(without("result"))


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


@fault("run.cost-is-credits", is_subtle=True)
def run_granted_cost_is_null() -> Edit:
    """The cost of a run that a trial grant paid for is null."""
    return on_run_where(lambda run: run.is_granted, with_value("cost", None))


@fault("run.ms-is-number")
def run_lacks_ms() -> Edit:
    """A workflow run reports no ms."""
    return on_run(without("ms"), "runWorkflow")


@fault("rate.headers-on-success", Point.ANSWER, RUNS)
def rate_headers_left_out(answer: OutgoingAnswer) -> None:
    """The rate-limit headers are left out."""
    for name in (LIMIT, REMAINING, RESET):
        answer.headers.pop(name, None)


@fault("rate.headers-on-success")
def rate_reset_left_out() -> Edit:
    """X-RateLimit-Reset is left out."""
    return on_answer(RUNS, with_header(RESET, lambda _: None))
