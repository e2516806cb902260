"""The percentiles that load is told in: one list, from which every other is made."""

from typing import Final

from knouds_harness.runs.load_results import Times

PERCENTS: Final = ("50", "75", "90", "95", "99", "99.9")
"""Shown in reports, compared between runs and followed over them."""
RECORDED_PERCENTS: Final = (*PERCENTS, "99.99", "99.999")
"""Kept in ``load.json`` and in files for programs; the last two need more requests than most runs have."""


def percentile_measure(percent: str) -> str:
    """The name of a percentile as a measure: ``p95_ms`` for ``95``."""
    return f"p{percent}_ms"


def percent_of(measure: str) -> str:
    return measure.removeprefix("p").removesuffix("_ms")


PERCENTILES: Final = tuple(map(percentile_measure, PERCENTS))
TIME_MEASURES: Final = ("mean_ms", *PERCENTILES, "max_ms")
"""All that reports say of a distribution of times, in the order of their columns."""


def time_ms(times: Times, measure: str) -> float | None:
    """One metric of a distribution.

    Returns:
        None where nothing was measured, and where an older record does not say it.
    """
    if not times.count:
        return None
    match measure:
        case "mean_ms":
            return times.mean_ms
        case "max_ms":
            return times.max_ms
    return times.percentiles.get(percent_of(measure))
