"""The windows of rate limits that the responses of a load show."""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final, NamedTuple

from knouds_harness.body_bounds import whole_number
from knouds_harness.contract.operations import LIMIT_BY_TIER, UNLIMITED
from knouds_harness.judging.checks import concurrency, rate_limits
from knouds_harness.judging.checks.rate_limits import MILLISECONDS, ROUNDING_S
from knouds_harness.load.client.response import Response
from knouds_harness.load.invariants.tallies import NEVER_THROTTLED, REMAINING_FALLS, TRUE_WAIT, Tallies
from knouds_harness.runs.load_results import LimitWindow
from knouds_harness.targets.resources import Persona

_WINDOWS_KEPT: Final = 3
_MOST_WINDOWS: Final = 2_000
"""A window takes a few hundred bytes of a file that is rewritten every five seconds."""
_RECORDED: Final = ("admitted", "throttled", "longest_wait_s", "waits_kept", "waits_broken")


class LimitedRoute(NamedTuple):
    """What a limit counts: one user's runs of an operation, asynchronous ones apart (no source says so)."""

    user: str
    name: str
    tier: str

    @property
    def limit(self) -> int:
        return LIMIT_BY_TIER[self.tier]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"


@dataclass(kw_only=True)
class ObservedWindow:
    """What responses said of one window of a route.

    Attributes:
        admitted: How many successes told a value of ``X-RateLimit-Remaining``.
        seen: How often each value came, until later windows have begun.
        distinct: How many different values came, between ``lowest`` and ``highest``.
        repeated: How many came that had come before, apart from 0; the last of them is the ``example``.
    """

    reset_unix_s: int
    admitted: int = 0
    seen: Counter[int] = field(default_factory=Counter)
    distinct: int = 0
    lowest: int = sys.maxsize
    highest: int = -1
    repeated: int = 0
    example: str = ""
    throttled: int = 0
    longest_wait_s: int = 0
    waits_kept: int = 0
    waits_broken: int = 0

    def admit(self, remaining: int) -> None:
        self.admitted += 1
        self.seen[remaining] += 1
        self.lowest, self.highest = min(remaining, self.lowest), max(remaining, self.highest)
        if self.seen[remaining] == 1:
            self.distinct += 1
        elif remaining > 0:
            self.repeated += 1
            self.example = f"{self.seen[remaining]} times {remaining}"

    def is_ours_alone(self, limit: int) -> bool:
        """Whether all its requests were ours: the values fall from the limit without a gap."""
        return self.highest == limit - 1 and self.distinct == limit - self.lowest


class RateLimits:
    """Reads responses to runs of limited accounts.

    Args:
        most_in_flight: How many requests may have been cut off at the end, without a response.
        is_alone: No other client uses the accounts; otherwise it is unknown who filled a window.
    """

    def __init__(self, tallies: Tallies, *, most_in_flight: int, is_alone: bool) -> None:
        self._tallies = tallies
        self._most_in_flight = most_in_flight
        self._is_alone = is_alone
        self._windows: defaultdict[LimitedRoute, dict[int, ObservedWindow]] = defaultdict(dict)
        self._count = 0
        self._unknown: Counter[LimitedRoute] = Counter()
        """How many requests may have counted in a window without a response that says so."""
        self._wait_until: dict[LimitedRoute, tuple[ObservedWindow, float]] = {}

    def observe(
        self, name: str, response: Response, sender: Persona, body: object, *, at_unix_s: float
    ) -> None:
        is_refused = (
            response.status_code == 429
            and isinstance(body, dict)
            and body.get("code") == "RATE_LIMIT_EXCEEDED"
        )
        route = LimitedRoute(sender.user, name, sender.tier)
        if sender.tier == UNLIMITED:
            self._tallies.judge(*NEVER_THROTTLED, holds=not is_refused, example=f"{route}: 429")
        if sender.tier not in LIMIT_BY_TIER:
            return
        is_admitted = 200 <= response.status_code < 300
        headers: Mapping[str, str] = response.headers if response.status_code else {}
        reset_unix_s = whole_number(headers.get("x-ratelimit-reset"))
        remaining = whole_number(headers.get("x-ratelimit-remaining"))
        told_limit = whole_number(headers.get("x-ratelimit-limit"))
        if told_limit is not None:
            claim = rate_limits.is_limit_of_tier(told_limit, sender.tier)
            self._tallies.claim(rate_limits.told_limit, claim, about=str(route))
        if not (is_admitted or is_refused):
            self._unknown[route] += 1
        elif reset_unix_s is not None and reset_unix_s < MILLISECONDS:
            window = self._window(route, reset_unix_s)
            if is_refused:
                window.throttled += 1
            elif remaining is not None:
                window.admit(remaining)
            wait_s = whole_number(headers.get("retry-after")) if is_refused else None
            sent_unix_s = at_unix_s - response.elapsed_ms / 1e3
            self._observe_wait(route, window, wait_s, at_unix_s=at_unix_s, sent_unix_s=sent_unix_s)

    def _observe_wait(
        self,
        route: LimitedRoute,
        window: ObservedWindow,
        wait_s: int | None,
        *,
        at_unix_s: float,
        sent_unix_s: float,
    ) -> None:
        """Judge whether a request after the wait that a refusal asked for is refused in the same window."""
        waited_for, until_unix_s = self._wait_until.get(route, (window, math.inf))
        is_refused_again = wait_s is not None and waited_for is window
        if sent_unix_s >= until_unix_s + ROUNDING_S:
            example = f"{route}: refused again {sent_unix_s - until_unix_s:.0f} s after the wait"
            self._tallies.judge(*TRUE_WAIT, holds=not is_refused_again, example=example)
            waited_for.waits_broken += is_refused_again
            waited_for.waits_kept += not is_refused_again
            if not is_refused_again:
                del self._wait_until[route]
        if wait_s is not None:
            window.longest_wait_s = max(window.longest_wait_s, wait_s)
            self._tallies.claim(rate_limits.told_wait, rate_limits.is_short_wait(wait_s), about=str(route))
            earlier_unix_s = until_unix_s if is_refused_again else math.inf
            self._wait_until[route] = window, min(at_unix_s + wait_s, earlier_unix_s)

    def _window(self, route: LimitedRoute, reset_unix_s: int) -> ObservedWindow:
        windows = self._windows[route]
        for near in range(reset_unix_s - ROUNDING_S, reset_unix_s + ROUNDING_S + 1):
            if near in windows:
                return windows[near]
        window = ObservedWindow(reset_unix_s=reset_unix_s)
        self._count += 1
        if self._count <= _MOST_WINDOWS:
            windows[reset_unix_s] = window
            for past in [*windows.values()][-1 - _WINDOWS_KEPT : -_WINDOWS_KEPT]:
                past.seen.clear()
        return window

    def gaps(self) -> Iterator[str]:
        """Yield what is not judged of a run with very many windows."""
        if self._count > _MOST_WINDOWS:
            yield f"Windows of rate limits after the first {_MOST_WINDOWS:,} were not judged."

    def windows(self) -> tuple[LimitWindow, ...]:
        """Return the windows of each route in order of time."""
        return tuple(
            LimitWindow(
                user=route.user,
                operation=route.name,
                tier=route.tier,
                limit=route.limit,
                ends_unix_s=window.reset_unix_s,
                **{each: getattr(window, each) for each in _RECORDED},
            )
            for route, windows in sorted(self._windows.items())
            for _, window in sorted(windows.items())
        )

    def judge(self, tallies: Tallies) -> None:
        """Add what the windows show so far, also those that may be going on."""
        for route, windows in self._windows.items():
            ordered = [windows[each] for each in sorted(windows)]
            for window, later in zip_longest(ordered, ordered[1:]):
                self._judge(tallies, route, window, later=later)

    def _judge(
        self, tallies: Tallies, route: LimitedRoute, window: ObservedWindow, *, later: ObservedWindow | None
    ) -> None:
        about, admitted = f"{route} in the window until {window.reset_unix_s}", window.admitted
        tallies.claim(concurrency.burst, concurrency.no_more_admitted(admitted, route.limit), about=about)
        tallies.see(*REMAINING_FALLS, admitted)
        if window.repeated:
            example = f"{about}: {window.example}"
            tallies.break_(*REMAINING_FALLS, count=window.repeated, example=example)
        if later is not None:
            claim = rate_limits.is_same_or_later(later.reset_unix_s, [window.reset_unix_s])
            tallies.claim(rate_limits.ends_apart, claim, about=str(route))
        if self._is_alone and window.throttled and window.is_ours_alone(route.limit):
            missing = self._unknown[route] + (0 if later else self._most_in_flight)
            claim = rate_limits.all_admitted(
                route.tier, holds=route.limit - admitted <= missing, observed=f"refused after {admitted}"
            )
            tallies.claim(rate_limits.within_limit, claim, about=about)
