"""The windows of rate limits that a run met, for its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from knouds_harness.load.invariants.observation_batch import LimitedRoute, ObservedWindow
from knouds_harness.runs.load_results import LimitWindow

_MOST: Final = 2_000
"""A window takes a few hundred bytes of a file that is written anew every five seconds."""


class WindowLog:
    """Adds up what was seen of each window, whoever saw it; the first two thousand of them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._by_route: dict[LimitedRoute, list[LimitWindow]] = {}
        self._count = 0

    def add(self, windows_by_route: Mapping[LimitedRoute, Sequence[ObservedWindow]]) -> None:
        """A process saw these."""
        for route, windows in windows_by_route.items():
            known = self._by_route.setdefault(route, [])
            for window in windows:
                place = self._place_of(window, route, known)
                if place is not None:
                    known[place] = _added(known[place], window)

    def windows(self) -> tuple[LimitWindow, ...]:
        """All of them, route by route, in order of time."""
        return tuple(
            window
            for route in sorted(self._by_route)
            for window in sorted(self._by_route[route], key=lambda each: each.ends_unix_s)
        )

    def _place_of(self, window: ObservedWindow, route: LimitedRoute, known: list[LimitWindow]) -> int | None:
        """Where it is among those known, added where it is new; None where there are too many."""
        for place in reversed(range(len(known))):
            if window.is_same(known[place].ends_unix_s):
                return place
        if self._count >= _MOST:
            return None
        self._count += 1
        known.append(
            LimitWindow(
                user=route.user,
                operation=route.name,
                tier=route.tier,
                limit=route.limit,
                ends_unix_s=window.reset_unix_s,
            )
        )
        return len(known) - 1


def _added(known: LimitWindow, window: ObservedWindow) -> LimitWindow:
    return replace(
        known,
        admitted=known.admitted + window.remaining.total(),
        throttled=known.throttled + window.throttled,
        longest_wait_s=max(known.longest_wait_s, window.longest_wait_s),
        waits_kept=known.waits_kept + window.waits_kept,
        waits_broken=known.waits_broken + window.waits_broken,
    )
