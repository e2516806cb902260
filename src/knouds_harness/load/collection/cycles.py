"""Cycles of asynchronous runs, from submit to end: what is noted of them, and summarized."""

from collections.abc import Mapping
from typing import Final

from knouds_harness.load.collection.metrics import times
from knouds_harness.load.collection.seconds import SeriesKey
from knouds_harness.measures.histograms import Histogram, merged, middle_of
from knouds_harness.runs.load_results import Cycles

CYCLE: Final = "cycle"
"""The name under which cycles (asynchronous runs from submit to end) are recorded, like an operation."""
ACCEPT: Final = "to accept"
FINAL: Final = "to final "
"""Before the final status, or ``UNFINISHED`` where none was seen."""
UNFINISHED: Final = "unfinished"
UNSEEN: Final = "unseen"
"""From the last poll that saw a run in flight to the one that saw its end."""
POLLS: Final = "polls"
"""A number, not a time; exact up to more polls than a cycle takes."""


def cycles(histograms: Mapping[SeriesKey, Histogram]) -> Cycles | None:
    """Return the metrics of all cycles; None without any."""
    by_measure = {series.measure: each for series, each in histograms.items() if series.operation == CYCLE}
    if not by_measure:
        return None
    by_ending = {
        measure.removeprefix(FINAL): each for measure, each in by_measure.items() if measure.startswith(FINAL)
    }
    nothing = Histogram()
    polls = by_measure.get(POLLS, nothing)
    return Cycles(
        submitted=len(by_measure.get(ACCEPT, nothing)),
        endings={ending: len(each) for ending, each in sorted(by_ending.items())},
        to_accept=times(by_measure.get(ACCEPT, nothing)),
        to_final=times(merged(each for ending, each in by_ending.items() if ending != UNFINISHED)),
        lost_to_polling=times(by_measure.get(UNSEEN, nothing)),
        polls={round(middle_of(bucket) / 1e6): count for bucket, count in polls.counts.items()},
    )
