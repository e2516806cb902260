"""From what was recorded, second by second, to the figures of a run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from knouds_harness.load.collection.seconds import RESPONSE, SERVICE, Error, Second, SeriesKey
from knouds_harness.load.collection.steady_state import LEAST_SECONDS, steady_from
from knouds_harness.measures.histograms import Histogram, merged, middle_of
from knouds_harness.measures.percentiles import RECORDED_PERCENTS
from knouds_harness.runs.load_results import (
    ALL_OPERATIONS,
    TASK,
    ErrorCount,
    OperationLoad,
    RequestStatus,
    SecondRow,
    Times,
)
from knouds_harness.runs.spread import spread_text

SERVER: Final = "server"
"""The measure of what the server itself says a run took."""
_MOST_ERRORS: Final = 50


def times(histogram: Histogram) -> Times:
    """A histogram as figures."""
    found = histogram.percentiles_s(*map(float, RECORDED_PERCENTS))
    return Times(
        count=len(histogram),
        mean_ms=histogram.mean_s * 1e3,
        min_ms=histogram.min_s * 1e3,
        max_ms=histogram.max_s * 1e3,
        percentiles={percent: at_s * 1e3 for percent, at_s in zip(RECORDED_PERCENTS, found, strict=True)},
    )


class Summary:
    """Adds up seconds; of those of the warm-up, times are shown and exceptions in tasks counted.

    Attributes:
        measured_from_unix_s: The first whole second after the warm-up; without one, that of the start.
        histograms: Of everything from then on, by series.
    """

    def __init__(self, *, start_unix_s: float, warm_up_s: float) -> None:
        """Count from an instant.

        Args:
            start_unix_s: As of ``begin``.
            warm_up_s: How long to leave out.
        """
        self._warm_up_s = warm_up_s
        self.histograms: dict[SeriesKey, Histogram] = defaultdict(Histogram)
        self._errors: dict[Error, int] = defaultdict(int)
        self._kept_by_second: dict[int, tuple[int, float]] = {}
        self.begin(start_unix_s)

    def begin(self, start_unix_s: float) -> None:
        """Load begins at this instant: of what came before, exceptions in tasks alone still count."""
        self._start_unix_s = start_unix_s
        whole_s = math.ceil(start_unix_s + self._warm_up_s)
        self.measured_from_unix_s = whole_s if self._warm_up_s else int(start_unix_s)  # nothing was before it
        self._kept_by_second.clear()
        for series in [each for each in self.histograms if not each.operation.startswith(TASK)]:
            del self.histograms[series]
        for error in [each for each in self._errors if not each.operation.startswith(TASK)]:
            del self._errors[error]

    def add(self, second: Second) -> Iterator[SecondRow]:
        """Count a second.

        Yields:
            Its rows: of all that was kept, whatever the operation, and of each operation.
        """
        at_s = max(0, second.unix_s - int(self._start_unix_s))
        kept = merged(
            histogram
            for series, histogram in second.histograms.items()
            if series.measure == RESPONSE and series.status is RequestStatus.KEPT
        )
        count, sum_s = self._kept_by_second.get(at_s, (0, 0.0))  # of another worker, maybe
        self._kept_by_second[at_s] = count + len(kept), sum_s + kept.mean_s * len(kept)
        is_measured = second.unix_s >= self.measured_from_unix_s
        for series, histogram in second.histograms.items():
            if is_measured or series.operation.startswith(TASK):
                self.histograms[series].add(histogram)
        for error, count in second.errors.items():
            if is_measured or error.operation.startswith(TASK):
                self._errors[error] += count
        if kept.counts:
            yield _row(at_s, ALL_OPERATIONS, {}, kept, spread="")
        yield from _rows(at_s, second)

    def operations(self, duration_s: float) -> tuple[OperationLoad, ...]:
        """The figures of each operation.

        Args:
            duration_s: How long was measured, without the warm-up.
        """
        names = {series.operation for series in self.histograms if series.measure == RESPONSE}
        return tuple(self._operation(name, duration_s) for name in sorted(names))

    def overall(self) -> Times:
        """Response times of all that was kept, whatever the operation."""
        return times(
            merged(
                histogram
                for series, histogram in self.histograms.items()
                if series.measure == RESPONSE and series.status is RequestStatus.KEPT
            )
        )

    def steady_from_s(self) -> tuple[bool | None, float | None]:
        """Whether throughput and mean response time became steady, and when, in seconds since the start.

        Returns:
            Twice None where there is too little to tell.
        """
        last = max(self._kept_by_second, default=0)  # is not a whole second, as a rule
        if last < LEAST_SECONDS:
            return None, None
        seconds = [self._kept_by_second.get(at_s, (0, 0.0)) for at_s in range(last)]
        rate_from = steady_from([float(count) for count, _ in seconds])
        times_from = steady_from([sum_s / count if count else math.inf for count, sum_s in seconds])
        if rate_from is None or times_from is None:
            return False, None
        return True, float(max(rate_from, times_from))

    def requests(self) -> int:
        """How many requests were counted."""
        return sum(len(each) for series, each in self.histograms.items() if series.measure == RESPONSE)

    def _operation(self, name: str, duration_s: float) -> OperationLoad:
        response = self._by_status(name, RESPONSE)
        service = self._by_status(name, SERVICE)
        outcomes = {status.value: len(response.get(status, ())) for status in RequestStatus}
        requests = sum(outcomes.values())
        kept = response.get(RequestStatus.KEPT, Histogram())
        return OperationLoad(
            operation=name,
            requests=requests,
            per_s=requests / duration_s if duration_s else 0.0,
            outcomes=outcomes,
            errors=tuple(self._errors_of(name)),
            response=times(kept),
            service=times(service.get(RequestStatus.KEPT, kept)),
            refused_response=times(
                merged(each for key, each in response.items() if key is not RequestStatus.KEPT)
            ),
            server=times(merged(self._by_status(name, SERVER).values())),
        )

    def _by_status(self, name: str, measure: str) -> Mapping[RequestStatus, Histogram]:
        return {
            series.status: histogram
            for series, histogram in self.histograms.items()
            if series.operation == name and series.measure == measure
        }

    def _errors_of(self, name: str) -> list[ErrorCount]:
        mine = [(error, count) for error, count in self._errors.items() if error.operation == name]
        mine.sort(key=lambda each: -each[1])
        return [
            ErrorCount(outcome=error.status, status=error.status_code or None, code=error.code, count=count)
            for error, count in mine[:_MOST_ERRORS]
        ]


def _rows(at_s: int, second: Second) -> Iterator[SecondRow]:
    by_operation: dict[str, dict[RequestStatus, Histogram]] = defaultdict(dict)
    for series, histogram in second.histograms.items():
        if series.measure == RESPONSE:
            by_operation[series.operation][series.status] = histogram
    for operation, by_status in by_operation.items():
        kept = by_status.get(RequestStatus.KEPT, Histogram())
        outcomes = {status.value: len(histogram) for status, histogram in by_status.items()}
        spread = spread_text((middle_of(each), times) for each, times in kept.counts.items())
        yield _row(at_s, operation, outcomes, kept, spread=spread)


def _row(
    at_s: int, operation: str, outcomes: Mapping[str, int], kept: Histogram, *, spread: str
) -> SecondRow:
    p50, p99, longest = (
        [at * 1e3 for at in kept.percentiles_s(50, 99, 100)] if kept.counts else (None, None, None)
    )
    return SecondRow(
        at_s=at_s,
        operation=operation,
        outcomes=outcomes,
        p50_ms=p50,
        p99_ms=p99,
        max_ms=longest,
        spread=spread,
    )
