"""Adds up the counts of each second to the metrics of a run; nothing else adds them up."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Final

from knouds_harness.load.collection.seconds import Error, Measure, Second, SeriesKey, Traffic, now_unix_s
from knouds_harness.measures.delay import OkTimes
from knouds_harness.measures.histograms import Histogram, merged, middle_of
from knouds_harness.measures.steadiness import Steadiness
from knouds_harness.runs.load_plan import PlannedStage
from knouds_harness.runs.load_record import spread_text
from knouds_harness.runs.load_results import Cycles, StageLoad
from knouds_harness.runs.operation_load import (
    ALL_OPERATIONS,
    RECORDED_PERCENTS,
    TASK,
    TIME,
    CustomMetric,
    ErrorCount,
    OperationLoad,
    RequestStatus,
    SecondRow,
    TaskError,
    Times,
    labelled,
    labels_in,
)

SERVER: Final = "server"
"""The measure of how long a run took, as the server says."""
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
RECENT_S: Final = 10
"""How many of the last seconds are remembered one by one."""
_MOST_ERRORS: Final = 50


def times(histogram: Histogram) -> Times:
    found = histogram.percentiles_s(*map(float, RECORDED_PERCENTS))
    return Times(
        count=len(histogram),
        mean_ms=histogram.mean_s * 1e3,
        min_ms=histogram.min_s * 1e3,
        max_ms=histogram.max_s * 1e3,
        percentiles={percent: at_s * 1e3 for percent, at_s in zip(RECORDED_PERCENTS, found, strict=True)},
    )


def cycles(histograms: Mapping[SeriesKey, Histogram]) -> Cycles | None:
    """Return the metrics of all cycles; None without any."""
    taken = defaultdict(
        Histogram, {series.measure: each for series, each in histograms.items() if series.operation == CYCLE}
    )
    if not taken:
        return None
    by_ending = {
        measure.removeprefix(FINAL): each for measure, each in taken.items() if measure.startswith(FINAL)
    }
    return Cycles(
        submitted=len(taken[ACCEPT]),
        endings={ending: len(each) for ending, each in sorted(by_ending.items())},
        to_accept=times(taken[ACCEPT]),
        to_final=times(merged(each for ending, each in by_ending.items() if ending != UNFINISHED)),
        lost_to_polling=times(taken[UNSEEN]),
        polls={round(middle_of(bucket) / 1e6): count for bucket, count in taken[POLLS].counts.items()},
    )


def measured_from_unix_s(start_unix_s: float, warm_up_s: float) -> float:
    """Return from when on it counts what is due: the first second that begins after the warm-up."""
    return start_unix_s + math.ceil(warm_up_s) if warm_up_s else int(start_unix_s)


class RunMetrics:
    """Adds up the counts of each second, once; progress, bounds, record and report read these sums.

    Attributes:
        errors: Of requests and of tasks, warm-up included.
        measured: What was due after the warm-up.
        at_first: Times of requests that were due while most users were idle, warm-up included.
        steadiness: Of all requests that are ok, warm-up included.
    """

    def __init__(self, *, warm_up_s: float = 0.0) -> None:
        self._warm_up_s = warm_up_s
        self.start_unix_s: float | None = None
        self.measured_from_unix_s = math.inf
        self.ended: Counter[RequestStatus] = Counter()
        self.errors: Counter[Error] = Counter()
        self._counters: set[str] = set()
        self.measured = Second(unix_s=0)
        self.at_first = Histogram()
        self._by_stage: dict[int, Second] = {}
        self.steadiness = Steadiness()
        self._recent: list[Second] = []
        self._first_unix_s = self._newest_unix_s = 0
        self._ended_unix_s = math.inf

    def begin(self, start_unix_s: float) -> None:
        """Begin the load at this instant; of what came before, only ``ended`` and ``errors`` stay."""
        self.start_unix_s = start_unix_s
        self.measured_from_unix_s = measured_from_unix_s(start_unix_s, self._warm_up_s)
        self.steadiness = Steadiness()
        self.measured = Second(unix_s=0)

    def end(self, unix_s: float) -> None:
        """End the load at this instant: nothing is due from then on; only the first call counts."""
        self._ended_unix_s = min(unix_s, self._ended_unix_s)

    def add(self, second: Second) -> Iterator[SecondRow]:
        """Count a second, or the part of one that a worker sent late; return its rows."""
        at_s = 0 if self.start_unix_s is None else max(0, second.unix_s - int(self.start_unix_s))
        for series, histogram in second.histograms.items():
            if series.measure == Measure.RESPONSE and series.status is RequestStatus.OK:
                self.steadiness.add(at_s, series.operation, histogram)
        self.ended += second.by_status()
        self.errors.update(second.errors)
        self.at_first.add(second.at_first)
        self._counters.update(second.counters)
        if second.is_measured and second.unix_s > self.measured_from_unix_s - 1:
            self.measured.add(second)
            if second.stage:
                self._by_stage.setdefault(second.stage, Second(unix_s=0)).add(second)
        self._newest_unix_s = max(second.unix_s, self._newest_unix_s)
        self._first_unix_s = min(second.unix_s, self._first_unix_s or second.unix_s)
        since_unix_s = self._newest_unix_s - RECENT_S
        self._recent = [each for each in (*self._recent, second) if each.unix_s > since_unix_s]
        return _rows(at_s, second)

    @property
    def measured_from_s(self) -> float:
        return 0.0 if self.start_unix_s is None else max(0.0, self.measured_from_unix_s - self.start_unix_s)

    @property
    def elapsed_s(self) -> float:
        if self.start_unix_s is None:
            return 0.0
        return max(0.0, min(now_unix_s(), self._ended_unix_s) - self.start_unix_s)

    @property
    def ended_at_s(self) -> float | None:
        """After how many seconds the load ended; None while it goes on."""
        return self.elapsed_s if self._ended_unix_s < math.inf else None

    @property
    def counted_s(self) -> float:
        """How much of the load has been counted: all of it once it has ended."""
        if self.start_unix_s is None or self._ended_unix_s < math.inf:
            return self.elapsed_s
        return max(0.0, min(self.elapsed_s, self._newest_unix_s + 1 - int(self.start_unix_s)))

    def measured_s(self, duration_s: float) -> float:
        """Return how many seconds of a load of this length were measured so far."""
        return max(0.0, min(self.counted_s, duration_s) - self.measured_from_s)

    def recent(self, length_s: int) -> Second:
        """Return the sums of the last seconds, of ``RECENT_S`` at most."""
        together = Second(unix_s=self._newest_unix_s)
        for each in self._recent:
            if each.unix_s > self._newest_unix_s - length_s:
                together.add(each)
        return together

    def recent_per_s(self, length_s: int) -> float:
        """Return the mean rate of the last seconds that are over; of the first while it lasts."""
        newest = self._newest_unix_s
        length_s = min(length_s, newest - self._first_unix_s)
        over = [each for each in self._recent if newest - length_s <= each.unix_s < newest]
        return sum(each.requests() for each in over) / length_s if over else self.recent(1).requests()

    @property
    def whole_seconds(self) -> int:
        """The number of seconds that were measured, with the newest; 0 in the warm-up."""
        from_unix_s = self.measured_from_unix_s
        return 0 if math.isinf(from_unix_s) else self._newest_unix_s + 1 - int(from_unix_s)

    def stages(self, planned: Sequence[PlannedStage]) -> tuple[StageLoad, ...]:
        """Return the metrics of each stage in which something was measured, if there are several."""
        ends_s = [*accumulate(each.duration_s for each in planned)]
        found = []
        for number, counted in sorted(self._by_stage.items()):
            plan, to_s = planned[number - 1], ends_s[number - 1]
            from_s = max(to_s - plan.duration_s, self.measured_from_s)
            measured_s = max(0.0, min(to_s, self.counted_s) - from_s)
            found.append(
                StageLoad(
                    number=number,
                    to_s=to_s,
                    plan=plan,
                    operations=operations_of(counted, measured_s),
                    overall=times(counted.ok()),
                    custom_metrics=self.custom_metrics(counted, measured_s),
                )
            )
        return tuple(found)

    def custom_metrics(self, counted: Second, duration_s: float) -> tuple[CustomMetric, ...]:
        """Return counters and times by name; a counter that nothing was added to meanwhile is 0."""

        def metric(name: str, count: float, taken: Histogram | None = None) -> CustomMetric:
            per_s = count / duration_s if duration_s else 0.0
            return CustomMetric(name=name, count=count, per_s=per_s, times=times(taken) if taken else None)

        taken = {
            series.operation: each for series, each in counted.histograms.items() if series.measure == TIME
        }
        return (
            *(metric(name, counted.counters.get(name, 0.0)) for name in sorted(self._counters)),
            *(metric(name, len(taken[name]), taken[name]) for name in sorted(taken)),
        )

    def task_errors(self) -> tuple[TaskError, ...]:
        """Return the exceptions of tasks, the most frequent first."""
        found = [
            TaskError(task=error.operation.removeprefix(TASK), error=error.code, count=count)
            for error, count in self.errors.most_common()
            if error.operation.startswith(TASK)
        ]
        return tuple(found[:_MOST_ERRORS])

    def ok_times_by_stage(self, planned: Sequence[PlannedStage]) -> list[OkTimes]:
        return [
            replace(each, operation=labelled(planned[number - 1].label(number), each.operation))
            for number, counted in self._by_stage.items()
            for each in ok_times(counted)
        ]


def overall_by_label(counted: Second) -> dict[str, Times]:
    requested = (each.operation for each in counted.histograms if each.measure == Measure.RESPONSE)
    return {each: times(counted.ok(prefix=labelled(each, ""))) for each in labels_in(requested)}


def ok_times(counted: Second) -> list[OkTimes]:
    """Return the times of requests that are ok: of each operation, of each label, and of all."""
    found = []
    for series, response in counted.histograms.items():
        if series.measure == Measure.RESPONSE and series.status is RequestStatus.OK:
            service = counted.histograms.get(series._replace(measure=Measure.SERVICE), response)
            found.append(OkTimes(operation=series.operation, response=response, service=service))
    together = [
        OkTimes(
            operation=prefix + ALL_OPERATIONS,
            response=merged(each.response for each in found if each.operation.startswith(prefix)),
            service=merged(each.service for each in found if each.operation.startswith(prefix)),
        )
        for prefix in (*(labelled(each, "") for each in labels_in(each.operation for each in found)), "")
    ]
    return [*found, *(together if found[1:] else [])]


def operations_of(counted: Second, duration_s: float) -> tuple[OperationLoad, ...]:
    names = {series.operation for series in counted.histograms if series.measure == Measure.RESPONSE}
    return tuple(_operation(counted, name, duration_s) for name in sorted(names))


def _operation(counted: Second, name: str, duration_s: float) -> OperationLoad:
    def taken(measure: str, status: RequestStatus = RequestStatus.OK) -> Histogram:
        return counted.histograms.get(SeriesKey(name, status, measure), Histogram())

    counts = {status.value: len(taken(Measure.RESPONSE, status)) for status in RequestStatus}
    requests = sum(counts.values())
    first_byte, body, opened = taken(Measure.FIRST_BYTE), taken(Measure.BODY), len(taken(Measure.CONNECT))
    in_one_read = Histogram()
    in_one_read.record(0.0, len(first_byte) - len(body))
    traffic = counted.traffic.get(name, Traffic())
    return OperationLoad(
        operation=name,
        requests=requests,
        per_s=(requests - counted.sent_late[name]) / duration_s if duration_s else 0.0,
        throughput_per_s=counted.answered[name] / duration_s if duration_s else 0.0,
        by_status=counts,
        errors=error_counts(
            {error: each for error, each in counted.errors.items() if error.operation == name}
        ),
        response=times(taken(Measure.RESPONSE)),
        service=times(taken(Measure.SERVICE) or taken(Measure.RESPONSE)),
        refused_response=times(
            merged(
                taken(Measure.RESPONSE, status) for status in RequestStatus if status is not RequestStatus.OK
            )
        ),
        server=times(taken(SERVER)),
        first_byte=times(first_byte),
        body=times(merged((body, in_one_read))),
        dns=times(taken(Measure.DNS)),
        connect=times(taken(Measure.CONNECT)),
        tls=times(taken(Measure.TLS)),
        connections_opened=opened,
        connections_reused=max(traffic.requests - opened, 0),
        sent_bytes=traffic.sent_bytes,
        received_bytes=traffic.received_bytes,
    )


def error_counts(errors: Mapping[Error, int], *, most: int = _MOST_ERRORS) -> tuple[ErrorCount, ...]:
    """Return how often each kind of error came, in all operations; the most frequent first."""
    by_kind: Counter[tuple[str, int, str]] = Counter()
    for error, count in errors.items():
        by_kind[error.status.value, error.status_code, error.code] += count
    return tuple(
        ErrorCount(status=status, status_code=status_code or None, code=code, count=count)
        for (status, status_code, code), count in by_kind.most_common(most)
    )


def _rows(at_s: int, second: Second) -> Iterator[SecondRow]:
    by_operation: dict[str, dict[RequestStatus, Histogram]] = defaultdict(dict)
    for series, histogram in second.histograms.items():
        if series.measure == Measure.RESPONSE:
            by_operation[series.operation][series.status] = histogram
    if by_operation:
        yield _row(at_s, ALL_OPERATIONS, second.by_status(), second.ok(), spread="")
    for operation, by_status in by_operation.items():
        ok = by_status.get(RequestStatus.OK, Histogram())
        spread = spread_text((middle_of(each), times) for each, times in ok.counts.items())
        counts = {status: len(histogram) for status, histogram in by_status.items()}
        yield _row(at_s, operation, counts, ok, spread=spread)


def _row(
    at_s: int, operation: str, counts: Mapping[RequestStatus, int], ok: Histogram, *, spread: str
) -> SecondRow:
    p50, p99, longest = (
        [at * 1e3 for at in ok.percentiles_s(50, 99, 100)] if ok.counts else (None, None, None)
    )
    return SecondRow(
        at_s=at_s,
        operation=operation,
        by_status={status.value: count for status, count in counts.items()},
        p50_ms=p50,
        p99_ms=p99,
        max_ms=longest,
        spread=spread,
    )
