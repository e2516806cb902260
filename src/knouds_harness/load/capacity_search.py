"""Searches for the highest rate that a target carries: doubles the rate, then bisects.

A point is a short load run at one rate. One point that keeps the objectives is enough to try a higher rate; a
rate fails with two points that miss them, so that one bad moment decides nothing. From the first rate on,
rates double while they are kept, and halve while they fail. The interval between the highest kept and the
lowest failed rate is bisected (geometrically) until the two are within ``PRECISION``. At last the highest
rate is measured until it was kept ``repeats`` times; if it fails, the search goes on below it.

A point whose generator was the limit says nothing of the target. Two of them fail a rate all the same, and
the result says that the limit is the generator's.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from knouds_harness.runs.load_results import Capacity, CapacityPoint

PRECISION: Final = 0.1
LEAST_RATE: Final = 1.0
CONFIDENCE: Final = 0.95
_MISSES_TO_FAIL: Final = 2
_MOST_INVALID_RATES: Final = 3
"""If the generator failed at this many rates, and no rate was kept, lower rates would be no better."""
_DIGITS: Final = 3


class SearchEnded(Exception):
    """Raised by a measurement if no further point can follow; says why."""


_Tally = Counter[bool | None]
"""How many points at a rate were kept (True), missed (False), or said nothing of the target (None)."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search from the rate ``first`` to ``most``; the rate that it finds keeps ``repeats`` points."""

    first: float
    most: float = math.inf
    repeats: int = 3

    def run(
        self,
        measure: Callable[[float], CapacityPoint],
        *,
        on_point: Callable[[Capacity], object] = lambda _: None,
    ) -> Capacity:
        points: list[CapacityPoint] = []
        limit = ""
        try:
            while (rate := self.next_rate(points)) is not None:
                points.append(measure(rate))
                on_point(self.known(points))
        except SearchEnded as ended:
            limit = str(ended)
        except KeyboardInterrupt:
            limit = "interrupted"
        return self.known(points, limit=limit)

    def next_rate(self, points: Iterable[CapacityPoint]) -> float | None:
        """Return the rate to measure next; None once the search is finished."""
        tallies = _tallies(points)
        highest, lowest = self._bounds(tallies)
        undecided = [rate for rate, tally in tallies.items() if rate < lowest and not tally[True]]
        if undecided:
            return min(undecided)
        if math.isinf(lowest):
            if highest < self.most:
                return min(highest * 2 or self.first, self.most)
        elif not highest:
            is_hopeless = sum(tally[None] > 0 for tally in tallies.values()) >= _MOST_INVALID_RATES
            is_lowest = lowest <= LEAST_RATE
            return None if is_lowest or is_hopeless else max(LEAST_RATE, _rounded(lowest / 2))
        elif lowest / highest > 1 + PRECISION:
            middle = _rounded(math.sqrt(highest * lowest))
            if highest < middle < lowest:
                return middle
        return highest if tallies[highest][True] < self.repeats else None

    def known(self, points: Sequence[CapacityPoint], *, limit: str = "") -> Capacity:
        tallies = _tallies(points)
        highest, lowest = self._bounds(tallies)
        tally = tallies[highest] if highest else _Tally()
        if not limit and highest >= self.most:
            limit = f"no rate above {self.most:g}/s was to be tried"
        tried = tally[True] + tally[False]
        return Capacity(
            highest_per_s=highest or None,
            kept_points=tally[True],
            tried_points=tried,
            kept_share_at_least=least_share(tally[True], tried),
            lowest_failing_per_s=None if math.isinf(lowest) else lowest,
            is_generator_limit=tallies[lowest][None] >= _MISSES_TO_FAIL if lowest in tallies else False,
            knee_per_s=knee(points),
            points=tuple(points),
            limit=limit,
        )

    def _bounds(self, tallies: Mapping[float, _Tally]) -> tuple[float, float]:
        """Return the highest rate that was kept (0 if none) and the lowest that failed (infinite if none)."""
        against = min(_MISSES_TO_FAIL, self.repeats)
        failed = (
            rate
            for rate, tally in tallies.items()
            if tally[False] >= against or tally[None] >= _MISSES_TO_FAIL
        )
        lowest = min(failed, default=math.inf)
        kept = (rate for rate, tally in tallies.items() if tally[True] and rate < lowest)
        return max(kept, default=0.0), lowest


def knee(points: Iterable[CapacityPoint]) -> float | None:
    """Return the rate from which response times rise faster than throughput; None below three rates.

    It is the rate with the highest throughput divided by mean response time, Kleinrock's *power*: a queue
    with one server and random arrivals has it at half of its capacity. None too if it is the highest rate.
    """
    by_rate: dict[float, list[CapacityPoint]] = defaultdict(list)
    for point in points:
        if point.mean_ms and not point.is_generator_limit:
            by_rate[point.asked_per_s].append(point)
    if len(by_rate) < 3:
        return None
    power = {
        rate: fmean(each.achieved_per_s for each in measured) / fmean(each.mean_ms for each in measured)
        for rate, measured in by_rate.items()
    }
    best = max(power, key=power.__getitem__)
    return None if best == max(power) else best


def least_share(kept: int, tried: int) -> float:
    """Return a lower bound of the share of points that keep the objectives, with 95 % confidence.

    Clopper and Pearson's exact bound: at this share, so many or more points would be kept one time in twenty.
    """
    low, high = 0.0, 1.0
    if not kept:
        return 0.0
    for _ in range(40):
        share = (low + high) / 2
        chance = sum(
            math.comb(tried, number) * share**number * (1 - share) ** (tried - number)
            for number in range(kept, tried + 1)
        )
        low, high = (share, high) if chance < 1 - CONFIDENCE else (low, share)
    return low


def _tallies(points: Iterable[CapacityPoint]) -> dict[float, _Tally]:
    tallies: dict[float, _Tally] = defaultdict(Counter)
    for point in points:
        tallies[point.asked_per_s][None if point.is_generator_limit else point.is_kept] += 1
    return tallies


def _rounded(rate: float) -> float:
    return float(f"{rate:.{_DIGITS}g}")
