"""Handlers that need no key: pricing and health. Their shapes are assumed."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from knouds_harness.sandbox.accounts import RATE_LIMIT_BY_TIER, UNLIMITED
from knouds_harness.sandbox.calls import Services
from knouds_harness.sandbox.envelopes import answer
from knouds_harness.sandbox.providers import MODELS

_MONTHLY_CREDITS_BY_TIER = {"free": 250, "creator": 1700, "pro": 5000, "business": 11329, "enterprise": None}


def get_pricing(_: Request, __: Services) -> Response:
    """GET /api/pricing/public."""
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


def get_health(_: Request, __: Services) -> Response:
    """GET /api/health."""
    return answer({"status": "ok"})
