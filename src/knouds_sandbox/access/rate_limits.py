"""Rate limits: per user and per route, in fixed windows of 60 s.

A window opens with the first request of its bucket, and counts every request that passed authentication and
capabilities. Counters are in memory, so a restart opens new windows. Source: docs, rate limits.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from knouds_sandbox.bodies import Refusal
from knouds_sandbox.fault_points import ActiveEdits, Point
from knouds_sandbox.legal.points import OWN, Choices
from knouds_sandbox.state.accounts import UNLIMITED, Account, Key

WINDOW_S = 60

_NO_LIMIT = 1_000_000
"""What a server tells accounts without a limit, if it tells them anything."""

Bucket: TypeAlias = tuple[object, str]


class Window(NamedTuple):
    """When a bucket's window opened, and how many requests it has counted."""

    opened_unix_s: int
    requests: int


class RateLimitRules:
    """How requests are counted; faults override these methods."""

    window_s = WINDOW_S
    tolerance = 0
    begins_with_the_minute = False

    def limit(self, account: Account) -> int:
        return account.rate_limit

    def bucket(self, key: Key, route: str, /) -> Bucket:
        return key.account.id, route

    def window(self, _: Bucket, latest: Window | None, now_unix_s: float, /) -> Window:
        """Return the window in which a request is counted; ``latest`` is the last one of its bucket."""
        if latest is None or now_unix_s >= latest.opened_unix_s + self.window_s:
            opened = math.floor(now_unix_s)
            return Window(opened - opened % self.window_s if self.begins_with_the_minute else opened, 0)
        return latest

    def closes_unix_s(self, window: Window, _: float, /) -> int:
        return window.opened_unix_s + self.window_s


def over_limit(
    tier: str, limit: int, *, closes_unix_s: int, retry_after_s: int, remaining: int = 0
) -> Refusal:
    headers = _headers(limit, remaining=remaining, closes_unix_s=closes_unix_s)
    return Refusal(
        429,
        "RATE_LIMIT_EXCEEDED",
        f"Over {limit} requests in {WINDOW_S} s.",
        headers=headers | {"Retry-After": str(retry_after_s)},
        tier=tier,
        limit=limit,
        retryAfter=retry_after_s,
    )


def _headers(limit: int, *, remaining: int, closes_unix_s: int) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(closes_unix_s),
    }


def _shown(counted: dict[str, str] | Refusal) -> object:
    return counted.headers if isinstance(counted, Refusal) else counted


class RateLimiter:
    def __init__(
        self, *, now_unix_s: Callable[[], float], edits: ActiveEdits, choices: Choices = OWN
    ) -> None:
        self._now_unix_s = now_unix_s
        self._advanced_s = 0.0
        self._advanced_s_by_account: defaultdict[str, float] = defaultdict(float)
        self._window_by_bucket: dict[Bucket, Window] = {}
        self._rules = RateLimitRules()
        for make_rules in edits.at(Point.RATE_LIMIT, ""):
            self._rules = make_rules()
        self._rules.begins_with_the_minute = choices["window"] == "minute"
        self._shows_no_limit = choices["unlimited"] == "shown"
        self._edits = edits
        is_edited = edits.has(Point.RATE_LIMIT) or edits.has(Point.COUNT)
        self._sound = (
            RateLimiter(now_unix_s=now_unix_s, edits=ActiveEdits(), choices=choices) if is_edited else None
        )

    def advance(self, seconds: float, *, account_id: str = "") -> None:
        """Move the clock of the windows forward, of all accounts or of one; no other clock moves."""
        if account_id:
            self._advanced_s_by_account[account_id] += seconds
        else:
            self._advanced_s += seconds

    def forget(self) -> None:
        """Close all windows, and undo all moves of the clock."""
        self._window_by_bucket.clear()
        self._advanced_s = 0.0
        self._advanced_s_by_account.clear()
        if self._sound:
            self._sound.forget()

    def now_unix_s(self) -> float:
        return self._now_unix_s() + self._advanced_s

    def count(self) -> int:
        return len(self._window_by_bucket)

    def look(self, key: Key, route: str) -> Window | None:
        return self._window_by_bucket.get(self._rules.bucket(key, route))

    def take(self, key: Key, route: str, *, seen: Window | None = None) -> dict[str, str]:
        """Count a request, or refuse it; return the headers of its success, empty without a limit."""
        now = self.now_unix_s() + self._advanced_s_by_account[key.account.id]
        counted = self._count(key, route, now, seen)
        if self._sound and _shown(self._sound._count(key, route, now)) != _shown(counted):  # noqa: SLF001 - the same
            self._edits.note_met_at(Point.RATE_LIMIT, Point.COUNT)
        if isinstance(counted, Refusal):
            raise counted
        return counted

    def _count(
        self, key: Key, route: str, now: float, seen: Window | None = None
    ) -> dict[str, str] | Refusal:
        rules = self._rules
        limit = rules.limit(key.account)
        if limit == UNLIMITED:
            if not self._shows_no_limit:
                return {}
            limit = _NO_LIMIT
        bucket = rules.bucket(key, route)
        window = rules.window(bucket, seen or self._window_by_bucket.get(bucket), now)
        count = window.requests + 1
        self._window_by_bucket[bucket] = Window(window.opened_unix_s, min(count, limit + 1))
        closes = rules.closes_unix_s(window, now)
        remaining = max(0, limit - count)
        if count <= limit + rules.tolerance:
            return _headers(limit, remaining=remaining, closes_unix_s=closes)
        return over_limit(
            key.account.tier,
            limit,
            closes_unix_s=closes,
            retry_after_s=math.ceil(closes - now),
            remaining=remaining,
        )
