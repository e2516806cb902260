"""Faults: rate limits and their windows."""

from collections.abc import Callable
from functools import partial

from starlette.responses import Response

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point, fault, note_met
from knouds_sandbox.faults.editing import (
    LIMIT,
    REMAINING,
    RUNS,
    Handler,
    counted_with,
    limited_to,
    on_success,
)
from knouds_sandbox.state.accounts import UNLIMITED, Account


def _of_tier(tier: str) -> Callable[[Account], bool]:
    return lambda account: account.tier == tier and not account.is_admin


@fault("tier.rate-limit-pro", limited_to(99, _of_tier("pro")), is_subtle=True)
def tier_pro_limit_is_99() -> None:
    """A pro account is limited to 99 requests."""


@fault("tier.rate-limit-business", limited_to(100, _of_tier("business")))
def tier_business_limit_is_100() -> None:
    """A business account is limited to 100 requests."""


@fault("tier.rate-limit-enterprise", limited_to(1000, _of_tier("enterprise")))
def tier_enterprise_is_limited() -> None:
    """An enterprise account is limited to 1,000 requests."""


@fault("rate.remaining-falls", partial(on_success, RUNS), is_subtle=True)
def rate_remaining_sticks_at_tens(answer: OutgoingAnswer) -> None:
    """X-RateLimit-Remaining does not fall with every tenth request."""
    if LIMIT in answer.headers:
        remaining = int(answer.headers[REMAINING])
        is_tenth = (int(answer.headers[LIMIT]) - remaining) % 10 == 0
        answer.headers[REMAINING] = str(remaining + is_tenth)


@fault("rate.window-is-fixed-60-s", counted_with(window_s=3600))
def rate_window_is_an_hour() -> None:
    """The window is an hour long."""


@fault("rate.window-is-fixed-60-s", counted_with(slides=True), is_subtle=True)
def rate_reset_slides() -> None:
    """X-RateLimit-Reset is always 60 s from now."""


@fault("rate.per-user-not-per-key", is_subtle=True)
def rate_counted_per_tier() -> Edit:
    """All accounts of a tier share a bucket."""
    return counted_with(bucket=lambda key, route: (key.account.tier, route))


@fault("rate.remaining-falls", Point.HANDLER, "getWhoami listUsage", is_subtle=True)
async def rate_reads_count(call: HandlerCall, handle: Handler) -> Response:
    """Requests to whoami and usage count as workflow runs."""
    if call.account.rate_limit != UNLIMITED:
        note_met()
    call.services.limiter.take(call.key, "runWorkflow")
    return await handle(call)


@fault("rate.per-user-not-per-key", counted_with(bucket=lambda key, route: (key.id, route)), is_subtle=True)
def rate_counted_per_key() -> None:
    """Each key has its own bucket."""


@fault("rate.separate-per-route", counted_with(bucket=lambda key, _: (key.account.id, "")), is_subtle=True)
def rate_shared_by_routes() -> None:
    """The two run endpoints share a bucket."""
