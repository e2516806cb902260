"""Faults: rate limits."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

from knouds_harness.sandbox.access.rate_limits import WINDOW_S, Bucket, RateLimitRules, Window
from knouds_harness.sandbox.answers import OutgoingAnswer
from knouds_harness.sandbox.calls import HandlerCall
from knouds_harness.sandbox.fault_points import Edit, Point
from knouds_harness.sandbox.faults.editing import (
    AnswerEdit,
    Edits,
    at,
    changed,
    on_answer,
    on_refusal,
    on_success,
    pause,
    with_header,
    with_status,
    with_value,
    without,
)
from knouds_harness.sandbox.faults.fault_types import Subtle, Table
from knouds_harness.sandbox.state.accounts import Account, Key

FAULTS: Table = {
    "rate.headers-on-success": {
        "rate-headers-left-out": "The rate-limit headers are left out.",
        "rate-reset-left-out": "X-RateLimit-Reset is left out.",
    },
    "rate.headers-are-integers": {
        "rate-reset-in-ms": Subtle("X-RateLimit-Reset is in milliseconds."),
        "rate-limit-with-unit": "X-RateLimit-Limit carries a window.",
    },
    "rate.remaining-falls": {
        "rate-remaining-stands-still": "X-RateLimit-Remaining never falls.",
        "rate-remaining-one-more": Subtle("X-RateLimit-Remaining is one more than is left."),
        "rate-remaining-one-less": Subtle("X-RateLimit-Remaining is one less than is left."),
        "rate-remaining-sticks-at-tens": Subtle("X-RateLimit-Remaining does not fall at each tenth request."),
    },
    "rate.window-is-fixed-60-s": {
        "rate-window-is-an-hour": "The window is an hour long.",
        "rate-window-is-half-a-minute": Subtle("The window is 30 s long."),
        "rate-window-slides": Subtle(
            "Each request counts for 60 s from when it came, whatever window it is in."
        ),
        "rate-reset-slides": Subtle("X-RateLimit-Reset is always 60 s from now."),
    },
    "rate.over-limit-is-429": {
        "rate-one-too-many": Subtle("One request over the limit goes through."),
        "rate-refusal-is-503": "A request over the limit is a 503.",
        "rate-refusal-has-other-code": "The code over the limit is TOO_MANY_REQUESTS.",
        "rate-simultaneous-uncounted": Subtle("Requests at once count as one."),
    },
    "rate.refusal-fields": {
        "rate-refusal-lacks-tier": "A 429 has no tier.",
    },
    "rate.refusal-headers": {
        "rate-refusal-lacks-retry-after": "A 429 has no Retry-After.",
        "rate-remaining-below-zero": "X-RateLimit-Remaining of a 429 is -1.",
    },
    "rate.body-and-headers-agree": {
        "rate-refusal-in-ms": Subtle("retryAfter is in milliseconds."),
        "rate-refusal-tells-other-limit": Subtle(
            "The limit in the body of a 429 is one more than in its headers."
        ),
        "rate-retry-after-is-half": Subtle("Retry-After is half of retryAfter."),
    },
    "rate.per-user-not-per-key": {
        "rate-counted-per-key": Subtle("Each key has a bucket of its own."),
    },
    "rate.separate-per-route": {
        "rate-shared-by-routes": Subtle("The two run endpoints share a bucket."),
    },
}

_RUNS = "runWorkflow runModel"
_LIMIT = "x-ratelimit-limit"
_REMAINING = "x-ratelimit-remaining"
_RESET = "x-ratelimit-reset"


def _on_429(edit: AnswerEdit) -> Edit:
    return on_refusal(edit, _RUNS, code="RATE_LIMIT_EXCEEDED")


def _leave_headers_out(answer: OutgoingAnswer) -> None:
    for name in (_LIMIT, _REMAINING, _RESET):
        answer.headers.pop(name, None)


def _stand_still(answer: OutgoingAnswer) -> None:
    if _LIMIT in answer.headers:
        answer.headers[_REMAINING] = str(int(answer.headers[_LIMIT]) - 1)


def _tell_more(added: int) -> AnswerEdit:
    def apply(answer: OutgoingAnswer) -> None:
        if _LIMIT in answer.headers:
            answer.headers[_REMAINING] = str(max(0, int(answer.headers[_REMAINING]) + added))

    return apply


def _stick_at_tens(answer: OutgoingAnswer) -> None:
    if _LIMIT in answer.headers:
        remaining = int(answer.headers[_REMAINING])
        is_tenth = (int(answer.headers[_LIMIT]) - remaining) % 10 == 0
        answer.headers[_REMAINING] = str(remaining + is_tenth)


class _HourlyRules(RateLimitRules):
    window_s = 3600


class _HalfMinuteRules(RateLimitRules):
    window_s = 30


class _TolerantRules(RateLimitRules):
    tolerance = 1


class _SlidingRules(RateLimitRules):
    """Count the requests of the last 60 s."""

    def __init__(self) -> None:
        self._times_by_bucket: dict[Bucket, list[float]] = defaultdict(list)

    def window(self, bucket: Bucket, _: Window | None, now_unix_s: float, /) -> Window:
        times = [each for each in self._times_by_bucket[bucket] if each > now_unix_s - WINDOW_S]
        self._times_by_bucket[bucket] = [*times, now_unix_s]
        return Window(math.floor((times or [now_unix_s])[0]), len(times))


class _SlidingResetRules(RateLimitRules):
    def closes_unix_s(self, _: Window, now_unix_s: float, /) -> int:
        return math.floor(now_unix_s) + self.window_s


class _PerKeyRules(RateLimitRules):
    def bucket(self, key: Key, route: str, /) -> Bucket:
        return key.id, route


class _SharedRules(RateLimitRules):
    def bucket(self, key: Key, _: str, /) -> Bucket:
        return key.account.id, ""


def _limited_to(limit: int, is_meant: Callable[[Account], bool]) -> Edit:
    """Hold some accounts to another limit."""

    class OtherLimit(RateLimitRules):
        def limit(self, account: Account) -> int:
            return limit if is_meant(account) else super().limit(account)

    return _counted_by(OtherLimit)


def _of_tier(tier: str) -> Callable[[Account], bool]:
    return lambda account: account.tier == tier and not account.is_admin


def _counted_by(rules: type[RateLimitRules]) -> Edit:
    return at(Point.RATE_LIMIT, "", rules)


async def _look_too_early(call: HandlerCall) -> Window | None:
    seen = call.services.limiter.look(call.key, call.operation)
    await pause()
    return seen


EDITS: Edits = {
    "rate-headers-left-out": on_answer(_RUNS, _leave_headers_out),
    "rate-reset-left-out": on_answer(_RUNS, with_header(_RESET, lambda _: None)),
    "rate-reset-in-ms": on_answer(_RUNS, with_header(_RESET, lambda reset: f"{reset}000")),
    "rate-limit-with-unit": on_answer(_RUNS, with_header(_LIMIT, lambda limit: f"{limit};w={WINDOW_S}")),
    "rate-remaining-stands-still": on_answer(_RUNS, _stand_still),
    "rate-remaining-one-more": on_success(_RUNS, _tell_more(1)),
    "rate-remaining-one-less": on_success(_RUNS, _tell_more(-1)),
    "rate-remaining-sticks-at-tens": on_success(_RUNS, _stick_at_tens),
    "rate-window-is-an-hour": _counted_by(_HourlyRules),
    "rate-window-is-half-a-minute": _counted_by(_HalfMinuteRules),
    "rate-window-slides": _counted_by(_SlidingRules),
    "rate-reset-slides": _counted_by(_SlidingResetRules),
    "rate-one-too-many": _counted_by(_TolerantRules),
    "rate-refusal-is-503": _on_429(with_status(503)),
    "rate-refusal-has-other-code": _on_429(with_value("code", "TOO_MANY_REQUESTS")),
    "rate-simultaneous-uncounted": at(Point.COUNT, _RUNS, _look_too_early),
    "rate-refusal-lacks-tier": _on_429(without("tier")),
    "rate-refusal-lacks-retry-after": _on_429(with_header("retry-after", lambda _: None)),
    "rate-remaining-below-zero": _on_429(with_header(_REMAINING, lambda _: "-1")),
    "rate-refusal-in-ms": _on_429(changed("retryAfter", lambda seconds: seconds * 1000)),
    "rate-refusal-tells-other-limit": _on_429(changed("limit", lambda limit: limit + 1)),
    "rate-retry-after-is-half": _on_429(
        with_header("retry-after", lambda seconds: str(max(1, int(seconds) // 2)))
    ),
    "rate-counted-per-key": _counted_by(_PerKeyRules),
    "rate-shared-by-routes": _counted_by(_SharedRules),
    "tier-pro-limit-is-60": _limited_to(60, _of_tier("pro")),
    "tier-pro-limit-is-99": _limited_to(99, _of_tier("pro")),
    "tier-business-limit-is-100": _limited_to(100, _of_tier("business")),
    "tier-enterprise-is-limited": _limited_to(1000, _of_tier("enterprise")),
    "tier-admin-is-limited": _limited_to(100, lambda account: account.is_admin),
}
