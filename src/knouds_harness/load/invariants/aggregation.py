"""Judges invariants of a whole run from what all processes saw, in the local or master process."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from knouds_harness.contract.capabilities import WINDOW_S
from knouds_harness.load.invariants.invariants import (
    FRESH_ID,
    NEEDS,
    NO_FEWER,
    NO_MORE,
    ONE_DELIVERY,
    REMAINING_FALLS,
    WINDOWS_APART,
    Ended,
    LimitedRoute,
    ObservationBatch,
    ObservedRun,
    ObservedWindow,
    Tallies,
)
from knouds_harness.load.invariants.observations import merge_windows
from knouds_harness.runs.load_results import Invariant, LimitWindow

_MOST_HASHES: Final = 200_000
_MOST_ENDED: Final = 100
_WINDOWS_KEPT: Final = 3
_WINDOWS_APART_S: Final = WINDOW_S - 2
_MOST_WINDOWS: Final = 2_000
"""A window takes a few hundred bytes of a file that is rewritten every five seconds."""


class SeenHashes:
    """Finds repeated hashes of eight bytes: among all or, to bound memory, in a sample.

    The value of a hash decides whether it is in the sample, so its repetitions are in it too.
    """

    def __init__(self, *, most: int = _MOST_HASHES) -> None:
        self.seen = self.again = 0
        self._most = most
        self._mask = 0
        self._known: set[int] = set()

    def add(self, hashes: bytes) -> None:
        for number in array("Q", hashes):
            if number & self._mask:
                continue
            self.seen += 1
            if number in self._known:
                self.again += 1
            self._known.add(number)
        while len(self._known) > self._most:
            self._mask = self._mask * 2 + 1
            self._known = {number for number in self._known if not number & self._mask}

    def __len__(self) -> int:
        return len(self._known)


class Aggregation:
    """What the responses to all processes show together.

    Args:
        chance: Chooses the ended executions to keep.
        most_in_flight: How many requests may have been cut off at the end, without a response.
        is_alone: No other client uses the accounts; otherwise it is unknown who filled a window.

    Attributes:
        ended: A random sample of the executions whose end was seen.
    """

    def __init__(self, *, chance: random.Random, most_in_flight: int, is_alone: bool) -> None:
        self.tallies = Tallies()
        self.runs: Counter[ObservedRun] = Counter()
        self.ended: list[Ended] = []
        self.deliveries = DeliveryMatch()
        self.undecided = 0
        self._chance = chance
        self._most_in_flight = most_in_flight
        self._is_alone = is_alone
        self._ended = 0
        self._execution_ids = SeenHashes()
        self._windows: dict[LimitedRoute, list[ObservedWindow]] = {}
        self._room_left = _MOST_WINDOWS
        self._unknown: Counter[LimitedRoute] = Counter()

    def add(self, batch: ObservationBatch) -> None:
        self.tallies.add(batch.tallies)
        self.runs.update(batch.runs)
        self.undecided += batch.undecided
        self._execution_ids.add(bytes(batch.execution_ids))
        self.deliveries.expect(bytes(batch.awaited))
        for each in batch.ended:
            self._ended += 1
            if len(self.ended) < _MOST_ENDED:
                self.ended.append(each)
            elif (place := self._chance.randrange(self._ended)) < _MOST_ENDED:
                self.ended[place] = each
        self._unknown.update(batch.unknown)
        merge_windows(self._windows, batch.windows.items())
        for route, windows in self._windows.items():
            windows.sort(key=lambda window: window.reset_unix_s)
            for window, later in pairwise(_to_judge(windows)[: 1 - _WINDOWS_KEPT]):
                self._judge_window(self.tallies, route, window, later=later)
                if not window.is_judged:
                    self._room_left -= 1
                    if self._room_left < 0:
                        windows.remove(window)
                window.close()

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

    def invariants(self) -> tuple[Invariant, ...]:
        tallies = Tallies()
        tallies.add(self.tallies)
        if self._execution_ids.seen:
            tallies.see(*FRESH_ID, self._execution_ids.seen)
        if self._execution_ids.again:
            tallies.break_(
                *FRESH_ID, example="an executionId that was given before", count=self._execution_ids.again
            )
        for route, windows in self._windows.items():
            open_ones = _to_judge(windows)
            for window, later in zip(open_ones, [*open_ones[1:], None], strict=True):
                self._judge_window(tallies, route, window, later=later)
        return tallies.invariants(needs=NEEDS)

    def _judge_window(
        self, tallies: Tallies, route: LimitedRoute, window: ObservedWindow, *, later: ObservedWindow | None
    ) -> None:
        judge_window(tallies, route, window, later=later)
        if self._is_alone:
            missing = self._unknown[route] + (0 if later else self._most_in_flight)
            judge_fullness(tallies, route, window, missing=missing)


def _to_judge(windows: Iterable[ObservedWindow]) -> list[ObservedWindow]:
    """Return the windows with counts that were not judged yet, including late ones."""
    return [window for window in windows if not window.is_judged or window.remaining]


def judge_window(
    tallies: Tallies, route: LimitedRoute, window: ObservedWindow, *, later: ObservedWindow | None
) -> None:
    """Judge what must hold for any window."""
    admitted = window.remaining.total()
    name = f"{route.name} of {route.user}"
    tallies.judge(
        *NO_MORE,
        holds=admitted <= route.limit,
        example=f"{name}: {admitted} of {route.limit} admitted in the window until {window.reset_unix_s}",
    )
    repeated = [value for value, count in window.remaining.items() if value > 0 and count > 1]
    tallies.see(*REMAINING_FALLS, admitted)
    if repeated:
        tallies.break_(
            *REMAINING_FALLS,
            count=sum(window.remaining[value] - 1 for value in repeated),
            example=f"{name}: {window.remaining[repeated[0]]} times {repeated[0]} in one window",
        )
    if later is not None:
        apart_s = later.reset_unix_s - window.reset_unix_s
        tallies.judge(
            *WINDOWS_APART,
            holds=apart_s >= _WINDOWS_APART_S,
            example=f"{name}: X-RateLimit-Reset is {later.reset_unix_s}, {apart_s} s after the one before",
        )


def judge_fullness(tallies: Tallies, route: LimitedRoute, window: ObservedWindow, *, missing: int) -> None:
    """Judge whether a window admitted its whole limit before it refused; only this run uses its account."""
    admitted = window.remaining.total()
    if window.throttled and _is_ours_alone(window, route.limit):
        tallies.judge(
            *NO_FEWER[route.tier],
            holds=route.limit - admitted <= missing,
            example=f"{route.name} of {route.user}: refused after {admitted} in the window until "
            f"{window.reset_unix_s}",
        )


def _is_ours_alone(window: ObservedWindow, limit: int) -> bool:
    """Whether all its requests were ours: the values of Remaining fall from the limit without a gap."""
    return len(window.remaining) > 0 and set(window.remaining) == set(range(min(window.remaining), limit))


class DeliveryMatch:
    """Which executions must be delivered, and how often each was: of all or, to bound memory, of a sample.

    The hash of an execution decides whether it is in the sample, so all deliveries of a sampled one count.
    """

    def __init__(self, *, most: int = _MOST_HASHES) -> None:
        self.is_reached = False
        """Whether any delivery came at all."""
        self._most = most
        self._mask = 0
        self._expected: set[int] = set()
        self._came: Counter[int] = Counter()

    def expect(self, hashes: bytes) -> None:
        """Expect deliveries of executions that have ended: a hash of eight bytes for each."""
        self._expected.update(number for number in array("Q", hashes) if not number & self._mask)
        self._bound()

    def take(self, hashed: bytes) -> None:
        self.is_reached = True
        (number,) = array("Q", hashed)
        if not number & self._mask:
            self._came[number] += 1
            self._bound()

    @property
    def are_all_here(self) -> bool:
        """Whether each expected execution was delivered."""
        return self._expected <= self._came.keys()

    def judge(self, tallies: Tallies) -> None:
        numbers = [self._came[each] for each in self._expected]
        tallies.see(*ONE_DELIVERY, len(numbers))
        for broken, words in (
            (sum(each == 0 for each in numbers), "was not delivered"),
            (sum(each > 1 for each in numbers), "was delivered more than once"),
        ):
            if broken:
                tallies.break_(*ONE_DELIVERY, count=broken, example=f"an execution {words}")

    def _bound(self) -> None:
        while max(len(self._expected), len(self._came)) > self._most:
            self._mask = self._mask * 2 + 1
            self._expected = {each for each in self._expected if not each & self._mask}
            self._came = Counter({each: n for each, n in self._came.items() if not each & self._mask})
