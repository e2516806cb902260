"""Cycles of asynchronous runs, from submit to end: noted like requests, and summarized."""

from collections.abc import Mapping
from typing import Final

from knouds_harness.load.collection.metrics import times
from knouds_harness.load.collection.rows import RequestRecorder
from knouds_harness.load.collection.seconds import SeriesKey
from knouds_harness.measures.histograms import Histogram, merged, middle_of
from knouds_harness.runs.load_results import Cycles
from knouds_harness.runs.operation_load import RequestStatus

CYCLE: Final = "cycle"
"""The name under which cycles (asynchronous runs from submit to end) are recorded, like an operation."""
_ACCEPT, _FINAL, _UNSEEN, _POLLS = "to accept", "to final ", "unseen", "polls"
_DELAY, _UNDELIVERED = "webhook delay", "undelivered"
_UNFINISHED: Final = "unfinished"


class CycleLog:
    """Records the cycles of one process along with its requests, so that they reach the leading process."""

    def __init__(self, recorder: RequestRecorder) -> None:
        self._recorder = recorder

    def accepted(self, to_accept_ms: float) -> None:
        self._record(_ACCEPT, to_accept_ms)

    def ended(self, ending: str, *, to_final_ms: float, unseen_ms: float, polls: int) -> None:
        """Record an end that a poll saw; ``unseen_ms`` counts from the last poll that saw it in flight."""
        self._record(_FINAL + ending, to_final_ms)
        self._record(_UNSEEN, unseen_ms)
        self._record(_POLLS, polls)  # a number, not a time; exact up to more polls than a cycle takes

    def delivered(self, ending: str, *, to_final_ms: float, delay_ms: float | None) -> None:
        """Record an end that was delivered; ``delay_ms`` counts from the end that the target states."""
        self._record(_FINAL + ending, to_final_ms)
        if delay_ms is not None:
            self._record(_DELAY, delay_ms)

    def undelivered(self) -> None:
        self._record(_UNDELIVERED, 0.0)

    def gave_up(self) -> None:
        self._record(_FINAL + _UNFINISHED, 0.0)

    def _record(self, measure: str, value: float) -> None:
        self._recorder.record(CYCLE, RequestStatus.OK, measure, value)


def cycles(histograms: Mapping[SeriesKey, Histogram]) -> Cycles | None:
    """Return the metrics of all cycles; None without any."""
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
