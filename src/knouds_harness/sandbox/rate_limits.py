"""Rate limits: per user and per route, in fixed windows of 60 s.

A window opens with the first request of its bucket and counts every request that got past authentication and
capabilities. Counters live in memory: a restart opens new windows. Source: docs, rate limits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from knouds_harness.sandbox.accounts import UNLIMITED, Account, Key
from knouds_harness.sandbox.envelopes import Refusal

WINDOW_S = 60


class RateLimiter:
    """The buckets of one sandbox."""

    def __init__(self, *, now_unix_s: Callable[[], float], faults: Collection[str]) -> None:
        """Start with empty buckets on this clock."""
        self._now_unix_s = now_unix_s
        self._faults = faults
        self._advanced_s = 0.0
        self._bucket: dict[tuple[object, str], tuple[int, int]] = {}
        self._times: dict[tuple[object, str], list[float]] = {}  # for a fault: when each request came

    def advance(self, seconds: float) -> None:
        """Move the windows' clock forward; no other clock moves."""
        self._advanced_s += seconds

    def look(self, key: Key, route: str) -> tuple[int, int] | None:
        """For a fault: when a bucket's window opened and what it has counted; None before its first."""
        return self._bucket.get((key.account.id, route))

    def take(self, key: Key, route: str, *, seen: tuple[int, int] | None = None) -> dict[str, str]:
        """Count one request.

        Args:
            key: Who sends it.
            route: The name of the limited operation.
            seen: For a fault: what the bucket held when somebody looked, to count on from.

        Returns:
            The headers of its success; none for an account without a limit.

        Raises:
            Refusal: 429 ``RATE_LIMIT_EXCEEDED``.
        """
        limit = key.account.rate_limit(self._faults)
        if limit == UNLIMITED:
            return {}
        now = self._now_unix_s() + self._advanced_s
        bucket = (key.id if "rate-counted-per-key" in self._faults else key.account.id, route)
        if "rate-shared-by-routes" in self._faults:
            bucket = (bucket[0], "")
        opened, count = seen or self._bucket.get(bucket, (math.floor(now), 0))
        window_s = 3600 if "rate-window-is-an-hour" in self._faults else WINDOW_S
        if "rate-window-is-half-a-minute" in self._faults:
            window_s = 30
        if now >= opened + window_s:
            opened, count = math.floor(now), 0
        if "rate-window-slides" in self._faults:
            opened, count = self._slid(bucket, now)
        count += 1
        self._bucket[bucket] = (opened, min(count, limit + 1))
        closes = opened + window_s
        if "rate-reset-slides" in self._faults:
            closes = math.floor(now) + window_s
        if count > limit + (1 if "rate-one-too-many" in self._faults else 0):
            raise self._exceeded(key.account, limit, closes=closes, now=now)
        if count % 10 == 0 and "rate-remaining-sticks-at-tens" in self._faults:
            count -= 1
        return self._headers(limit, max(0, limit - count), closes)

    def _slid(self, bucket: tuple[object, str], now: float) -> tuple[int, int]:
        times = [each for each in self._times.get(bucket, ()) if each > now - WINDOW_S]
        self._times[bucket] = [*times, now]
        return math.floor((times or [now])[0]), len(times)

    def _headers(self, limit: int, remaining: int, closes: int) -> dict[str, str]:
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(closes),
        }
        if "rate-headers-left-out" in self._faults:
            return {}
        if "rate-reset-left-out" in self._faults:
            del headers["X-RateLimit-Reset"]
        if "rate-reset-in-ms" in self._faults:
            headers["X-RateLimit-Reset"] = str(closes * 1000)
        if "rate-limit-with-unit" in self._faults:
            headers["X-RateLimit-Limit"] = f"{limit};w={WINDOW_S}"
        if "rate-remaining-stands-still" in self._faults:
            headers["X-RateLimit-Remaining"] = str(limit - 1)
        return headers

    def _exceeded(self, account: Account, limit: int, *, closes: int, now: float) -> Refusal:
        retry_after_s = math.ceil(closes - now)
        headers = self._headers(limit, 0, closes) | {"Retry-After": str(retry_after_s)}
        context: dict[str, Any] = {"tier": account.tier, "limit": limit, "retryAfter": retry_after_s}
        status, code = 429, "RATE_LIMIT_EXCEEDED"
        if "rate-refusal-in-ms" in self._faults:
            context["retryAfter"] = retry_after_s * 1000
        if "rate-refusal-tells-other-limit" in self._faults:
            context["limit"] = limit + 1
        if "rate-retry-after-is-half" in self._faults:
            headers["Retry-After"] = str(max(1, retry_after_s // 2))
        if "rate-refusal-lacks-tier" in self._faults:
            del context["tier"]
        if "rate-refusal-lacks-retry-after" in self._faults:
            del headers["Retry-After"]
        if "rate-refusal-is-503" in self._faults:
            status = 503
        if "rate-refusal-has-other-code" in self._faults:
            code = "TOO_MANY_REQUESTS"
        return Refusal(status, code, f"Over {limit} requests in {WINDOW_S} s.", headers=headers, **context)
