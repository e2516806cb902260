"""Since when a level load was steady, and in which seconds it stalled (docs/decisions/steady-state.md)."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import groupby
from statistics import median
from typing import Final

from knouds_harness.measures.histograms import Histogram

LEAST_SECONDS: Final = 20
"""With fewer seconds the method says too little."""
MOST_LEFT_OUT: Final = 0.4
SLOW: Final = 5
_LEAST_IN_A_SECOND: Final = 5


class Steadiness:
    """Adds up how many requests of each operation were ok in each second, and how long they took."""

    def __init__(self) -> None:
        self._ok: dict[int, Counter[str]] = defaultdict(Counter)
        self._took_s: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))

    def add(self, at_s: int, operation: str, ok: Histogram) -> None:
        self._ok[at_s][operation] += len(ok)
        self._took_s[at_s][operation] += ok.mean_s * len(ok)

    def from_s(self) -> tuple[bool | None, float | None]:
        """Whether throughput and mean response time became steady, and when; None if the run is too short."""
        totals = self._totals()
        if len(totals) < LEAST_SECONDS:
            return None, None
        rate_from = steady_from([float(count) for count, _ in totals])
        times_from = steady_from([took_s / count if count else math.inf for count, took_s in totals])
        if rate_from is None or times_from is None:
            return False, None
        return True, float(max(rate_from, times_from))

    def slow_seconds(self) -> tuple[int, ...]:
        """Return the seconds in which requests took ``SLOW`` times as long as usual, or none was ok.

        What is usual is the median over seconds of each operation's mean. With few requests in a second, one
        long answer would tell nothing: then none is returned.
        """
        totals = self._totals()
        if len(totals) < LEAST_SECONDS or median(count for count, _ in totals) < _LEAST_IN_A_SECOND:
            return ()
        means_s: dict[str, list[float]] = defaultdict(list)
        for at_s, ok in self._ok.items():
            for name, count in ok.items():
                means_s[name].append(self._took_s[at_s][name] / count)
        usual_s = {name: median(each) for name, each in means_s.items()}
        return tuple(
            at_s
            for at_s, (count, took_s) in enumerate(totals)
            if not count or took_s > SLOW * sum(usual_s[name] * sent for name, sent in self._ok[at_s].items())
        )

    def _totals(self) -> list[tuple[int, float]]:
        """Return count and sum of times of each whole second: the last one usually is none."""
        last = max(self._ok, default=0)
        return [(self._ok[at_s].total(), sum(self._took_s[at_s].values())) for at_s in range(last)]


def steady_from(values: Sequence[float]) -> int | None:
    """Return the index from which a series is steady; None if it never is.

    MSER (White 1997; by ranks, so that a stall now and then does not count as a beginning): of all beginnings
    up to half of the run, leave out the one after which the mean of the rest has the smallest standard error.
    If that is more than ``MOST_LEFT_OUT`` of the run, the run did not reach a steady state.
    """
    ranks = _ranks(values)
    total = len(ranks)
    best, left_out = float("inf"), 0
    sum_, squares = sum(ranks), sum(rank * rank for rank in ranks)
    for first in range(total // 2 + 1):
        rest = total - first
        error = max(0.0, squares - sum_ * sum_ / rest) / rest**2
        if error < best:
            best, left_out = error, first
        sum_ -= ranks[first]
        squares -= ranks[first] ** 2
    return None if left_out > MOST_LEFT_OUT * total else left_out


def _ranks(values: Sequence[float]) -> list[float]:
    """Rank values from 0; equal values share their mean rank, or a constant series would seem to rise."""
    ranks = [0.0] * len(values)
    begin = 0
    for _, equal in groupby(sorted(range(len(values)), key=values.__getitem__), key=values.__getitem__):
        places = list(equal)
        for place in places:
            ranks[place] = begin + (len(places) - 1) / 2
        begin += len(places)
    return ranks
