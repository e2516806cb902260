"""How far the generator's own delay may have moved the figures that it measured.

A response is read late if the event loop of the generator stands still. Heartbeats sample how late: what
they show of any instant of the run holds for a response that came then. Measured times are true times plus a
delay of that distribution, so for any delay d that a share s of the heartbeats exceeded,

    p-th percentile of the true times >= (p - s)-th percentile of the measured ones - d

whatever delay fell on which response. The best of these bounds is given; with s = 0, d is the longest delay,
so no figure is said to be moved by more than anything was late (docs/decisions/validity-is-relative.md).
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from typing import Final

from knouds_harness.measures.histograms import Histogram, middle_of
from knouds_harness.runs.load_results import DelayedFigure, Validity
from knouds_harness.runs.operation_load import TIME_MEASURES, percent_of

EARLY_S: Final = 2.0
"""A stall before this time is one of the start, when code runs for the first time."""
BEAT_S: Final = 0.005
"""Time between two heartbeats."""
LEAST_MS: Final = 0.5
"""A figure counts as moved only by more than this: it is about what the client itself needs for a request."""
_LEAST_CAUSE: Final = 0.05
_BUSY_SHARE: Final = 0.25
"""A process that uses less of its core is late now and then, and two of them would be as often."""
_OTHER_WORK: Final = "other work of this machine, such as a target that runs on it"
_LAG_PERCENTS: Final = (*range(0, 90, 5), *range(90, 100), 99.5, 99.8, 99.9, 99.95, 99.98, 99.99, 100.0)


@dataclass(frozen=True, kw_only=True)
class OkTimes:
    """Times of requests that are ok: in ``response`` from when they were due, in ``service`` from sending."""

    operation: str
    response: Histogram
    service: Histogram


class Delay:
    """How late responses were read, from the lags of heartbeats."""

    def __init__(self, lags: Histogram) -> None:
        self._mean_ms = lags.mean_s * 1e3
        total, buckets = len(lags), sorted(lags.counts)
        within = list(accumulate(lags.counts[bucket] for bucket in buckets))
        places = {bisect_left(within, total * percent / 100 - 1e-9) for percent in _LAG_PERCENTS}
        points = [(1 - within[at] / total, middle_of(buckets[at]) / 1e6) for at in sorted(places) if total]
        self._points: Sequence[tuple[float, float]] = points or [(0.0, 0.0)]

    def least_ms(self, measured: Histogram, *measures: str) -> list[float]:
        """Return for each measure how low the figure may be without the delay."""
        if not measured.counts:
            return [0.0 for _ in measures]
        buckets = sorted(measured.counts)
        within = list(accumulate(measured.counts[bucket] for bucket in buckets))
        total = within[-1]
        found = []
        for measure in measures:
            if measure == "mean_ms":
                least_ms = measured.mean_s * 1e3 - self._mean_ms
            else:
                share = 1.0 if measure == "max_ms" else float(percent_of(measure)) / 100
                rank = max(ceil(total * share - 1e-9), 1)
                bounded = [
                    (rank - ceil(total * late - 1e-9), longest_ms) for late, longest_ms in self._points
                ]
                least_ms = max(
                    middle_of(buckets[bisect_left(within, earlier)]) / 1e6 - longest_ms
                    for earlier, longest_ms in bounded
                    if earlier > 0
                )
            found.append(max(least_ms, 0.0))
        return found

    def doubts_ms(self, times: OkTimes) -> dict[str, float]:
        """Return for each measure by how much the generator's own delay may have raised it."""
        measured_ms = _figures_ms(times.response)
        least_ms = self.least_ms(times.service, *TIME_MEASURES)
        found = zip(TIME_MEASURES, measured_ms, least_ms, strict=True)
        return {measure: max(0.0, figure_ms - bound_ms) for measure, figure_ms, bound_ms in found}

    def figures_moved(self, times: OkTimes, *, accuracy: float) -> list[DelayedFigure]:
        """Return the figures of an operation that the delay may have moved by more than this share."""
        if not times.response.counts:
            return []
        figures = zip(_figures_ms(times.response), self.doubts_ms(times).items(), strict=True)
        return [
            DelayedFigure(
                operation=times.operation,
                measure=measure,
                measured_ms=measured_ms,
                undelayed_ms=measured_ms - doubt_ms,
            )
            for measured_ms, (measure, doubt_ms) in figures
            if doubt_ms > max(LEAST_MS, accuracy * measured_ms)
        ]


def causes(seen: Validity) -> list[tuple[float, str, str]]:
    """Return what kept the generator's event loops: the share of each cause, its name and what helps, if any.

    The largest comes first; what is under 5 % is left out.
    """
    if not seen.stalled_s:
        return []
    rest_s = max(0.0, seen.stalled_s - seen.own_s - seen.queued_s)
    of_own = "use more processes" if seen.cpu_share >= _BUSY_SHARE else ""
    if seen.early_s > seen.stalled_s / 2:
        of_own = f"--warm-up {EARLY_S:g} leaves most of it out"
    found = [
        (seen.own_s, "its own work", of_own),
        (seen.queued_s, _OTHER_WORK, "use a quieter machine"),
        (rest_s, "the host of this virtual machine, or its disk", "use a machine of its own"),
    ]
    parts = [(part_s / seen.stalled_s, cause, helps) for part_s, cause, helps in sorted(found, reverse=True)]
    return [each for each in parts if each[0] >= _LEAST_CAUSE]


def remedy(seen: Validity) -> str:
    """Return what helps against the largest cause of a generator's delay; empty if nothing does."""
    return next((helps for _, _, helps in causes(seen)), "use more processes, or a quieter machine")


def _figures_ms(histogram: Histogram) -> list[float]:
    percents = [100.0 if each == "max_ms" else float(percent_of(each)) for each in TIME_MEASURES[1:]]
    return [histogram.mean_s * 1e3, *(each_s * 1e3 for each_s in histogram.percentiles_s(*percents))]
