"""Estimates how far the generator's own delay has moved the figures that it measured.

A response is read late if the event loop of the generator stands still. Heartbeats sample how late. Measured
times are true times plus a delay of known distribution, so the true ones can be estimated, by the first three
terms of the inverse of a convolution (docs/decisions/validity-is-relative.md).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import ceil
from typing import Final

from knouds_harness.measures.histograms import Histogram, bucket_of, merged, middle_of
from knouds_harness.runs.load_results import DelayedFigure
from knouds_harness.runs.operation_load import TIME_MEASURES, percent_of

BEAT_S: Final = 0.005
"""Time between two heartbeats."""
LEAST_MS: Final = 0.5
"""A figure counts as moved only by more than this: it is about what the client itself needs for a request."""
_COARSER: Final = 7
"""Bits of a bucket that are dropped: delays are then exact to one part in eight, and few are to be summed."""
_MOST_LATE_SHARE: Final = 0.15
"""The error of three terms is the cube of the share that is late: above this share, it is too large."""
_LAG_PERCENTS: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)
_POINTS: Final = 200
"""Number of points at which a distribution is estimated."""


@dataclass(frozen=True, kw_only=True)
class KeptTimes:
    """The times of the kept requests of an operation.

    Attributes:
        response: From when a request was due, so including how late the generator sent it.
        service: From sending.
    """

    operation: str
    response: Histogram
    service: Histogram


def lag_class(missed: int) -> int:
    """Return the class of a heartbeat, by how many before it were missed since the loop stood still."""
    return missed.bit_length()


@dataclass(frozen=True, kw_only=True)
class DelayCorrection:
    """What takes the delay out of the times of some responses.

    Attributes:
        inverse: Delays in ns, and the weight with which measured times count when shortened by the delay.
        beyond: Delays in ns, and the share that is longer; only if so many responses were read late that the
            inverse is not exact.
    """

    inverse: Sequence[tuple[int, float]]
    lags: Histogram
    beyond: Sequence[tuple[int, float]]


class Delay:
    """How late responses are read, from the lags of heartbeats by ``lag_class``."""

    def __init__(self, lags: Mapping[int, Histogram]) -> None:
        self._lags = lags
        self._known: dict[int, DelayCorrection] = {}

    def undoing(self, took_ms: float) -> DelayCorrection:
        """Return what takes the delay out of responses that take so long.

        No request is sent while the loop stands still. So the response to one that took 20 ms comes at most
        20 ms after the loop stopped, and heartbeats that were due later say nothing of it.
        """
        last = lag_class(int(took_ms / 1e3 / BEAT_S))
        if last not in self._known:
            lags = merged(each for missed, each in self._lags.items() if missed <= last)
            total = len(lags)
            once = _grouped((middle_of(bucket), count / total) for bucket, count in lags.counts.items())
            twice = _grouped((a + b, p * q) for a, p in once for b, q in once)
            late = sum(share for ns, share in once if ns > LEAST_MS * 1e6)
            self._known[last] = DelayCorrection(
                inverse=[(0, 3.0), *((ns, -3 * p) for ns, p in once), *twice] if once else [(0, 1.0)],
                lags=lags,
                beyond=[
                    (int(at_s * 1e9), 1 - percent / 100)
                    for at_s, percent in zip(lags.percentiles_s(*_LAG_PERCENTS), _LAG_PERCENTS, strict=True)
                    if late > _MOST_LATE_SHARE
                ],
            )
        return self._known[last]

    def figures_moved(self, times: KeptTimes, *, accuracy: float) -> list[DelayedFigure]:
        """Return the figures of an operation that the delay moved by more than this share of them."""
        if not times.response.counts:
            return []
        undelayed = CorrectedTimes(times.service, self)
        at = times.response.percentiles_s(*(_percent_of(measure) or 0.0 for measure in TIME_MEASURES))
        moved = []
        for measure, at_s in zip(TIME_MEASURES, at, strict=True):
            measured_ms = 1e3 * (times.response.mean_s if measure == "mean_ms" else at_s)
            bound_ms = measured_ms - max(LEAST_MS, accuracy * measured_ms)
            if bound_ms > 0 and undelayed.may_be_under(measure, bound_ms):
                about_ms = undelayed.figure_ms(measure)
                moved.append(
                    DelayedFigure(
                        operation=times.operation,
                        measure=measure,
                        measured_ms=measured_ms,
                        undelayed_ms=None if about_ms is None else min(about_ms, measured_ms),
                    )
                )
        return moved


class CorrectedTimes:
    """Estimates of times as they would be without the delay.

    No estimate is below the shortest measured time, and no percentile is below a lower one.
    """

    def __init__(self, measured: Histogram, delay: Delay) -> None:
        self._measured = measured
        self._delay = delay
        self._buckets = sorted(measured.counts)
        self._within = [0, *accumulate(measured.counts[bucket] for bucket in self._buckets)]
        self._total = self._within[-1]
        self._least_ms = measured.min_s * 1e3

    def may_be_under(self, measure: str, bound_ms: float) -> bool:
        """Whether the mean or a percentile may be at most this without the delay."""
        percent = _percent_of(measure)
        if bound_ms < self._least_ms:
            return False
        if percent is not None:
            return self._within_ms(bound_ms) > self._rank(percent) - 0.5
        mean_ms = self._measured.mean_s * 1e3
        least_ms = mean_ms - self._delay.undoing(mean_ms).lags.mean_s * 1e3
        return least_ms <= bound_ms and self._mean_ms <= bound_ms

    def figure_ms(self, measure: str) -> float | None:
        """Estimate the mean or a percentile; None if a single request decides it, such as the longest."""
        percent = _percent_of(measure)
        if percent is None:
            return self._mean_ms
        rank = self._rank(percent)
        if rank == self._total:
            return None
        points_ms, within = self._curve
        return points_ms[bisect_right(within, rank - 0.5)]

    @cached_property
    def _curve(self) -> tuple[Sequence[float], Sequence[float]]:
        """Times, and how many requests would be within each."""
        points = [*self._buckets[:: ceil(len(self._buckets) / _POINTS)], self._buckets[-1]]
        points_ms = [middle_of(bucket) / 1e6 for bucket in points]
        return points_ms, [*accumulate(map(self._within_ms, points_ms[:-1]), max), float(self._total)]

    @cached_property
    def _mean_ms(self) -> float:
        """Take from each time the mean of the delays that fit between it and the shortest time."""
        mean_ms = self._measured.mean_s * 1e3
        lags = self._delay.undoing(mean_ms).lags.counts
        late_ns = sorted(lags)
        number = [0, *accumulate(lags[bucket] for bucket in late_ns)]
        sum_ns = [0, *accumulate(lags[bucket] * middle_of(bucket) for bucket in late_ns)]
        undone_ns = 0.0
        for bucket, count in self._measured.counts.items():
            room = bisect_right(late_ns, bucket_of(middle_of(bucket) - middle_of(self._buckets[0])))
            undone_ns += count * sum_ns[room] / (number[room] or 1)
        return max(self._least_ms, mean_ms - undone_ns / self._total / 1e6)

    def _rank(self, percent: float) -> int:
        return max(ceil(self._total * percent / 100 - 1e-9), 1)  # as Histogram counts

    def _within_ms(self, bound_ms: float) -> float:
        """Estimate how many requests would take at most this long without the delay."""
        undoing, bound_ns = self._delay.undoing(bound_ms), int(bound_ms * 1e6)
        count = sum(share * self._count(bound_ns - ns) for ns, share in undoing.inverse if ns <= bound_ns)
        if undoing.beyond:  # an upper bound: the delay is taken to have done all that it can
            most = min(self._count(bound_ns + ns) + share * self._total for ns, share in undoing.beyond)
            count = max(count, most)
        return max(count, self._count(bound_ns))

    def _count(self, bound_ns: int) -> int:
        return self._within[bisect_right(self._buckets, bucket_of(bound_ns))]


def _percent_of(measure: str) -> float | None:
    """Return the percent of a measure; None for the mean."""
    if measure == "mean_ms":
        return None
    return 100.0 if measure == "max_ms" else float(percent_of(measure))


def _grouped(delays: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """Merge delays of nearly the same length into their mean, and add up their shares."""
    sums: dict[int, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for ns, share in delays:
        group = bucket_of(ns) >> _COARSER
        weighted, shares = sums[group]
        sums[group] = weighted + ns * share, shares + share
    return [(int(weighted / shares), shares) for weighted, shares in sums.values()]
