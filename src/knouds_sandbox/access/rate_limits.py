"""Rate limits: per user and per route, in fixed windows of 60 s.

A window opens with the first request of its bucket, and counts every request that passed authentication and
capabilities. Counters are in memory, so a restart opens new windows. Source: docs, rate limits.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True, slots=True)
class RateLimitRules:
    """How requests are counted; faults replace members. A window that slides closes ``window_s`` from now."""

    window_s: int = WINDOW_S
    tolerance: int = 0
    slides: bool = False
    limit: Callable[[Account], int] = lambda account: account.rate_limit
    bucket: Callable[[Key, str], Bucket] = lambda key, route: (key.account.id, route)


class _Counted(NamedTuple):
    limit: int
    remaining: int
    closes_unix_s: int
    is_over: bool


def over_limit(tier: str, limit: int, *, closes_unix_s: int, retry_after_s: int) -> Refusal:
    return Refusal(
        429,
        "RATE_LIMIT_EXCEEDED",
        f"Over {limit} requests in {WINDOW_S} s.",
        headers=_headers(limit, 0, closes_unix_s) | {"Retry-After": str(retry_after_s)},
        tier=tier,
        limit=limit,
        retryAfter=retry_after_s,
    )


def _headers(limit: int, remaining: int, closes_unix_s: int) -> dict[str, str]:
    names = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    return dict(zip(names, map(str, (limit, remaining, closes_unix_s)), strict=True))


class RateLimiter:
    def __init__(
        self, *, now_unix_s: Callable[[], float], edits: ActiveEdits, choices: Choices = OWN
    ) -> None:
        self._now_unix_s = now_unix_s
        self._advanced_s: defaultdict[str, float] = defaultdict(float)
        """By account; of all accounts, under an empty id."""
        self._window_by_bucket: dict[Bucket, Window] = {}
        self._rules = RateLimitRules()
        for change in edits.at(Point.RATE_LIMIT, ""):
            self._rules = change(self._rules)
        self._choices = choices
        self._edits = edits
        is_edited = edits.has(Point.RATE_LIMIT) or edits.has(Point.COUNT)
        self._sound = (
            RateLimiter(now_unix_s=now_unix_s, edits=ActiveEdits(), choices=choices) if is_edited else None
        )

    def advance(self, seconds: float, *, account_id: str = "") -> None:
        """Move the clock of the windows forward, of all accounts or of one; no other clock moves."""
        self._advanced_s[account_id] += seconds

    def forget(self) -> None:
        """Close all windows, and undo all moves of the clock."""
        self._window_by_bucket.clear()
        self._advanced_s.clear()
        if self._sound:
            self._sound.forget()

    def now_unix_s(self) -> float:
        return self._now_unix_s() + self._advanced_s[""]

    def count(self) -> int:
        return len(self._window_by_bucket)

    def look(self, key: Key, route: str) -> Window | None:
        return self._window_by_bucket.get(self._rules.bucket(key, route))

    def take(self, key: Key, route: str, *, seen: Window | None = None) -> dict[str, str]:
        """Count a request, or refuse it; return the headers of its success, empty without a limit."""
        now = self.now_unix_s() + self._advanced_s[key.account.id]
        counted = self._count(key, route, now, seen)
        if self._sound and self._sound._count(key, route, now) != counted:  # noqa: SLF001 - the same
            self._edits.note_met_at(Point.RATE_LIMIT, Point.COUNT)
        if counted is None:
            return {}
        limit, remaining, closes_unix_s, is_over = counted
        if is_over:
            retry_after_s = math.ceil(closes_unix_s - now)
            raise over_limit(
                key.account.tier, limit, closes_unix_s=closes_unix_s, retry_after_s=retry_after_s
            )
        return _headers(limit, remaining, closes_unix_s)

    def _count(self, key: Key, route: str, now: float, seen: Window | None = None) -> _Counted | None:
        """Count a request in its window, ``seen`` or the last one of its bucket; None without a limit."""
        rules = self._rules
        limit = rules.limit(key.account)
        if limit == UNLIMITED:
            if self._choices["unlimited"] != "shown":
                return None
            limit = _NO_LIMIT
        bucket = rules.bucket(key, route)
        opened, requests = seen or self._window_by_bucket.get(bucket) or Window(0, 0)
        if now >= opened + rules.window_s:
            opened, requests = math.floor(now), 0
            if self._choices["window"] == "minute":
                opened -= opened % rules.window_s
        self._window_by_bucket[bucket] = Window(opened, min(requests + 1, limit + 1))
        return _Counted(
            limit=limit,
            remaining=max(0, limit - requests - 1),
            closes_unix_s=(math.floor(now) if rules.slides else opened) + rules.window_s,
            is_over=requests >= limit + rules.tolerance,
        )
