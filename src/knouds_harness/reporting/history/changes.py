"""One measure over runs: a series for each kind of run, and where it changed for good."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import median
from typing import Final

from knouds_harness.reporting.history.entry import Entry, Measure, measure_of


@dataclass(frozen=True, kw_only=True)
class SeriesPoint:
    """One run, its value, and the change that begins with it, if any."""

    entry: Entry
    value: float
    change: ChangePoint | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """Comparable runs, oldest first."""

    name: str
    points: tuple[SeriesPoint, ...]


def series_of(measure: str, entries: Sequence[Entry], figures: Mapping[str, float]) -> list[Series]:
    """Return the series of a measure, the longest first."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda each: (each.started_at, each.folder)):
        if entry.folder in figures:
            groups[entry.series].append(entry)
    series = [_series(name, group, figures, measure) for name, group in groups.items()]
    return sorted(series, key=lambda each: -len(each.points))


def _series(name: str, entries: Sequence[Entry], figures: Mapping[str, float], measure: str) -> Series:
    sound = [entry.folder for entry in entries if entry.is_sound]
    values = [figures[folder] for folder in sound]
    found = change_points(values, measure_of(measure))
    changes = {sound[change.at]: change for change in found}
    return Series(
        name=name,
        points=tuple(
            SeriesPoint(entry=entry, value=figures[entry.folder], change=changes.get(entry.folder))
            for entry in entries
        ),
    )


LEAST_RUNS: Final = 3
"""The least runs on either side of a change: one or two that stand out do not make one."""
_PENALTY: Final = 6.0
"""How much a change must explain, times the logarithm of the number of runs, in units of the noise's square;
``benchmarks/change_points.py`` says how often that errs."""
_MOST_STANDING_OUT: Final = 3.0
_MAD_OF_DIFFERENCES: Final = 0.6745 * math.sqrt(2)


@dataclass(frozen=True, kw_only=True)
class ChangePoint:
    """A change: the index of the first run after it, and the median levels before and after it."""

    at: int
    before: float
    after: float


def change_points(values: Sequence[float], measure: Measure) -> list[ChangePoint]:
    """Find where the level of a measure changed, oldest first."""
    if len(values) < 2 * LEAST_RUNS:
        return []
    is_ratio = measure.is_ratio and min(values) > 0
    scaled = [math.log(each) if is_ratio else each for each in values]
    steps = [abs(later - earlier) for earlier, later in pairwise(scaled)]
    noise = max(
        median(steps) / _MAD_OF_DIFFERENCES, measure.noise if is_ratio else _least_noise(measure, values)
    )
    signal = [each / noise for each in _clipped(scaled, _MOST_STANDING_OUT * noise)]
    places = segmented(signal, penalty=_PENALTY * math.log(len(values)))
    edges = [0, *places, len(values)]
    levels = [median(values[start:end]) for start, end in pairwise(edges)]
    return [
        ChangePoint(at=at, before=before, after=after)
        for at, before, after in zip(edges[1:], levels, levels[1:], strict=False)
    ]


def segmented(signal: Sequence[float], *, penalty: float) -> list[int]:
    """Divide a signal into segments at the least cost; return where each but the first begins.

    A segment costs the squared distances of its values from their mean, and a penalty. It has at least
    ``LEAST_RUNS`` values.
    """
    sums = [0.0, *accumulate(signal)]
    squares = [0.0, *accumulate(each * each for each in signal)]

    def distance(start: int, end: int) -> float:
        return squares[end] - squares[start] - (sums[end] - sums[start]) ** 2 / (end - start)

    best = [(-penalty, 0), *((math.inf, 0) for _ in signal)]
    """For the values up to each place: the least cost, and where the last segment begins."""
    for end in range(LEAST_RUNS, len(best)):
        best[end] = min(
            (best[start][0] + distance(start, end) + penalty, start) for start in range(end - LEAST_RUNS + 1)
        )
    places = [best[-1][1]]
    while places[-1]:
        places.append(best[places[-1]][1])
    return places[-2::-1]


def _clipped(values: Sequence[float], most: float) -> list[float]:
    """Clip values to this distance from the median of the five around them: one run alone is not a level."""
    clipped = []
    for at, value in enumerate(values):
        middle = median(values[max(at - 2, 0) : at + 3])
        clipped.append(min(max(value, middle - most), middle + most))
    return clipped


def _least_noise(measure: Measure, values: Sequence[float]) -> float:
    """Return the least noise as a difference; if a zero rules out ratios, as a share of the largest value."""
    return measure.noise * (max(map(abs, values)) or 1.0) if measure.is_ratio else measure.noise
