"""Handlers of ``/api/usage``: one's own API runs, and the models in them.

Source: docs, usage; that canvas runs are left out is from the overview. What is garbled in the query is
ignored (docs/decisions/sandbox-open-points.md).
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from knouds_harness.sandbox.calls import Call
from knouds_harness.sandbox.envelopes import Refusal, answer
from knouds_harness.sandbox.ledger import Run, select_runs
from knouds_harness.sandbox.workflow_records import iso

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
_USD_PER_CREDIT = 0.003
_MARGIN = 1.4
_SELDOM = 10
_NUMBER = re.compile(r"[0-9]{1,15}")
_STATUSES = ("processing", "completed", "failed", "cancelled")


async def list_usage(call: Call) -> Response:
    """GET /api/usage."""
    query = call.request.query_params
    limit = _number(
        call, "limit", default=20 if "usage-limit-defaults-to-20" in call.faults else DEFAULT_LIMIT
    )
    if "usage-limit-unbounded" not in call.faults:
        limit = min(limit, 501 if "usage-limit-at-most-501" in call.faults else MAX_LIMIT)
    if "usage-limit-ignored" in call.faults:
        limit = DEFAULT_LIMIT
    offset = 0 if "usage-offset-ignored" in call.faults else _number(call, "offset", default=0)
    if offset and "usage-offset-one-short" in call.faults:
        offset -= 1
    condition = _visible(call)
    if offset and "usage-second-page-shows-foreign" in call.faults:
        condition = "source <> 'canvas'"
    if query.get("status") and "usage-filtered-shows-foreign" in call.faults:
        condition = "source <> 'canvas'"
    if query.get("status") and "usage-filtered-shows-canvas-rows" in call.faults:
        condition = "account_id = :account"
    if query.get("workflowSlug") and "usage-of-a-workflow-is-everyones" in call.faults:
        condition = "source <> 'canvas'"
    if query.get("workflowSlug") and "usage-filtered-passes-canvas-off" in call.faults:
        condition = "account_id = :account"
    if query.get("status") in _STATUSES and "usage-status-filter-ignored" not in call.faults:
        condition += " AND replace(status, 'cancel_requested', 'processing') = :status"
    if query.get("modelId") and "usage-model-filter-ignored" not in call.faults:
        condition += (
            " AND EXISTS (SELECT 1 FROM json_each(model_ids) WHERE value = :model AND value NOT LIKE '%:%')"
        )
    if query.get("modelId") and "usage-model-filter-by-prefix" in call.faults:
        condition = condition.replace("WHERE value = :model", "WHERE value LIKE :model || '%'")
    if query.get("workflowSlug") and "usage-filters-not-combined" in call.faults and query.get("status"):
        condition = _visible(call)
    if query.get("workflowSlug") and "usage-workflow-filter-ignored" not in call.faults:
        condition += " AND workflow_slug = :slug"
    values = {
        "account": call.account.id,
        "status": query.get("status"),
        "model": query.get("modelId"),
        "slug": query.get("workflowSlug"),
        "limit": limit,
        "offset": offset,
    }
    (total,) = call.store.row(f"SELECT count(*) FROM runs WHERE {condition}", values)  # noqa: S608 - values are bound
    if limit < total and "usage-limit-one-more" in call.faults:
        values["limit"] = min(limit + 1, MAX_LIMIT)
    runs = select_runs(call.store, f"{condition} ORDER BY id DESC LIMIT :limit OFFSET :offset", values)
    page = {
        "rows": [_row(run, call) for run in runs],
        "page": offset // max(1, limit) + 1,
        "pageSize": limit,
        "total": total,
    }
    if "usage-lacks-total" in call.faults:
        del page["total"]
    if "usage-page-size-as-text" in call.faults:
        page["pageSize"] = str(limit)
    response = answer(page)
    if "usage-as-text" in call.faults:
        response.headers["content-type"] = "text/plain; charset=utf-8"
    return response


async def list_usage_models(call: Call) -> Response:
    """GET /api/usage/models."""
    condition = _visible(call)
    if "usage-models-of-everyone" in call.faults:
        condition = "source <> 'canvas'"
    rows = call.store.rows(
        f"SELECT DISTINCT model_ids FROM runs WHERE {condition}",  # noqa: S608 - values are bound
        {"account": call.account.id},
    )
    model_ids = [model_id for (text,) in rows for model_id in json.loads(text) if _is_shown(model_id, call)]
    if "usage-models-shows-provider-ids" in call.faults:
        model_ids = [model_id for (text,) in rows for model_id in json.loads(text)]
    if "usage-models-lacks-the-last" in call.faults:
        model_ids = sorted(set(model_ids))[:-1]
    if "usage-models-repeat" in call.faults:
        return answer({"models": sorted(model_ids + model_ids)})
    return answer({"models": sorted(set(model_ids))})


def _visible(call: Call) -> str:
    own = "TRUE" if "usage-shows-everyones-rows" in call.faults else "account_id = :account"
    if "usage-adopts-failed-runs" in call.faults:
        own = "(account_id = :account OR status = 'failed')"
    if "usage-lacks-failed-runs" in call.faults:
        own += " AND status <> 'failed'"
    if "usage-lacks-cancelled-runs" in call.faults:
        own += " AND status <> 'cancelled'"
    if "usage-lacks-async-workflow-runs" in call.faults:
        own += " AND (execution_id IS NULL OR workflow_slug IS NULL)"
    if "usage-lacks-every-tenth-run" in call.faults:
        own += f" AND id % {_SELDOM}"
    if "usage-shows-canvas-rows" in call.faults:
        return own
    return f"{own} AND source <> 'canvas'"


def _is_shown(model_id: str, call: Call) -> bool:
    return ":" not in model_id or "usage-shows-provider-ids" in call.faults


def _number(call: Call, name: str, *, default: int) -> int:
    text = call.request.query_params.get(name, "")
    if _NUMBER.fullmatch(text):
        return int(text)
    if text and "usage-garbled-number-is-500" in call.faults:
        raise Refusal(500, "INTERNAL_ERROR", f"{name} is no number.")
    return default


def _row(run: Run, call: Call) -> dict[str, Any]:
    is_ended = run.ended_unix_s is not None
    row: dict[str, Any] = {
        "id": run.id,
        "userId": run.account_id,
        "workflowSlug": run.workflow_slug,
        "modelIds": [model_id for model_id in run.model_ids if _is_shown(model_id, call)],
        "status": "processing" if run.status == "cancel_requested" else run.status,
        "source": run.source,
        "cost": round(run.cost_credits * _USD_PER_CREDIT, 6),
        "userCost": round(run.charged_credits * _USD_PER_CREDIT * _MARGIN, 6),
        "creditsCost": run.charged_credits,
        "durationMs": round(((run.ended_unix_s or run.created_unix_s) - run.created_unix_s) * 1000),
        "errorCode": run.outcome["error"]["code"] if run.status == "failed" and run.is_failing else None,
        "requestId": run.request_id,
        "createdAt": iso(datetime.fromtimestamp(run.created_unix_s, UTC)),
    }
    if not call.faults:
        return row
    if "usage-adopts-failed-runs" in call.faults:
        row["userId"] = call.account.id
    if "usage-row-lacks-request-id" in call.faults:
        del row["requestId"]
    if "usage-row-id-as-text" in call.faults:
        row["id"] = str(run.id)
    if "usage-row-models-as-text" in call.faults:
        row["modelIds"] = ",".join(row["modelIds"])
    if (
        run.source == "api-slim"
        and run.execution_id is None
        and "usage-row-names-the-cheapest" in call.faults
    ):
        row["modelIds"] = ["claude-sonnet"]
    if "usage-row-created-at-epoch" in call.faults:
        row["createdAt"] = int(run.created_unix_s * 1000)
    if is_ended and "usage-row-status-is-done" in call.faults:
        row["status"] = "done"
    if run.status == "cancelled" and "usage-cancelled-runs-fail" in call.faults:
        row["status"] = "failed"
    if run.execution_id is not None and "usage-async-runs-go-on" in call.faults:
        row["status"] = "processing"
    if (
        run.execution_id is not None
        and run.status == "completed"
        and "run-async-charges-double" in call.faults
    ):
        row["creditsCost"] = 2 * run.charged_credits
    if run.source == "canvas" and "usage-filtered-passes-canvas-off" in call.faults:
        row["source"] = "api-workflow"
    if "usage-row-source-is-api" in call.faults:
        row["source"] = "api"
    if run.workflow_slug is None and "usage-slim-names-a-workflow" in call.faults:
        row["workflowSlug"] = "direct"
    if "usage-row-credits-as-fraction" in call.faults:
        row["creditsCost"] = run.charged_credits + 0.5
    if run.id % _SELDOM == 0 and "usage-every-tenth-run-is-free" in call.faults:
        row["creditsCost"] = 0
    return row
