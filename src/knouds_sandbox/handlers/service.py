"""Handlers without a resource: whoami, pricing, health. The shapes of pricing and health are assumed."""

from starlette.requests import Request
from starlette.responses import Response

from knouds_sandbox.calls import HandlerCall, Services
from knouds_sandbox.envelopes import answer
from knouds_sandbox.providers import MODELS
from knouds_sandbox.state.accounts import RATE_LIMIT_BY_TIER, UNLIMITED, as_user

_MONTHLY_CREDITS_BY_TIER = {"free": 250, "creator": 1700, "pro": 5000, "business": 11329, "enterprise": None}


async def get_whoami(call: HandlerCall) -> Response:
    """GET /api/whoami. Source: docs, whoami."""
    return answer({"user": as_user(call.account)})


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
