"""Handlers that need no key: pricing and health. Their shapes are assumed."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from knouds_harness.sandbox.accounts import RATE_LIMIT_BY_TIER, UNLIMITED
from knouds_harness.sandbox.calls import Services
from knouds_harness.sandbox.envelopes import Refusal, answer
from knouds_harness.sandbox.providers import MODELS

_MONTHLY_CREDITS_BY_TIER = {"free": 250, "creator": 1700, "pro": 5000, "business": 11329, "enterprise": None}


def get_pricing(_: Request, services: Services) -> Response:
    """GET /api/pricing/public."""
    if "pricing-is-404" in services.faults:
        raise Refusal(404, "NOT_FOUND", "There is no such route.")
    if "pricing-is-html" in services.faults:
        return Response("<!doctype html><title>Pricing</title>", media_type="text/html")
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


def get_health(_: Request, services: Services) -> Response:
    """GET /api/health."""
    if "health-is-text" in services.faults:
        return PlainTextResponse("ok")
    if "health-is-json-string" in services.faults:
        return answer("ok")
    return answer({"status": "ok"})
