"""Histograms by operation, status and second, of the requests of any Locust user in all workers.

In a locustfile::

    @events.init.add_listener
    def record(environment, **_):
        SecondsCollector(environment, on_second=print)

What every user sends with any client is noted (``rows``). Ten times a second, workers hand that over to the
master, which adds it up, exactly as one process would have. Finished seconds are handed out once a second.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

import gevent
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from knouds_harness.exchange.redaction import Redactor
from knouds_harness.load.client.http_answer import Wire
from knouds_harness.load.collection.rows import RequestRecorder, RequestRow, Rows, restored
from knouds_harness.load.messages import FinalReporter, FinalReports
from knouds_harness.measures.histograms import MAX_NS, Histogram, bucket_of, merged
from knouds_harness.runs.operation_load import COUNT, RequestStatus

# Read once: NTP or an administrator may set the system's clock, but seconds must stay in order.
_EPOCH_S: Final = time.time() - time.monotonic()
ROWS: Final = "knouds-rows"
"""Worker to master, ten times a second: its ``Rows``, the epoch of its clock, and what else it hands over."""
HAND_OVER_EVERY_S: Final = 0.1
_WORKERS_LAG_S: Final = 1.5
"""Time after which workers have handed over what ended in a second."""
ROUNDING_S: Final = 2e-6
"""Times since the epoch are rounded by this at most, when clocks are converted."""


def now_unix_s() -> float:
    """Return seconds since the epoch: the system's clock as the process started, a monotonic one since."""
    return _EPOCH_S + time.monotonic()


REQUESTS_EPOCH_S: Final = now_unix_s() - time.perf_counter()
"""When the clock of requests began; read once, so that no request changes sides at the edge of a window."""


class Measure(StrEnum):
    """What a time is of: ``RESPONSE`` from the scheduled instant, ``SERVICE`` from sending.

    They differ only in the open model. ``FIRST_BYTE`` is from the request to the first byte of the response,
    ``BODY`` from there to its last, recorded only if it took more than one read: otherwise it is 0.
    """

    RESPONSE = "response"
    SERVICE = "service"
    FIRST_BYTE = "first_byte"
    BODY = "body"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"


_OF_OPENING: Final = (Measure.DNS, Measure.CONNECT, Measure.TLS)


class SeriesKey(NamedTuple):
    """What a histogram counts; ``measure`` is one of the above, or any that ``record`` was called with."""

    operation: str
    status: RequestStatus
    measure: str = Measure.RESPONSE


class Error(NamedTuple):
    """A kind of request that was not ok.

    Attributes:
        status_code: 0 without a response.
        code: The ``code`` of the body; without a response, the name of the exception; may be empty.
    """

    operation: str
    status: RequestStatus
    status_code: int
    code: str


@dataclass(slots=True)
class Traffic:
    """Bytes of heads and bodies, sent and received, before TLS, whatever the status of the requests."""

    sent_bytes: int = 0
    received_bytes: int = 0
    requests: int = 0

    def add(self, other: Traffic) -> None:
        self.sent_bytes += other.sent_bytes
        self.received_bytes += other.received_bytes
        self.requests += other.requests


@dataclass(kw_only=True)
class Second:
    """Counts of what ended within one second, was due in the warm-up or measured, and in one stage.

    Traffic is that of our own client only. Stages of the plan are numbered from 1; a single one is 0. Seconds
    begin ``offset_s`` after those of the clock, as load does. ``answered`` are requests by operation that
    ended while it was measured, or in that stage, whenever they were due; ``sent_late`` those that were sent
    after the load, such as polls of what it began. ``at_first`` are the times of those that were due while
    most users were surely idle, whatever their status.
    """

    unix_s: int
    offset_s: float = 0.0
    is_measured: bool = True
    stage: int = 0
    histograms: dict[SeriesKey, Histogram] = field(default_factory=dict)
    errors: Counter[Error] = field(default_factory=Counter)
    traffic: dict[str, Traffic] = field(default_factory=dict)
    counters: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    answered: Counter[str] = field(default_factory=Counter)
    sent_late: Counter[str] = field(default_factory=Counter)
    at_first: Histogram = field(default_factory=Histogram)

    def add(self, other: Second) -> None:
        for series, histogram in other.histograms.items():
            self.histograms.setdefault(series, Histogram()).add(histogram)
        for operation, traffic in other.traffic.items():
            self.traffic.setdefault(operation, Traffic()).add(traffic)
        for name, amount in other.counters.items():
            self.counters[name] += amount
        self.errors.update(other.errors)
        self.answered.update(other.answered)
        self.sent_late.update(other.sent_late)

    def ok(self, *, prefix: str = "") -> Histogram:
        """Return the response times of requests that are ok, over all operations whose name begins so."""
        return merged(
            histogram
            for series, histogram in self.histograms.items()
            if series.measure == Measure.RESPONSE
            and series.status is RequestStatus.OK
            and series.operation.startswith(prefix)
        )

    def by_status(self) -> Counter[RequestStatus]:
        counts = Counter[RequestStatus]()
        for series, histogram in self.histograms.items():
            if series.measure == Measure.RESPONSE:
                counts[series.status] += len(histogram)
        return counts

    def requests(self) -> int:
        return self.by_status().total()


def error_of(row: RequestRow) -> Error:
    status_code, code, _ = row.failure or (0, "", "")
    return Error(row.name, RequestStatus(row.status), status_code, code)


class SecondsCounter:
    """Adds up the rows of all processes, by the second in which a request ended.

    Attributes:
        measured_from_unix_s: What was due before is warm-up.
        ended_unix_s: When load ended; answers that came later are part of no rate of answers.
        stages_from_unix_s: When each stage of the plan begins, if there are several.
        busy_from_unix_s: From when on most users may be busy.
    """

    def __init__(self, *, redactor: Redactor | None = None) -> None:
        self.safe = (redactor or Redactor()).safe
        self.measured_from_unix_s = -math.inf
        self.ended_unix_s = math.inf
        self.stages_from_unix_s: Sequence[float] = ()
        self.busy_from_unix_s = -math.inf
        self._first, self._offset_s = 0, 0.0
        self._next: int | None = None
        self._seconds: dict[tuple[int, bool, int], Second] = {}

    def begin(self, start_unix_s: float, measured_from_unix_s: float) -> None:
        """Count from now on by seconds that begin as load does."""
        self._first = self._next = int(start_unix_s)
        self._offset_s = start_unix_s % 1.0
        self.measured_from_unix_s = measured_from_unix_s

    def count(
        self,
        rows: Rows,
        epoch_s: float,
        *,
        on_row: Callable[[RequestRow, float], RequestRow] = lambda row, _: row,
    ) -> None:
        """Count what a process hands over; its clock began so many seconds after the epoch."""
        for *told, answer in rows.requests:
            row = RequestRow._make((*told, answer and restored(answer)))
            self._count_request(on_row(row, epoch_s), epoch_s)
        for name, status, measure, amount, ended_s in rows.measures:
            at_unix_s = ended_s + epoch_s
            if measure == COUNT:
                self._second(at_unix_s, at_unix_s).counters[name] += amount
            else:
                second = self._second(at_unix_s, at_unix_s - amount / 1e3)
                _count(second, name, RequestStatus(status), measure, amount)
        for name, text, ended_s in rows.errors:
            second = self._second(ended_s + epoch_s, ended_s + epoch_s)
            second.errors[Error(name, RequestStatus.FAILED, 0, self.safe(text))] += 1

    def _count_request(self, row: RequestRow, epoch_s: float) -> None:
        ended_unix_s = row.ended_s + epoch_s
        due_unix_s = ended_unix_s - (row.response_ms or 0.0) / 1e3
        second = self._second(ended_unix_s, due_unix_s)
        name, status = row.name, RequestStatus(row.status)
        if row.response_ms is not None:
            _count(second, name, status, Measure.RESPONSE, row.response_ms)
            if due_unix_s < self.busy_from_unix_s:
                second.at_first.record(row.response_ms / 1e3)
            if ended_unix_s < self.ended_unix_s:
                self._second(ended_unix_s, ended_unix_s).answered[name] += 1
            elif due_unix_s >= self.ended_unix_s:
                second.sent_late[name] += 1
            if row.service_ms != row.response_ms:
                _count(second, name, status, Measure.SERVICE, row.service_ms)
        if row.wire is not None:
            _count_wire(second, name, row.wire, is_ok=status is RequestStatus.OK)
        for measure, opening_ms in zip(_OF_OPENING, row.opening or (), strict=False):
            if opening_ms is not None:  # whatever the status of its request
                _count(second, name, RequestStatus.OK, measure, opening_ms)
        if row.failure is not None:
            error = error_of(row)
            second.errors[error._replace(code=self.safe(error.code))] += 1

    def take(self, *, before_unix_s: float = math.inf) -> list[Second]:
        """Return the seconds that end before, each once, in order; a late part comes as another part.

        While load goes on, there is one for each second, even if nothing ended in it.
        """
        over_unix_s = min(before_unix_s, self.ended_unix_s)
        while self._next is not None and self._next + 1 + self._offset_s <= over_unix_s < math.inf:
            at_unix_s = self._next + self._offset_s + ROUNDING_S
            self._second(at_unix_s, at_unix_s)
            self._next += 1
        ready = sorted(key for key in self._seconds if key[0] + 1 + self._offset_s <= before_unix_s)
        return [self._seconds.pop(key) for key in ready]

    def not_taken(self) -> Sequence[Second]:
        """Return the seconds that are still counted, or wait for late parts."""
        return [*self._seconds.values()]

    def _second(self, ended_unix_s: float, due_unix_s: float) -> Second:
        due_unix_s += ROUNDING_S
        is_measured = due_unix_s >= self.measured_from_unix_s
        number = max(int(ended_unix_s - self._offset_s), self._first)  # clocks are converted with an error
        stage = bisect_right(self.stages_from_unix_s, due_unix_s)
        key = number, is_measured, stage
        second = self._seconds.get(key)
        if second is None:
            second = self._seconds[key] = Second(
                unix_s=number, offset_s=self._offset_s, is_measured=is_measured, stage=stage
            )
        return second


def _count_wire(second: Second, name: str, wire: Wire, *, is_ok: bool) -> None:
    written_at, first_at, last_at, sent_bytes, received_bytes = wire
    if is_ok:
        _count(second, name, RequestStatus.OK, Measure.FIRST_BYTE, (first_at - written_at) * 1e3)
        if last_at != first_at:
            _count(second, name, RequestStatus.OK, Measure.BODY, (last_at - first_at) * 1e3)
    if sent_bytes:
        traffic = second.traffic.get(name)
        if traffic is None:
            traffic = second.traffic[name] = Traffic()
        traffic.sent_bytes += sent_bytes
        traffic.received_bytes += received_bytes
        traffic.requests += 1


def _count(second: Second, name: str, status: RequestStatus, measure: str, duration_ms: float) -> None:
    series = SeriesKey(name, status, measure)
    histogram = second.histograms.get(series)
    if histogram is None:
        histogram = second.histograms[series] = Histogram()
    bucket = bucket_of(min(max(int(duration_ms * 1e6), 0), MAX_NS))
    histogram.counts[bucket] = histogram.counts.get(bucket, 0) + 1


class SecondsCollector:
    """Notes requests in every process of a run, and counts them in the one that leads.

    Attributes:
        recorder: Notes the requests of this process.
        counter: In the leading process: adds up.
        final_reports: In the master: waits for the workers' when a test ends; None elsewhere.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        on_second: Callable[[Second], object] = lambda _: None,
        on_row: Callable[[RequestRow, float], RequestRow] = lambda row, _: row,
        redactor: Redactor | None = None,
        extras: Callable[[], Mapping[str, Any]] = dict,
        on_extras: Callable[[str, dict[str, Any], Rows, float], object] = lambda *_: None,
    ) -> None:
        """Begin to listen; call it once Locust has its runner, such as in a listener of ``init``.

        Args:
            environment: Locust's.
            on_second: Called in the leading process with each second, in order; a late part is another one.
            on_row: Called there with each request and the epoch of its times; returns what is counted.
            redactor: Removes secrets from the error codes of servers and exceptions.
            extras: In a worker: what else to hand over each time.
            on_extras: In the master: takes that, with the worker's id, its rows and the epoch of its clock.
        """
        self.recorder = RequestRecorder()
        self.counter = SecondsCounter(redactor=redactor)
        self.final_reports: FinalReports | None = None
        self._on_second, self._on_row, self._extras, self._on_extras = on_second, on_row, extras, on_extras
        self._runner = environment.runner
        environment.events.request.add_listener(self.recorder.on_request)
        if isinstance(self._runner, WorkerRunner):
            environment.events.report_to_master.add_listener(lambda **_: self.hand_over())
            FinalReporter(self._runner)
        else:
            if isinstance(self._runner, MasterRunner):
                self._runner.register_message(ROWS, self._receive)
                self.final_reports = FinalReports(self._runner)
            environment.events.quitting.add_listener(lambda **_: self.hand_out(everything=True))
            gevent.spawn(_repeat, 1.0, self.hand_out)
        gevent.spawn(_repeat, HAND_OVER_EVERY_S, self.hand_over)

    def hand_over(self) -> None:
        rows, epoch_s = self.recorder.take(), REQUESTS_EPOCH_S
        if isinstance(self._runner, WorkerRunner):
            self._runner.send_message(ROWS, {"rows": rows, "epoch_s": epoch_s, **self._extras()})
        else:
            self.counter.count(rows, epoch_s, on_row=self._on_row)

    def hand_out(self, *, everything: bool = False) -> None:
        """Hand out the seconds that are over, or at the end of a run ``everything``."""
        if not isinstance(self._runner, WorkerRunner | MasterRunner):
            self.hand_over()
        lag_s = _WORKERS_LAG_S if isinstance(self._runner, MasterRunner) else 0.0
        for second in self.counter.take(before_unix_s=math.inf if everything else now_unix_s() - lag_s):
            self._on_second(second)

    def _receive(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        rows, epoch_s = Rows(*msg.data["rows"]), msg.data["epoch_s"]
        self._on_extras(msg.node_id, msg.data, rows, epoch_s)
        self.counter.count(rows, epoch_s, on_row=self._on_row)


def _repeat(every_s: float, do: Callable[[], object]) -> None:
    while True:
        gevent.sleep(every_s)
        do()
