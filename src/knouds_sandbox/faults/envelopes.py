"""Faults: the form of all responses, and which refusal a request gets."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from knouds_sandbox.access.rate_limits import Window
from knouds_sandbox.answers import AnswerEdit, OutgoingAnswer, answered, where
from knouds_sandbox.bodies import Refusal, answer, as_unicode, invalid_body
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point, fault, note_met
from knouds_sandbox.faults.editing import (
    EXECUTION_OPERATIONS,
    RESET,
    RUNS,
    WORKFLOW_OPERATIONS,
    WRITE_OPERATIONS,
    Handler,
    at,
    counted_with,
    of_type,
    on_429,
    on_answer,
    on_list,
    on_refusal,
    on_success,
    pause,
    refused,
    sent_as,
    with_header,
    with_value,
    without,
)
from knouds_sandbox.handlers.runs import INVALID_NAME, Job
from knouds_sandbox.providers import MODELS, ProviderModel
from knouds_sandbox.state.run_records import find_execution, refuse_payment
from knouds_sandbox.state.workflows import MEMBERS, StoredWorkflow, change_workflow, find_workflow, schema


def _on_404_of(is_meant: Callable[[StoredWorkflow | None], bool], edit: AnswerEdit) -> Edit:
    """Edit the 404 of a run of a workflow that is unknown (None) or another account's."""
    edit = where(lambda answer: is_meant(find_workflow(answer.store, answer.path_params["slug"])), edit)
    return on_refusal(edit, "runWorkflow", status=404)


def _unpaid(is_meant: Callable[[HandlerCall, bool], bool]) -> Edit:
    """Run without enough credits; the second argument of ``is_meant`` is whether there is a trial grant."""
    return at(Point.FUNDS, RUNS, lambda call, _, has_grant: is_meant(call, has_grant))


def _on_model_404(is_meant: Callable[[str], bool], edit: AnswerEdit) -> Edit:
    edit = where(lambda answer: is_meant(answer.path_params["internalName"]), edit)
    return on_refusal(edit, "runModel", code="MODEL_NOT_FOUND")


def _model(change: Callable[[HandlerCall, ProviderModel], ProviderModel]) -> Edit:
    return at(Point.MODEL, "runModel", lambda call, model: change(call, model) if model else None)


def _defect(answer: OutgoingAnswer) -> None:
    answer.refuse(500, "INTERNAL_ERROR", "Something went wrong.")


@fault("workflows.list-is-array", on_list(answered(make=lambda lines: {"workflows": lines})))
def workflows_list_in_object() -> None:
    """The list is inside an object."""


@fault("ground.no-undocumented-server-error", is_subtle=True)
def workflows_unreadable_half_characters() -> Edit:
    """A workflow with a lone surrogate is created, but reading it gets a 500."""
    return on_success("getWorkflow", where(lambda answer: as_unicode(answer.body) is None, _defect))


@fault("ground.json-content-type", on_refusal(of_type("text/html; charset=utf-8"), status=404))
def envelope_404_as_html() -> None:
    """A 404 declares text/html."""


@fault("ground.json-content-type", on_success("listUsage", of_type("text/plain; charset=utf-8")))
def usage_as_text() -> None:
    """Usage declares text/plain."""


@fault("ground.responses-are-json-objects", on_success("deleteWorkflow", sent_as(b"", None, status=204)))
def delete_answers_204() -> None:
    """A delete is answered with 204 and no body."""


@fault("envelope.error-has-text", on_refusal(without("error"), status=404))
def envelope_404_without_text() -> None:
    """A 404 has no `error`."""


@fault("envelope.error-has-text", Point.BODY, "createWorkflow updateWorkflow", is_subtle=True)
def envelope_text_is_what_was_sent(_: HandlerCall, body: Any) -> Any:
    """The `error` about a member of a workflow is the value that was sent."""
    for member, (is_valid, _expected) in MEMBERS.items():
        if isinstance(body, dict) and member in body and not is_valid(body[member]):
            note_met()
            raise invalid_body(body[member])
    return body


@fault("envelope.error-has-code", on_refusal(without("code"), EXECUTION_OPERATIONS, status=404))
def envelope_unknown_execution_without_code() -> None:
    """The 404 of an execution has no `code`."""


@fault("envelope.plain-401-has-code", on_refusal(without("code"), code="UNAUTHORIZED"))
def envelope_plain_401_without_code() -> None:
    """The plain 401 has no `code`."""


@fault("envelope.unknown-workflow-404-has-code", on_refusal(without("code"), WORKFLOW_OPERATIONS, status=404))
def envelope_unknown_workflow_without_code() -> None:
    """The 404 of a workflow has no `code`."""


@fault("envelope.error-is-object")
def envelope_unknown_execution_is_array() -> Edit:
    """The 404 of an execution is an array."""
    return on_refusal(answered(make=lambda envelope: [envelope]), EXECUTION_OPERATIONS, status=404)


@fault("envelope.code-fits-status", on_refusal(answered(400), code="MODEL_NOT_FOUND"))
def envelope_model_not_found_is_400() -> None:
    """MODEL_NOT_FOUND comes with 400."""


@fault("rate.headers-are-integers", is_subtle=True)
def rate_reset_in_ms() -> Edit:
    """X-RateLimit-Reset is in milliseconds."""
    return on_answer(RUNS, with_header(RESET, lambda reset: f"{reset}000"))


@fault("rate.refusal-fields", on_429(without("tier")))
def rate_refusal_lacks_tier() -> None:
    """A 429 has no tier."""


@fault("rate.refusal-headers", on_429(with_header("retry-after", lambda _: None)))
def rate_refusal_lacks_retry_after() -> None:
    """A 429 has no Retry-After."""


@fault("rate.body-and-headers-agree", is_subtle=True)
def rate_retry_after_is_half() -> Edit:
    """Retry-After is half of retryAfter."""
    return on_429(with_header("retry-after", lambda seconds: str(max(1, int(seconds) // 2))))


@fault("workflows.foreign-write-is-refused", at(Point.OWNERSHIP, WRITE_OPERATIONS, lambda *_: True))
def write_to_foreign_accepted() -> None:
    """Anyone may write to any workflow."""


@fault("workflows.foreign-write-is-refused", is_subtle=True)
def write_to_foreign_template_accepted() -> Edit:
    """Anyone may write to a template."""
    return at(Point.OWNERSHIP, WRITE_OPERATIONS, lambda _, workflow: workflow.is_template)


@fault("workflows.foreign-write-is-refused", Point.HANDLER, WRITE_OPERATIONS, is_subtle=True)
async def write_to_foreign_refused_and_done(call: HandlerCall, handle: Handler) -> Response:
    """A refused write to another account's workflow changes its description."""
    workflow = find_workflow(call.store, call.path_value("slug"))
    if workflow and not workflow.is_template and workflow.owner_id != call.account.id:
        change_workflow(call.store, workflow, {"description": "changed although refused"})
        note_met()
    return await handle(call)


@fault("workflows.unknown-is-404")
def workflows_unknown_is_400() -> Edit:
    """Reading an unknown workflow gets a 400."""
    return on_refusal(refused(400, "NOT_FOUND"), "getWorkflow getWorkflowSchema", status=404)


@fault(
    "schema.public-only-when-public",
    lambda edit: on_refusal(edit, "getPublicWorkflowSchema", status=404),
    is_subtle=True,
)
def schema_public_of_private_with_a_key(answer: OutgoingAnswer) -> None:
    """Requests with a key get the public schema of a private workflow."""
    workflow = find_workflow(answer.store, answer.path_params["slug"])
    if workflow is not None and "x-api-key" in answer.request.headers:
        answer.status, answer.body = 200, schema(workflow.document, with_cost=False)


@fault("schema.unknown-is-404", lambda edit: on_refusal(edit, "getWorkflowSchema", status=404))
def schema_of_unknown_is_empty(answer: OutgoingAnswer) -> None:
    """The schema of an unknown workflow is an empty schema."""
    answer.status = 200
    answer.body = {"fields": [], "values": {}, "name": "", "estimatedCreditCost": None}


@fault("execution.unknown-is-404", lambda edit: on_refusal(edit, EXECUTION_OPERATIONS, status=404))
def execution_unknown_is_400(answer: OutgoingAnswer) -> None:
    """An unknown execution gets a 400."""
    if find_execution(answer.store, answer.path_params["id"]) is None:
        answer.refuse(400, "INVALID_ID", "There is no such execution.")


@fault("execution.foreign-is-404", at(Point.OWNERSHIP, EXECUTION_OPERATIONS, lambda *_: True))
def execution_shown_to_strangers() -> None:
    """Anyone may poll and cancel an execution."""


@fault("execution.foreign-is-404", Point.HANDLER, "cancelExecution", is_subtle=True)
async def execution_foreign_cancel_happens(call: HandlerCall, handle: Handler) -> Response:
    """A refused cancel of another account's execution cancels it."""
    run = find_execution(call.store, call.path_value("id"))
    if run is not None and run.account_id != call.account.id and run.status == "processing":
        call.services.engine.cancel(run)
        note_met()
    return await handle(call)


@fault("run.unknown-workflow-is-404")
def run_unknown_workflow_is_invalid_slug() -> Edit:
    """Running an unknown workflow gets INVALID_SLUG."""
    return _on_404_of(lambda workflow: workflow is None, refused(400, "INVALID_SLUG", INVALID_NAME))


@fault("run.foreign-workflow-is-404", at(Point.OWNERSHIP, "runWorkflow", lambda *_: True))
def run_foreign_workflow_accepted() -> None:
    """Another account's private workflow can be run."""


@fault("run.foreign-workflow-is-404")
def run_foreign_workflow_is_403() -> Edit:
    """Running another account's private workflow gets a 403."""
    return _on_404_of(bool, refused(403, "FORBIDDEN", "The workflow is someone else's."))


@fault("run.foreign-workflow-is-404", is_subtle=True)
def run_foreign_workflow_accepted_async() -> Edit:
    """Another account's private workflow can be run asynchronously."""
    return at(Point.OWNERSHIP, "runWorkflow", lambda call, _: call.is_async)


@fault("run.too-few-credits-is-402", _unpaid(lambda _, has_grant: not has_grant))
def run_without_credits_accepted() -> None:
    """A run without enough credits is accepted."""


async def _look_at_funds(call: HandlerCall, job: Job) -> Job:
    """Refuse a job that the account cannot pay, and charge only after other requests were checked too."""
    balance, grant = call.store.row(
        "SELECT credits, grant_credits FROM accounts WHERE id = ?", call.account.id
    )
    if max(balance, grant or 0) < job.cost_credits:
        refuse_payment(job.cost_credits, has_grant=grant is not None)
    await pause()
    return job


@fault("run.too-few-credits-is-402", is_subtle=True)
def run_credits_checked_too_early() -> tuple[Edit, ...]:
    """Simultaneous runs are paid from the same credits."""
    return (at(Point.JOB, RUNS, _look_at_funds), at(Point.FUNDS, RUNS, lambda *_: True))


@fault("run.too-few-credits-is-402", is_subtle=True)
def run_async_without_credits_accepted() -> Edit:
    """An asynchronous run without enough credits is accepted."""
    return _unpaid(lambda call, has_grant: call.is_async and not has_grant)


@fault("run.exhausted-grant-is-402", _unpaid(lambda _, has_grant: has_grant))
def run_exhausted_grant_accepted() -> None:
    """A run on a used-up trial grant is accepted."""


@fault("run.exhausted-grant-is-402", is_subtle=True)
def run_exhausted_grant_in_capitals() -> Edit:
    """The code of a used-up trial grant is GRANT_EXHAUSTED."""
    return on_refusal(with_value("code", "GRANT_EXHAUSTED"), RUNS, code="grant_exhausted")


@fault("run.provider-failure-is-500", Point.HANDLER, RUNS)
async def run_provider_failure_is_200(call: HandlerCall, handle: Handler) -> Response:
    """A failure of the provider gets a 200."""
    try:
        return await handle(call)
    except Refusal as refusal:
        if refusal.code != "EXECUTION_FAILED":
            raise
        note_met()
        body = {"success": False, "code": refusal.code, "message": refusal.error}
        return answer(body)


@fault("model.unknown-is-404")
def model_unknown_is_plain_404() -> Edit:
    """An unknown model gets a plain 404."""
    return _on_model_404(lambda name: name not in MODELS, with_value("code", "NOT_FOUND"))


@fault("model.disabled-is-404", _model(lambda _, model: replace(model, is_enabled=True)))
def model_disabled_runs() -> None:
    """A disabled model can be run."""


@fault(
    "model.disabled-is-404",
    _on_model_404(lambda name: name in MODELS, refused(403, "MODEL_DISABLED", "The model is disabled.")),
)
def model_disabled_is_403() -> None:
    """A disabled model gets a 403."""


@fault("model.above-tier-is-403", _model)
def model_tier_ignored(call: HandlerCall, model: ProviderModel) -> ProviderModel:
    """A model above the account's tier can be run."""
    return model if call.account.reaches(model.least_tier) else replace(model, least_tier="free")


@fault("model.above-tier-is-403", lambda edit: on_refusal(edit, "runModel", code="MODEL_TIER_REQUIRED"))
def model_above_tier_is_404(answer: OutgoingAnswer) -> None:
    """A model above the account's tier gets a 404."""
    if answer.key is not None and answer.key.account.reaches("business"):
        answer.refuse(404, "MODEL_NOT_FOUND", "There is no such model.")


@fault("model.run-under-business-is-403", Point.TIER, "runModel", is_subtle=True)
def model_run_under_business_async(call: HandlerCall, tier: str, does_reach: bool) -> bool:  # noqa: FBT001 - as the point calls it
    """A pro account runs models asynchronously."""
    return does_reach or (call.is_async and tier != "enterprise")


@fault("model.async-not-supported-is-400")
def model_async_for_all() -> Edit:
    """Every model runs asynchronously."""
    return _model(lambda call, model: replace(model, is_polled=model.is_polled or call.is_async))


@fault("envelope.code-is-constant", lambda edit: on_refusal(edit, WORKFLOW_OPERATIONS, status=404))
def envelope_code_names_the_slug(answer: OutgoingAnswer) -> None:
    """The `code` of a workflow's 404 holds the slug."""
    answer.body["code"] = f"NO_{answer.path_params['slug'].upper()}"


@fault("rate.over-limit-is-429", counted_with(tolerance=1), is_subtle=True)
def rate_one_too_many() -> None:
    """One request over the limit is accepted."""


@fault("rate.over-limit-is-429", on_429(answered(503)))
def rate_refusal_is_503() -> None:
    """A request over the limit gets a 503."""


@fault("rate.over-limit-is-429", Point.COUNT, RUNS, is_subtle=True)
async def rate_simultaneous_uncounted(call: HandlerCall) -> Window | None:
    """Simultaneous requests count as one."""
    seen = call.services.limiter.look(call.key, call.operation)
    await pause()
    return seen
