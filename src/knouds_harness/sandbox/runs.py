"""Handlers of the two run endpoints, synchronous and asynchronous.

Source: overview and docs, run workflow, run model, async executions.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response

from knouds_harness.sandbox.bodies import read_json
from knouds_harness.sandbox.calls import Call
from knouds_harness.sandbox.capabilities import meets
from knouds_harness.sandbox.envelopes import Refusal, answer, workflow_not_found
from knouds_harness.sandbox.ledger import Run, accept_run, charge, end_run, last_run_id, look_at_funds
from knouds_harness.sandbox.providers import MODELS, Model, fails, results
from knouds_harness.sandbox.races import pause
from knouds_harness.sandbox.workflow_documents import defaults, fields, generators
from knouds_harness.sandbox.workflow_records import find_workflow

_NAME = re.compile(r"[a-z0-9-]+")
_SLOW_SUBMIT_S = 0.7
_ONE_ID = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What is to be run: which models with how many units each, on which inputs."""

    workflow_slug: str | None
    calls: Sequence[tuple[Model, int]]
    inputs: dict[str, Any]

    @property
    def models(self) -> list[Model]:
        """The models that are called."""
        return [model for model, _ in self.calls]

    @property
    def cost_credits(self) -> int:
        """The price of all calls."""
        return sum(model.credits_per_unit * units for model, units in self.calls)


async def run_workflow(call: Call, limit_headers: dict[str, str]) -> Response:
    """POST /api/workflows/:slug/run."""
    slug = call.path_value("slug")
    if "run-slug-case-ignored" in call.faults:
        slug = slug.lower()
    if not _NAME.fullmatch(slug):
        if "run-bad-slug-is-404" in call.faults:
            raise workflow_not_found(slug)
        if "run-bad-slug-is-invalid-inputs" in call.faults:
            raise Refusal(400, "INVALID_INPUTS", "No such slug.")
        raise _invalid_slug()
    workflow = find_workflow(call.store, slug)
    if workflow is None:
        if "delete-keeps-what-ran" in call.faults and _has_run(call, slug):
            return await _perform(call, Job(workflow_slug=slug, calls=[], inputs={}), limit_headers)
        if "run-unknown-workflow-is-invalid-slug" in call.faults:
            raise _invalid_slug()
        if "run-unknown-workflow-is-410" in call.faults:
            raise Refusal(410, "GONE", "There is no such workflow.")
        raise workflow_not_found(slug)
    is_own = workflow.owner_id == call.account.id
    if _is_async(call) and "run-foreign-workflow-accepted-async" in call.faults:
        is_own = True
    if not is_own and "run-foreign-workflow-accepted" not in call.faults:
        if "run-foreign-workflow-is-403" in call.faults:
            raise Refusal(403, "FORBIDDEN", "The workflow is someone else's.")
        raise workflow_not_found(slug)
    given = await read_inputs(call)
    if "run-defaults-ignored" in call.faults and any(
        f["name"] not in given for f in fields(workflow.document)
    ):
        raise Refusal(400, "INVALID_INPUTS", "A field is left out.")
    inputs = defaults(workflow.document) | given
    if "run-defaults-count-one-more" in call.faults and "count" in inputs and "count" not in given:
        inputs["count"] += 1
    calls = [(model, model.units(settings | inputs)) for model, settings in generators(workflow.document)]
    if "run-charges-the-first-node" in call.faults:
        calls = calls[:1]
    return await _perform(call, Job(workflow_slug=slug, calls=calls, inputs=inputs), limit_headers)


def _has_run(call: Call, slug: str) -> bool:
    """For faults: whether the account has run this workflow before."""
    (count,) = call.store.row(
        "SELECT count(*) FROM runs WHERE workflow_slug = ? AND account_id = ?", slug, call.account.id
    )
    return bool(count)


async def run_model(call: Call, limit_headers: dict[str, str]) -> Response:
    """POST /api/models/:internalName/run."""
    name = call.path_value("internalName")
    if not _NAME.fullmatch(name):
        if "run-bad-model-name-is-404" in call.faults:
            raise _model_not_found()
        raise _invalid_slug()
    is_served = (
        call.account.is_admin or call.account.reaches("business") or "model-run-under-business" in call.faults
    )
    if call.account.is_admin and "tier-gate-holds-administrators" in call.faults:
        is_served = False
    if not is_served:
        if "model-run-under-business-is-402" in call.faults:
            raise Refusal(402, "INSUFFICIENT_CREDITS", "Direct model runs need the business tier.")
        raise Refusal(403, "MODEL_TIER_REQUIRED", "Direct model runs need the business tier.")
    model = MODELS.get(name)
    if model is None:
        if "model-unknown-is-plain-404" in call.faults:
            raise Refusal(404, "NOT_FOUND", "There is no such model.")
        if "model-unknown-is-invalid-slug" in call.faults:
            raise _invalid_slug()
        raise _model_not_found()
    if not model.is_enabled and "model-disabled-runs" not in call.faults:
        if "model-disabled-is-403" in call.faults:
            raise Refusal(403, "MODEL_DISABLED", "The model is disabled.")
        raise _model_not_found()
    is_in_tier = (
        call.account.is_admin
        or call.account.reaches(model.least_tier)
        or (model.least_tier == "business" and "model-run-under-business" in call.faults)
    )
    if not is_in_tier and "model-tier-ignored" not in call.faults:
        if "model-above-tier-is-404" in call.faults:
            raise _model_not_found()
        raise Refusal(403, "MODEL_TIER_REQUIRED", f"{name} needs the {model.least_tier} tier.")
    if model.medium == "text" and _is_async(call) and "model-async-for-text" in call.faults:
        model = replace(model, is_polled=True)
    if _is_async(call) and not model.is_polled and "model-async-for-all" not in call.faults:
        raise Refusal(400, "ASYNC_NOT_SUPPORTED", f"{name} runs synchronously only.")
    inputs = await read_inputs(call)
    job = Job(workflow_slug=None, calls=[(model, model.units(inputs))], inputs=inputs)
    return await _perform(call, job, limit_headers)


def _is_async(call: Call) -> bool:
    return call.request.query_params.get("async") == "true"


def _invalid_slug() -> Refusal:
    return Refusal(400, "INVALID_SLUG", "A name has lowercase letters, digits and hyphens only.")


def _model_not_found() -> Refusal:
    return Refusal(404, "MODEL_NOT_FOUND", "There is no such model.")


async def read_inputs(call: Call) -> dict[str, Any]:
    """The inputs in the body.

    Raises:
        Refusal: The body is no JSON, or holds no usable inputs.
    """
    try:
        body = await read_json(call.request)
    except Refusal as refusal:
        if refusal.code == "INVALID_BODY" and "run-malformed-body-accepted" in call.faults:
            return {}
        if refusal.code == "INVALID_BODY" and "run-malformed-body-is-invalid-inputs" in call.faults:
            raise Refusal(400, "INVALID_INPUTS", refusal.error) from None
        if refusal.code == "INVALID_BODY" and "run-malformed-body-is-500" in call.faults:
            raise Refusal(500, "INTERNAL_ERROR", refusal.error) from None
        raise
    if not isinstance(body, dict):
        raise Refusal(400, "INVALID_INPUTS", "The body is no JSON object.")
    inputs = body.get("inputs", {} if "run-inputs-missing-accepted" in call.faults else None)
    if inputs == {} and "run-empty-inputs-refused" in call.faults:
        raise Refusal(400, "INVALID_INPUTS", "inputs is empty.")
    if isinstance(inputs, dict):
        return inputs
    if _is_async(call) and inputs is None:
        if "inputs" in body and "run-inputs-null-accepted-async" in call.faults:
            return {}
        if "inputs" not in body and "run-inputs-missing-accepted-async" in call.faults:
            return {}
    if inputs == [] and "run-inputs-empty-array-accepted" in call.faults:
        return {}
    if inputs is False and "run-inputs-false-accepted" in call.faults:
        return {}
    if "inputs" not in body and "run-inputs-missing-is-invalid-body" in call.faults:
        raise Refusal(400, "INVALID_BODY", "inputs is missing.")
    if isinstance(inputs, list) and "run-inputs-array-accepted" in call.faults:
        return {}
    if "inputs" in body and inputs is None and "run-inputs-null-accepted" in call.faults:
        return {}
    if isinstance(inputs, str) and "run-inputs-text-accepted" in call.faults:
        return {}
    if isinstance(inputs, (int, float)) and "run-inputs-number-is-500" in call.faults:
        raise Refusal(500, "INTERNAL_ERROR", "inputs is a number.")
    raise Refusal(400, "INVALID_INPUTS", "inputs is missing, or no JSON object.")


async def _perform(call: Call, job: Job, limit_headers: dict[str, str]) -> Response:
    services = call.services
    is_async = _is_async(call)
    request_id = f"req_{uuid.uuid4().hex}"
    draw = random.Random(f"{services.seed} {last_run_id(services.store)}")
    duration_s = services.latency.job_s(job.models, draw, is_async=is_async)
    if fails(job.models, draw):
        outcome: dict[str, Any] = {"error": {"code": "EXECUTION_FAILED", "message": "The provider failed."}}
    else:
        outcome = {"result": results(job.calls, job.inputs, request_id)}
    cost_credits = job.cost_credits
    if "run-charged-once" in call.faults:
        cost_credits = sum(model.credits_per_unit for model in job.models)
    if "run-charges-one-less" in call.faults:
        cost_credits = sum(model.credits_per_unit * (units - (units > 1)) for model, units in job.calls)
    if "run-credits-checked-too-early" in call.faults:
        look_at_funds(services.store, call.account.id, cost_credits, call.faults)
        await pause()
    with services.store.transaction():
        faults = call.faults
        if is_async and "run-async-without-credits-accepted" in faults:
            faults |= {"run-without-credits-accepted"}
        is_granted = charge(services.store, call.account.id, cost_credits, faults)
        run = accept_run(
            services.store,
            request_id=request_id,
            execution_id=str(uuid.uuid4()) if is_async else None,
            account_id=call.account.id,
            key_id=call.key.id,
            source="api-workflow" if job.workflow_slug else "api-slim",
            workflow_slug=job.workflow_slug,
            model_ids=[model.name for model in job.models],
            cost_credits=cost_credits,
            is_granted=is_granted,
            outcome=outcome,
            duration_s=duration_s,
        )
        if not is_async and not duration_s:
            _end_sync_run(call, run)
    if is_async:
        services.engine.watch(run)
        return await _submitted(call, run, limit_headers)
    if duration_s:
        await asyncio.sleep(duration_s)
        with services.store.transaction():
            _end_sync_run(call, run)
    if run.is_failing:
        error = outcome["error"]
        if "run-provider-failure-is-200" in call.faults:
            return answer({"success": False, **error}, headers=limit_headers)
        raise Refusal(500, "EXECUTION_FAILED", error["message"])
    return _succeeded(call, run, limit_headers)


def _end_sync_run(call: Call, run: Run) -> None:
    end_run(call.store, run, "failed" if run.is_failing else "completed")


def _succeeded(call: Call, run: Run, limit_headers: dict[str, str]) -> Response:
    cost: Any = run.charged_credits
    if run.is_granted and "run-granted-costs" in call.faults:
        cost = run.cost_credits
    if run.is_granted and "run-granted-cost-is-null" in call.faults:
        cost = None
    if "run-cost-rounded" in call.faults:
        cost = cost // 10 * 10
    if "run-cost-as-text" in call.faults:
        cost = str(cost)
    if "run-cost-negative" in call.faults:
        cost = -1 - cost
    if "run-cost-differs-from-usage" in call.faults:
        cost = cost * 2 + 1
    ms: Any = round((time.time() - run.created_unix_s) * 1000, 3)
    body: dict[str, Any] = {"success": True, "result": run.outcome["result"], "cost": cost, "ms": ms}
    if "run-success-as-text" in call.faults:
        body["success"] = "true"
    if "run-success-is-false" in call.faults:
        body["success"] = False
    if "run-lacks-cost" in call.faults:
        del body["cost"]
    if "run-lacks-result" in call.faults:
        del body["result"]
    if "run-text-result-is-null" in call.faults and "text" in body["result"] and run.model_ids:
        body["result"] = None
    if "run-images-as-text" in call.faults and "images" in body["result"]:
        body["result"] = body["result"] | {"images": body["result"]["images"][0]}
    if run.workflow_slug and "run-ms-as-text" in call.faults:
        body["ms"] = f"{ms} ms"
    if run.workflow_slug and "run-lacks-ms" in call.faults:
        del body["ms"]
    return answer(body, status=202 if "run-is-202" in call.faults else 200, headers=limit_headers)


def _execution_before(call: Call, run: Run) -> str | None:
    """For a fault: the account's execution before this one, or this one."""
    row = call.store.row(
        "SELECT execution_id FROM runs WHERE account_id = ? AND id < ? AND execution_id IS NOT NULL"
        " ORDER BY id DESC LIMIT 1",
        run.account_id,
        run.id,
    )
    return row[0] if row else run.execution_id


async def _submitted(call: Call, run: Run, limit_headers: dict[str, str]) -> Response:
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
    if "async-lacks-marker" in call.faults:
        del body["_async"]
    if "async-lacks-request-id" in call.faults:
        del body["requestId"]
    if "async-status-is-queued" in call.faults:
        body["status"] = "queued"
    if "async-execution-id-is-short" in call.faults:
        body["executionId"] = str(run.execution_id)[:8]
    if "async-execution-id-repeats" in call.faults:
        body |= {"executionId": _ONE_ID, "pollUrl": f"/api/executions/{_ONE_ID}"}
    if "async-lacks-workflow-slug" in call.faults:
        body.pop("workflowSlug", None)
    if "async-poll-url-elsewhere" in call.faults:
        body["pollUrl"] = f"/api/runs/{run.execution_id}"
    if "async-poll-url-of-the-one-before" in call.faults:
        body["pollUrl"] = f"/api/executions/{_execution_before(call, run)}"
    if "async-webhook-configured-as-text" in call.faults:
        body["webhookDelivery"] = {"configured": str(is_configured).lower()}
    if "async-webhook-lacks-configured" in call.faults:
        body["webhookDelivery"] = {}
    if "async-submit-is-slow" in call.faults:
        await asyncio.sleep(_SLOW_SUBMIT_S)
    return answer(body, status=202, headers=limit_headers)
