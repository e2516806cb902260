"""Faults: which refusal a request gets: unknown and foreign resources, credits, models, rate limits."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from knouds_sandbox.access.rate_limits import RateLimitRules, Window
from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.bodies import Refusal, answer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point, fault, note_met
from knouds_sandbox.faults.editing import (
    EXECUTION_OPERATIONS,
    MODEL_NOT_FOUND,
    RUNS,
    WORKFLOW_OPERATIONS,
    WRITE_OPERATIONS,
    AnswerEdit,
    Handler,
    at,
    counted_by,
    execution_of,
    on_429,
    on_refusal,
    owning,
    pause,
    refused,
    where,
    with_status,
    with_tier,
    with_value,
)
from knouds_sandbox.handlers.runs import INVALID_NAME, Job
from knouds_sandbox.providers import MODELS, ProviderModel
from knouds_sandbox.state.run_records import find_execution, refuse_payment
from knouds_sandbox.state.workflows import StoredWorkflow, change_workflow, find_workflow, schema


def _public_where(is_meant: Callable[[OutgoingAnswer, StoredWorkflow], bool]) -> Edit:
    """Show the public schema of selected workflows that are not public."""

    def apply(answer: OutgoingAnswer) -> None:
        workflow = find_workflow(answer.store, answer.path_params["slug"])
        if workflow is not None and is_meant(answer, workflow):
            answer.status, answer.body = 200, schema(workflow.document, with_cost=False)

    return on_refusal(apply, "getPublicWorkflowSchema", status=404)


def _on_404_of(is_meant: Callable[[StoredWorkflow | None], bool], edit: AnswerEdit) -> Edit:
    """Edit the 404 of a run of a workflow that is unknown (None) or another account's."""
    edit = where(lambda answer: is_meant(find_workflow(answer.store, answer.path_params["slug"])), edit)
    return on_refusal(edit, "runWorkflow", status=404)


def _unpaid(is_meant: Callable[[HandlerCall, bool], bool]) -> Edit:
    """Run without enough credits; the second argument of ``is_meant`` is whether there is a trial grant."""
    return at(Point.FUNDS, RUNS, lambda call, _, has_grant: is_meant(call, has_grant))


_INVALID_SLUG = refused(400, "INVALID_SLUG", INVALID_NAME)


def _on_model_404(is_meant: Callable[[str], bool], edit: AnswerEdit) -> Edit:
    edit = where(lambda answer: is_meant(answer.path_params["internalName"]), edit)
    return on_refusal(edit, "runModel", code="MODEL_NOT_FOUND")


def _on_tier(edit: AnswerEdit, *, is_direct: bool) -> Edit:
    """Edit the refusal for the account's tier: of every direct run, or of models with a higher tier."""

    def is_meant(answer: OutgoingAnswer) -> bool:
        return answer.key is not None and answer.key.account.reaches("business") != is_direct

    return on_refusal(where(is_meant, edit), "runModel", code="MODEL_TIER_REQUIRED")


def _model(change: Callable[[HandlerCall, ProviderModel], ProviderModel]) -> Edit:
    return at(Point.MODEL, "runModel", lambda call, model: change(call, model) if model else None)


@fault("workflows.foreign-write-is-refused")
def write_to_foreign_accepted() -> Edit:
    """Anyone may write to any workflow."""
    return owning(lambda *_: True)


@fault("workflows.foreign-write-is-refused", is_subtle=True)
def write_to_foreign_template_accepted() -> Edit:
    """Anyone may write to a template."""
    return owning(lambda _, workflow: workflow.is_template)


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


@fault("schema.public-only-when-public")
def schema_public_of_private() -> Edit:
    """Every workflow has a public schema."""
    return _public_where(lambda *_: True)


@fault("schema.public-only-when-public", is_subtle=True)
def schema_public_of_private_with_a_key() -> Edit:
    """Requests with a key get the public schema of a private workflow."""
    return _public_where(lambda answer, _: "x-api-key" in answer.request.headers)


@fault("schema.public-only-when-public", is_subtle=True)
def schema_public_of_templates() -> Edit:
    """Templates have a public schema, even if they are not public."""
    return _public_where(lambda _, workflow: workflow.is_template)


@fault("schema.unknown-is-404", lambda edit: on_refusal(edit, "getWorkflowSchema", status=404))
def schema_of_unknown_is_empty(answer: OutgoingAnswer) -> None:
    """The schema of an unknown workflow is an empty schema."""
    shown: dict[str, Any] = {
        "fields": [],
        "values": {},
        "name": "",
        "description": "",
        "estimatedCreditCost": None,
    }
    answer.status, answer.body = 200, shown


@fault("execution.unknown-is-404", lambda edit: on_refusal(edit, EXECUTION_OPERATIONS, status=404))
def execution_unknown_is_400(answer: OutgoingAnswer) -> None:
    """An unknown execution gets a 400."""
    if execution_of(answer) is None:
        answer.refuse(400, "INVALID_ID", "There is no such execution.")


@fault("execution.foreign-is-404")
def execution_shown_to_strangers() -> Edit:
    """Anyone may poll and cancel an execution."""
    return at(Point.OWNERSHIP, EXECUTION_OPERATIONS, lambda *_: True)


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
    return _on_404_of(lambda workflow: workflow is None, _INVALID_SLUG)


@fault("run.foreign-workflow-is-404")
def run_foreign_workflow_accepted() -> Edit:
    """Another account's private workflow can be run."""
    return at(Point.OWNERSHIP, "runWorkflow", lambda *_: True)


@fault("run.foreign-workflow-is-404")
def run_foreign_workflow_is_403() -> Edit:
    """Running another account's private workflow gets a 403."""
    return _on_404_of(bool, refused(403, "FORBIDDEN", "The workflow is someone else's."))


@fault("run.foreign-workflow-is-404", is_subtle=True)
def run_foreign_workflow_accepted_async() -> Edit:
    """Another account's private workflow can be run asynchronously."""
    return at(Point.OWNERSHIP, "runWorkflow", lambda call, _: call.is_async)


@fault("run.too-few-credits-is-402")
def run_without_credits_accepted() -> Edit:
    """A run without enough credits is accepted."""
    return _unpaid(lambda _, has_grant: not has_grant)


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


@fault("run.exhausted-grant-is-402")
def run_exhausted_grant_accepted() -> Edit:
    """A run on a used-up trial grant is accepted."""
    return _unpaid(lambda _, has_grant: has_grant)


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
        return answer(body, headers=call.limit_headers)


@fault("model.unknown-is-404")
def model_unknown_is_plain_404() -> Edit:
    """An unknown model gets a plain 404."""
    return _on_model_404(lambda name: name not in MODELS, with_value("code", "NOT_FOUND"))


@fault("model.disabled-is-404")
def model_disabled_runs() -> Edit:
    """A disabled model can be run."""
    return _model(lambda _, model: replace(model, is_enabled=True))


@fault("model.disabled-is-404")
def model_disabled_is_403() -> Edit:
    """A disabled model gets a 403."""
    return _on_model_404(
        lambda name: name in MODELS, refused(403, "MODEL_DISABLED", "The model is disabled.")
    )


@fault("model.above-tier-is-403")
def model_tier_ignored() -> Edit:
    """A model above the account's tier can be run."""
    return _model(
        lambda call, model: (
            model if call.account.reaches(model.least_tier) else replace(model, least_tier="free")
        )
    )


@fault("model.above-tier-is-403")
def model_above_tier_is_404() -> Edit:
    """A model above the account's tier gets a 404."""
    return _on_tier(MODEL_NOT_FOUND, is_direct=False)


@fault("model.run-under-business-is-403")
def model_run_under_business() -> Edit:
    """A pro account runs models."""
    return with_tier(lambda _, tier, does_reach: does_reach or tier != "enterprise")


@fault("model.run-under-business-is-403", with_tier, is_subtle=True)
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


class _TolerantRules(RateLimitRules):
    tolerance = 1


@fault("rate.over-limit-is-429", is_subtle=True)
def rate_one_too_many() -> Edit:
    """One request over the limit is accepted."""
    return counted_by(_TolerantRules)


@fault("rate.over-limit-is-429")
def rate_refusal_is_503() -> Edit:
    """A request over the limit gets a 503."""
    return on_429(with_status(503))


@fault("rate.over-limit-is-429", Point.COUNT, RUNS, is_subtle=True)
async def rate_simultaneous_uncounted(call: HandlerCall) -> Window | None:
    """Simultaneous requests count as one."""
    seen = call.services.limiter.look(call.key, call.operation)
    await pause()
    return seen
