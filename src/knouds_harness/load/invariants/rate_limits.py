"""The windows of rate limits that the responses of a load show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from knouds_harness.body_bounds import whole_number
from knouds_harness.contract.capabilities import LIMIT_BY_TIER, UNLIMITED
from knouds_harness.judging.checks import concurrency, rate_limits
from knouds_harness.judging.checks.rate_limits import MILLISECONDS, ROUNDING_S
from knouds_harness.load.client.response import Response
from knouds_harness.load.invariants.tallies import NEVER_THROTTLED, REMAINING_FALLS, TRUE_WAIT, Tallies
from knouds_harness.runs.load_results import LimitWindow
from knouds_harness.targets.personas import Persona

_WINDOWS_KEPT: Final = 3
_MOST_WINDOWS: Final = 2_000
"""A window takes a few hundred bytes of a file that is rewritten every five seconds."""


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
        remaining: How often each value of ``X-RateLimit-Remaining`` came with a success, until it is judged.
        judged: How many requests it had admitted when it was judged.
    """

    reset_unix_s: int
    remaining: Counter[int] = field(default_factory=Counter)
    throttled: int = 0
    longest_wait_s: int = 0
    waits_kept: int = 0
    waits_broken: int = 0
    judged: int = 0
    is_judged: bool = False

    @property
    def admitted(self) -> int:
        return self.judged + self.remaining.total()

    def close(self) -> None:
        """Mark it as judged; keep only how many requests it admitted."""
        self.judged, self.is_judged = self.admitted, True
        self.remaining.clear()

    def is_same(self, reset_unix_s: int) -> bool:
        return abs(self.reset_unix_s - reset_unix_s) <= ROUNDING_S


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
        self._windows: dict[LimitedRoute, list[ObservedWindow]] = {}
        self._room_left = _MOST_WINDOWS
        self._unknown: Counter[LimitedRoute] = Counter()
        """How many requests may have counted in a window without a response that says so."""
        self._wait_until: dict[LimitedRoute, tuple[int, float]] = {}

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
                window.remaining[remaining] += 1
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
        if wait_s is not None:
            window.longest_wait_s = max(window.longest_wait_s, wait_s)
            self._tallies.claim(rate_limits.told_wait, rate_limits.is_short_wait(wait_s), about=str(route))
        told = self._wait_until.get(route)
        if told is not None and sent_unix_s >= told[1] + ROUNDING_S:
            is_refused_again = wait_s is not None and window.is_same(told[0])
            waited_s = sent_unix_s - told[1]
            example = f"{route}: refused again {waited_s:.0f} s after the wait"
            self._tallies.judge(*TRUE_WAIT, holds=not is_refused_again, example=example)
            waited_for = self._window(route, told[0])
            waited_for.waits_broken += is_refused_again
            waited_for.waits_kept += not is_refused_again
            if not is_refused_again:
                del self._wait_until[route]
                told = None
        if wait_s is not None:
            until_s = at_unix_s + wait_s
            is_told_window = told is not None and window.is_same(told[0])
            earliest_s = min(until_s, told[1]) if told is not None and is_told_window else until_s
            self._wait_until[route] = (window.reset_unix_s, earliest_s)

    def _window(self, route: LimitedRoute, reset_unix_s: int) -> ObservedWindow:
        windows = self._windows.setdefault(route, [])
        for window in reversed(windows):
            if window.is_same(reset_unix_s):
                return window
        windows.append(ObservedWindow(reset_unix_s=reset_unix_s))
        return windows[-1]

    def windows(self) -> tuple[LimitWindow, ...]:
        """Return the windows of each route in order of time; of a long run, the first two thousand."""
        found = [(route, window) for route, windows in self._windows.items() for window in windows]
        found = sorted(found, key=lambda each: each[1].reset_unix_s)[:_MOST_WINDOWS]
        return tuple(
            LimitWindow(
                user=route.user,
                operation=route.name,
                tier=route.tier,
                limit=route.limit,
                ends_unix_s=window.reset_unix_s,
                admitted=window.admitted,
                throttled=window.throttled,
                longest_wait_s=window.longest_wait_s,
                waits_kept=window.waits_kept,
                waits_broken=window.waits_broken,
            )
            for route, window in sorted(found, key=lambda each: each[0])
        )

    def judge_ended(self) -> None:
        """Judge all windows but the last of each route, and forget what only that needs."""
        for route, windows in self._windows.items():
            windows.sort(key=lambda window: window.reset_unix_s)
            for window, later in pairwise(_to_judge(windows)[: 1 - _WINDOWS_KEPT]):
                self._judge(self._tallies, route, window, later=later)
                if not window.is_judged:
                    self._room_left -= 1
                    if self._room_left < 0:
                        windows.remove(window)
                window.close()

    def judge_last(self, tallies: Tallies) -> None:
        for route, windows in self._windows.items():
            open_ones = _to_judge(windows)
            for window, later in zip(open_ones, [*open_ones[1:], None], strict=True):
                self._judge(tallies, route, window, later=later)

    def _judge(
        self, tallies: Tallies, route: LimitedRoute, window: ObservedWindow, *, later: ObservedWindow | None
    ) -> None:
        about = f"{route} in the window until {window.reset_unix_s}"
        admitted = window.remaining.total()
        tallies.claim(concurrency.burst, concurrency.no_more_admitted(admitted, route.limit), about=about)
        repeated = [value for value, count in window.remaining.items() if value > 0 and count > 1]
        tallies.see(*REMAINING_FALLS, admitted)
        if repeated:
            tallies.break_(
                *REMAINING_FALLS,
                count=sum(window.remaining[value] - 1 for value in repeated),
                example=f"{about}: {window.remaining[repeated[0]]} times {repeated[0]}",
            )
        if later is not None:
            claim = rate_limits.is_same_or_later(later.reset_unix_s, [window.reset_unix_s])
            tallies.claim(rate_limits.ends_apart, claim, about=str(route))
        if self._is_alone and window.throttled and _is_ours_alone(window, route.limit):
            missing = self._unknown[route] + (0 if later else self._most_in_flight)
            claim = rate_limits.all_admitted(
                route.tier, holds=route.limit - admitted <= missing, observed=f"refused after {admitted}"
            )
            tallies.claim(rate_limits.within_limit, claim, about=about)


def _to_judge(windows: Iterable[ObservedWindow]) -> list[ObservedWindow]:
    """Return the windows with counts that were not judged yet, including late ones."""
    return [window for window in windows if not window.is_judged or window.remaining]


def _is_ours_alone(window: ObservedWindow, limit: int) -> bool:
    """Whether all its requests were ours: the values of Remaining fall from the limit without a gap."""
    return len(window.remaining) > 0 and set(window.remaining) == set(range(min(window.remaining), limit))
