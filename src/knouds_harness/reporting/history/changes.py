"""Where a measure changed for good, over runs of one thing."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from knouds_harness.reporting.history.measures import Measure

LEAST_RUNS: Final = 3
"""On either side of a change: a run or two that stand out are none."""
_PENALTY: Final = 6.0
"""How much a change must explain, times the logarithm of the number of runs, in units of the noise's square;
``benchmarks/change_points.py`` says how often that errs."""
_MOST_STANDING_OUT: Final = 3.0
_MAD_OF_DIFFERENCES: Final = 0.6745 * math.sqrt(2)


@dataclass(frozen=True, kw_only=True)
class ChangePoint:
    """A change, and the level before and after it.

    Attributes:
        at: The first run after it, by its place.
        before: Median from the change before this one on.
        after: Median up to the next change.
    """

    at: int
    before: float
    after: float


def can_find_changes() -> bool:
    """Whether the library that finds them is installed (the extra ``history``)."""
    return importlib.util.find_spec("ruptures") is not None


def change_points(values: Sequence[float], measure: Measure) -> list[ChangePoint]:
    """Find where the level of a measure changed.

    Args:
        values: In the order of the runs, sound ones only.
        measure: Says how much noise there is at least, and whether changes are ratios.

    Returns:
        The changes, oldest first.
    """
    if len(values) < 2 * LEAST_RUNS:
        return []
    import numpy as np  # noqa: PLC0415 - both belong to the extra, and take a second to import
    import ruptures  # noqa: PLC0415

    is_ratio = measure.is_ratio and min(values) > 0
    scaled = [math.log(each) if is_ratio else each for each in values]
    steps = [abs(later - earlier) for earlier, later in pairwise(scaled)]
    noise = max(
        median(steps) / _MAD_OF_DIFFERENCES, measure.noise if is_ratio else _least_noise(measure, values)
    )
    signal = np.array(_clipped(scaled, _MOST_STANDING_OUT * noise)).reshape(-1, 1) / noise
    found = ruptures.KernelCPD(kernel="linear", min_size=LEAST_RUNS).fit(signal)
    *places, _ = found.predict(pen=_PENALTY * math.log(len(values)))
    edges = [0, *map(int, places), len(values)]
    levels = [median(values[start:end]) for start, end in pairwise(edges)]
    return [
        ChangePoint(at=at, before=before, after=after)
        for at, before, after in zip(edges[1:], levels, levels[1:], strict=False)
    ]


def _clipped(values: Sequence[float], most: float) -> list[float]:
    """Values no farther than this from the median of five around them: one run alone is no level."""
    clipped = []
    for at, value in enumerate(values):
        middle = median(values[max(at - 2, 0) : at + 3])
        clipped.append(min(max(value, middle - most), middle + most))
    return clipped


def _least_noise(measure: Measure, values: Sequence[float]) -> float:
    """Of a difference; a ratio of values among which there is a zero is taken of the largest."""
    return measure.noise * (max(map(abs, values)) or 1.0) if measure.is_ratio else measure.noise
