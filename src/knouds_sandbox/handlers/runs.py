"""Handlers of the two run endpoints, synchronous and asynchronous, and of the executions that they start.

Source: overview (a cancelled run is charged) and docs, run workflow, run model, async executions.
Cancelling an ended execution is a 409 here (docs/decisions/sandbox-open-points.md).
"""

import asyncio
import random
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from knouds_sandbox.access.keys import meets
from knouds_sandbox.bodies import Refusal, answer, not_found
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Point, note_met
from knouds_sandbox.providers import MODELS, ProviderModel, results
from knouds_sandbox.state.run_records import (
    FAILED,
    IN_FLIGHT,
    StoredRun,
    accept_run,
    cancel_when_due,
    charge,
    end_run,
    find_execution,
    last_run_id,
)
from knouds_sandbox.state.workflows import StoredWorkflow, defaults, find_workflow, generators, iso

_FOREVER_S = 10 * 365 * 86_400
_NAME = re.compile(r"[a-z0-9-]+")
INVALID_NAME = "A name has lowercase letters, digits and hyphens only."


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A run: the models with the units of each, and the inputs."""

    calls: Sequence[tuple[ProviderModel, int]]
    inputs: dict[str, Any]
    workflow_slug: str | None = None

    @property
    def models(self) -> list[ProviderModel]:
        return [model for model, _ in self.calls]

    @property
    def cost_credits(self) -> int:
        return sum(model.credits_per_unit * units for model, units in self.calls)


def runnable_workflow(call: HandlerCall) -> StoredWorkflow:
    """Return the workflow in the path if the account may run it; refuse otherwise."""
    slug = call.path_value("slug")
    if not _NAME.fullmatch(slug):
        raise Refusal(400, "INVALID_SLUG", INVALID_NAME)
    workflow = find_workflow(call.store, slug)
    if workflow is None or not (
        workflow.owner_id == call.account.id
        or (workflow.is_template and call.choices["template-run"] == "runs")
        or call.is_allowed_by_fault(Point.OWNERSHIP, workflow)
    ):
        raise not_found("workflow")
    return workflow


async def run_workflow(call: HandlerCall) -> Response:
    workflow = runnable_workflow(call)
    inputs = defaults(workflow.document) | await read_inputs(call)
    calls = [(model, model.units(settings | inputs)) for model, settings in generators(workflow.document)]
    return await perform(call, Job(calls=calls, inputs=inputs, workflow_slug=workflow.slug))


def runnable_model(call: HandlerCall) -> ProviderModel:
    """Return the model in the path if the account may run it in this form; refuse otherwise."""
    name = call.path_value("internalName")
    if not _NAME.fullmatch(name):
        raise Refusal(400, "INVALID_SLUG", INVALID_NAME)
    below_business = Refusal(403, "MODEL_TIER_REQUIRED", "Direct model runs need the business tier.")
    if call.choices["tier"] == "before-model" and not _reaches(call, "business"):
        raise below_business
    model: ProviderModel | None = call.edited(Point.MODEL, MODELS.get(name))
    if model is None or not model.is_enabled:
        raise Refusal(404, "MODEL_NOT_FOUND", "There is no such model.")
    if not _reaches(call, model.least_tier):
        raise Refusal(403, "MODEL_TIER_REQUIRED", f"{name} needs the {model.least_tier} tier.")
    if call.is_async and not model.is_polled:
        raise Refusal(400, "ASYNC_NOT_SUPPORTED", f"{name} runs synchronously only.")
    if not _reaches(call, "business"):
        raise below_business
    return model


async def run_model(call: HandlerCall) -> Response:
    model = runnable_model(call)
    inputs = await read_inputs(call)
    return await perform(call, Job(calls=[(model, model.units(inputs))], inputs=inputs))


def _reaches(call: HandlerCall, tier: str) -> bool:
    does_reach = call.account.is_admin or call.account.reaches(tier)
    return call.services.edits.changed(Point.TIER, call.operation, call, tier, value=does_reach)


async def read_inputs(call: HandlerCall) -> dict[str, Any]:
    body = await call.read_body()
    if not isinstance(body, dict):
        code = "INVALID_INPUTS" if call.choices["run-body"] == "inputs" else "INVALID_BODY"
        raise Refusal(400, code, "The body is not a JSON object.")
    inputs = body.get("inputs")
    if not isinstance(inputs, dict):
        raise Refusal(400, "INVALID_INPUTS", "inputs is missing, or no JSON object.")
    return inputs


async def perform(call: HandlerCall, job: Job) -> Response:
    """Charge and start a job; wait for its end unless it is asynchronous."""
    services = call.services
    for edit in services.edits.at(Point.JOB, call.operation):
        edited = await edit(call, job)
        if edited != job:
            note_met()
        job = edited
    request_id = f"req_{uuid.uuid4().hex}"
    draw = random.Random(f"{services.seed} {last_run_id(services.store)}")
    duration_s = services.latency.job_s(job.models, draw, is_async=call.is_async)
    end = call.request.scope.get("preferred_end")
    if end == "processing":
        duration_s = _FOREVER_S
    if end == "failed" or (end is None and any(model.always_fails for model in job.models)):
        outcome: dict[str, Any] = FAILED
    else:
        outcome = {"result": results(job.calls, job.inputs, request_id)}
    with services.store.transaction():
        run = _accept(call, job, request_id=request_id, outcome=outcome, duration_s=duration_s)
        if end == "cancelled":
            cancel_when_due(services.store, run)
        if not call.is_async and not duration_s:
            _end_sync_run(call, run)
    if call.is_async:
        services.engine.watch(run)
        return _submitted(call, run)
    if duration_s:
        await asyncio.sleep(duration_s)
        with services.store.transaction():
            _end_sync_run(call, run)
    if run.is_failing:
        raise Refusal(500, "EXECUTION_FAILED", outcome["error"]["message"])
    ms = round((time.time() - run.created_unix_s) * 1000, 3)
    return answer({"success": True, "result": outcome["result"], "cost": run.charged_credits, "ms": ms})


def _accept(
    call: HandlerCall, job: Job, *, request_id: str, outcome: dict[str, Any], duration_s: float
) -> StoredRun:
    """Charge a job and record its run, in the caller's transaction."""
    is_granted = charge(
        call.store,
        call.account.id,
        job.cost_credits,
        forgives=lambda *funds: call.is_allowed_by_fault(Point.FUNDS, *funds),
    )
    run = StoredRun(
        request_id=request_id,
        execution_id=str(uuid.uuid4()) if call.is_async else None,
        account_id=call.account.id,
        key_id=call.key.id,
        source="api-workflow" if job.workflow_slug else "api-slim",
        workflow_slug=job.workflow_slug,
        model_ids=tuple(model.name for model in job.models),
        cost_credits=job.cost_credits,
        is_granted=is_granted,
        outcome=outcome,
    )
    return accept_run(call.store, run, duration_s=duration_s)


def _end_sync_run(call: HandlerCall, run: StoredRun) -> None:
    status = "failed" if run.is_failing else "completed"
    end_run(call.store, run, status, call.choices)


def _submitted(call: HandlerCall, run: StoredRun) -> Response:
    url = call.key.webhook_url
    is_configured = url is not None and meets(call.key.capabilities, "webhook:receive")
    body: dict[str, Any] = {
        "_async": True,
        "executionId": run.execution_id,
        "requestId": run.request_id,
        "status": "processing",
        "webhookDelivery": {"configured": True, "url": url} if is_configured else {"configured": False},
        "pollUrl": f"/api/executions/{run.execution_id}",
    }
    if run.workflow_slug:
        body["workflowSlug"] = run.workflow_slug
    return answer(body, status=202)


async def get_execution(call: HandlerCall) -> Response:
    run = own_execution(call)
    shown: dict[str, Any] = {
        "executionId": run.execution_id,
        "requestId": run.request_id,
        "status": run.status,
        "workflowSlug": run.workflow_slug,
        "modelIds": list(run.model_ids),
        "createdAt": iso(datetime.fromtimestamp(run.created_unix_s, UTC)),
    }
    if run.ended_unix_s is not None:
        shown["endedAt"] = iso(datetime.fromtimestamp(run.ended_unix_s, UTC))
        shown["cost"] = run.charged_credits
    if run.status in {"completed", "failed"}:
        shown |= run.outcome
    return answer(shown)


async def cancel_execution(call: HandlerCall) -> Response:
    run = own_execution(call)
    if run.status not in IN_FLIGHT:
        raise Refusal(409, "EXECUTION_ENDED", f"The execution has ended as {run.status}.")
    if run.status == "processing":
        call.services.engine.cancel(run)
    return answer({"executionId": run.execution_id, "status": "cancel_requested"})


def own_execution(call: HandlerCall) -> StoredRun:
    run = find_execution(call.store, call.path_value("id"))
    if run is None or not (
        run.account_id == call.account.id or call.is_allowed_by_fault(Point.OWNERSHIP, run)
    ):
        raise not_found("execution")
    return run
