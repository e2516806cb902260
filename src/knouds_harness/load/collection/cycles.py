"""Asynchronous runs from submit to their end: how long they take, and what polling costs."""

from collections.abc import Mapping
from typing import Final

from knouds_harness.load.collection.metrics import times
from knouds_harness.load.collection.second import SeriesKey
from knouds_harness.load.collection.seconds import SecondsRecorder
from knouds_harness.measures.histograms import Histogram, merged, middle_of
from knouds_harness.runs.load_results import Cycles
from knouds_harness.runs.operation_load import RequestStatus

CYCLE: Final = "cycle"
"""What cycles are recorded under, beside operations."""
_ACCEPT, _FINAL, _UNSEEN, _POLLS = "to accept", "to final ", "unseen", "polls"
_DELAY, _UNDELIVERED = "webhook delay", "undelivered"
_UNFINISHED: Final = "unfinished"


class CycleLog:
    """Records the cycles of one process where its requests are recorded, so that they travel with them."""

    def __init__(self, recorder: SecondsRecorder) -> None:
        self._recorder = recorder

    def accepted(self, to_accept_ms: float) -> None:
        self._record(_ACCEPT, to_accept_ms)

    def ended(self, ending: str, *, to_final_ms: float, unseen_ms: float, polls: int) -> None:
        """A poll saw the end, so long after the submit, and after the last that saw it in flight."""
        self._record(_FINAL + ending, to_final_ms)
        self._record(_UNSEEN, unseen_ms)
        self._record(_POLLS, polls)  # a number, not a time; exact to more polls than a cycle takes

    def delivered(self, ending: str, *, to_final_ms: float, delay_ms: float | None) -> None:
        """A delivery told the end, so long after the submit, and after the end that the target tells."""
        self._record(_FINAL + ending, to_final_ms)
        if delay_ms is not None:
            self._record(_DELAY, delay_ms)

    def undelivered(self) -> None:
        self._record(_UNDELIVERED, 0.0)

    def gave_up(self) -> None:
        self._record(_FINAL + _UNFINISHED, 0.0)

    def _record(self, measure: str, value: float) -> None:
        self._recorder.record(CYCLE, RequestStatus.KEPT, measure, value)


def cycles(histograms: Mapping[SeriesKey, Histogram]) -> Cycles | None:
    """The metrics of all cycles; None without any."""
    by_measure = {series.measure: each for series, each in histograms.items() if series.operation == CYCLE}
    if not by_measure:
        return None
    by_ending = {
        measure.removeprefix(_FINAL): each
        for measure, each in by_measure.items()
        if measure.startswith(_FINAL)
    }
    nothing = Histogram()
    polls = by_measure.get(_POLLS, nothing)
    return Cycles(
        submitted=len(by_measure.get(_ACCEPT, nothing)),
        endings={ending: len(each) for ending, each in sorted(by_ending.items())},
        to_accept=times(by_measure.get(_ACCEPT, nothing)),
        to_final=times(merged(each for ending, each in by_ending.items() if ending != _UNFINISHED)),
        lost_to_polling=times(by_measure.get(_UNSEEN, nothing)),
        webhook_delay=times(by_measure.get(_DELAY, nothing)),
        undelivered=len(by_measure.get(_UNDELIVERED, nothing)),
        polls={round(middle_of(bucket) / 1e6): count for bucket, count in polls.counts.items()},
    )
