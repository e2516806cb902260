"""Handlers of what an account is told about itself, its API runs and their models, and of prices and health.

Source: docs, whoami and usage; overview (canvas runs are left out). Malformed query parameters are ignored
(docs/decisions/sandbox-open-points.md). The shapes of pricing and health are assumed.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from knouds_sandbox.bodies import answer
from knouds_sandbox.calls import HandlerCall, Services
from knouds_sandbox.fault_points import Point
from knouds_sandbox.providers import MODELS
from knouds_sandbox.state.accounts import RATE_LIMIT_BY_TIER, UNLIMITED
from knouds_sandbox.state.run_records import StoredRun, select_runs
from knouds_sandbox.state.workflows import iso

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
NUMBER = re.compile(r"[0-9]{1,15}")
_USD_PER_CREDIT = 0.003
_MARGIN = 1.4
_STATUSES = ("processing", "completed", "failed", "cancelled")
_MONTHLY_CREDITS_BY_TIER = {"free": 250, "creator": 1700, "pro": 5000, "business": 11329, "enterprise": None}


async def get_whoami(call: HandlerCall) -> Response:
    account = call.account
    user = {"id": account.id, "email": account.email, "role": account.role, "tier": account.tier}
    return answer({"user": user | {"approved": account.is_approved}})


async def get_pricing(_: Request, __: Services) -> Response:
    tiers = [
        {
            "id": tier,
            "monthlyCredits": monthly_credits,
            "hasApiAccess": tier in RATE_LIMIT_BY_TIER,
            "rateLimitPerMinute": RATE_LIMIT_BY_TIER.get(tier, UNLIMITED) or None,
        }
        for tier, monthly_credits in _MONTHLY_CREDITS_BY_TIER.items()
    ]
    models = [
        {"id": model.name, "unit": model.unit, "credits": model.credits_per_unit}
        for model in MODELS.values()
        if model.is_enabled
    ]
    return answer({"tiers": tiers, "models": models})


async def get_health(_: Request, __: Services) -> Response:
    return answer({"status": "ok"})


@dataclass(kw_only=True, slots=True)
class RowFilter:
    """Which rows are shown: those that meet all ``conditions``, which have names, and of these one page."""

    query: Mapping[str, str]
    account_id: str
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    conditions: dict[str, str] = field(
        default_factory=lambda: {"owner": "account_id = :account", "source": "source <> 'canvas'"}
    )

    @property
    def condition(self) -> str:
        return " AND ".join(self.conditions.values()) or "TRUE"

    @property
    def values(self) -> dict[str, Any]:
        return {
            "account": self.account_id,
            "status": self.query.get("status"),
            "model": self.query.get("modelId"),
            "slug": self.query.get("workflowSlug"),
        }


async def list_usage(call: HandlerCall) -> Response:
    query = call.request.query_params
    selection = RowFilter(
        query=query,
        account_id=call.account.id,
        limit=min(number(query, "limit", default=DEFAULT_LIMIT), MAX_LIMIT),
        offset=number(query, "offset", default=0),
    )
    if query.get("status") in _STATUSES:
        selection.conditions["status"] = "replace(status, 'cancel_requested', 'processing') = :status"
    if query.get("modelId"):
        selection.conditions["model"] = (
            "EXISTS (SELECT 1 FROM json_each(model_ids) WHERE value = :model AND value NOT LIKE '%:%')"
        )
    if query.get("workflowSlug"):
        selection.conditions["workflow"] = "workflow_slug = :slug"
    return answer(_page(call, call.edited(Point.SELECTION, selection, partial(_page, call))))


def _page(call: HandlerCall, selection: RowFilter) -> dict[str, Any]:
    values = selection.values | {"limit": selection.limit, "offset": selection.offset}
    condition = selection.condition
    (total,) = call.store.row(f"SELECT count(*) FROM runs WHERE {condition}", values)  # noqa: S608 - values are bound
    runs = select_runs(call.store, f"{condition} ORDER BY id DESC LIMIT :limit OFFSET :offset", values)
    return {
        "rows": [_row(run) for run in runs],
        "page": selection.offset // max(1, selection.limit) + 1,
        "pageSize": selection.limit,
        "total": total,
    }


async def list_usage_models(call: HandlerCall) -> Response:
    selection = RowFilter(query={}, account_id=call.account.id)
    return answer(_models(call, call.edited(Point.SELECTION, selection, partial(_models, call))))


def _models(call: HandlerCall, selection: RowFilter) -> dict[str, Any]:
    rows = call.store.rows(
        f"SELECT DISTINCT model_ids FROM runs WHERE {selection.condition}",  # noqa: S608 - values are bound
        selection.values,
    )
    model_ids = {model_id for (text,) in rows for model_id in json.loads(text)}
    return {"models": sorted(filter(_is_shown, model_ids))}


def _is_shown(model_id: str) -> bool:
    """Return whether a model id is shown: provider-internal ids, with a colon, are hidden."""
    return ":" not in model_id


def number(query: Mapping[str, str], name: str, *, default: int) -> int:
    """Return a whole number from the query; the default if it is missing or malformed."""
    text = query.get(name, "")
    return int(text) if NUMBER.fullmatch(text) else default


def _row(run: StoredRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "userId": run.account_id,
        "workflowSlug": run.workflow_slug,
        "modelIds": list(filter(_is_shown, run.model_ids)),
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
