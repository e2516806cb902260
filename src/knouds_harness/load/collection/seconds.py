"""Histograms by operation, status and second, of the requests of any Locust user in all workers.

In a locustfile::

    @events.init.add_listener
    def record(environment, **_):
        SecondsCollector(environment, on_second=print)

A listener of Locust's ``request`` event counts what every user sends with any client. Finished seconds are
handed out once a second. In a distributed run, workers send theirs along with Locust's own reports, and the
master adds them up; the sums are exactly what one process would have counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, field
from typing import Any, Final, NamedTuple

import gevent
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from knouds_harness.exchange.redaction import Redactor
from knouds_harness.load.client.http_answer import Opening, Wire
from knouds_harness.load.client.response import Response, error_code
from knouds_harness.load.final_reports import FinalReporter, FinalReports
from knouds_harness.measures.histograms import MAX_NS, Histogram, bucket_of, merged
from knouds_harness.runs.operation_load import RequestStatus

# Read once: NTP or an administrator may set the system's clock, but seconds must stay in order.
_EPOCH_S: Final = time.time() - time.monotonic()
RESPONSE, SERVICE = "response", "service"
"""Measures: time from the scheduled instant, and from sending; they differ only in the open model."""
FIRST_BYTE, BODY = "first_byte", "body"
"""Measures: time from the request to the first byte of the response, and from there to its last. ``BODY`` is
recorded only if it took more than one read: otherwise it is 0."""
DNS, CONNECT, TLS = "dns", "connect", "tls"
"""Measures of opening a connection."""
REPORT_KEY = "knouds_harness"
"""The member of a worker's message to the master that holds its seconds."""
_COUNTED_TOGETHER: Final = 256
"""Batch size for counting the phases of requests: a batch costs half as much as counting one by one."""
_WORKERS_LAG_S: Final = 8
"""Time after which every worker has sent its part of a second, even if one of its reports was late."""


def now_unix_s() -> float:
    """Return seconds since the epoch: the system's clock as the process started, a monotonic one since."""
    return _EPOCH_S + time.monotonic()


class SeriesKey(NamedTuple):
    """What a histogram counts; ``measure`` is one of the above, or any that ``record`` was called with."""

    operation: str
    status: RequestStatus
    measure: str = RESPONSE


class Error(NamedTuple):
    """A kind of request that was not kept.

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
    """Counts of what ended within one second; traffic is that of our own client only."""

    unix_s: int
    histograms: dict[SeriesKey, Histogram] = field(default_factory=dict)
    errors: dict[Error, int] = field(default_factory=dict)
    traffic: dict[str, Traffic] = field(default_factory=dict)

    def add(self, other: Second, *, only: str | None = None) -> None:
        """Add the counts of another second, ``only`` of operations whose name begins so, if given."""
        for series, histogram in other.histograms.items():
            if only is None or series.operation.startswith(only):
                self.histograms.setdefault(series, Histogram()).add(histogram)
        for error, count in other.errors.items():
            if only is None or error.operation.startswith(only):
                self.errors[error] = self.errors.get(error, 0) + count
        for operation, traffic in other.traffic.items():
            if only is None or operation.startswith(only):
                self.traffic.setdefault(operation, Traffic()).add(traffic)

    def kept(self) -> Histogram:
        """Return the response times of kept requests, over all operations."""
        return merged(
            histogram
            for series, histogram in self.histograms.items()
            if series.measure == RESPONSE and series.status is RequestStatus.KEPT
        )


def packed(second: Second) -> list[Any]:
    return [
        second.unix_s,
        [[*series, histogram.counts] for series, histogram in second.histograms.items()],
        [[*error, count] for error, count in second.errors.items()],
        [[name, *astuple(traffic)] for name, traffic in second.traffic.items()],
    ]


def unpacked(message: list[Any]) -> Second:
    unix_s, histograms, errors, traffic = message
    return Second(
        unix_s=unix_s,
        histograms={
            SeriesKey(operation, RequestStatus(status), measure): Histogram(counts)
            for operation, status, measure, counts in histograms
        },
        errors={
            Error(operation, RequestStatus(status), status_code, code): count
            for operation, status, status_code, code, count in errors
        },
        traffic={name: Traffic(*numbers) for name, *numbers in traffic},
    )


class SecondsRecorder:
    """Counts requests of one process."""

    def __init__(
        self,
        *,
        on_not_kept: Callable[[Error, object, float], object] | None = None,
        redactor: Redactor | None = None,
        clock: Callable[[], float] = now_unix_s,
    ) -> None:
        self._on_not_kept = on_not_kept
        self.safe = (redactor or Redactor()).safe
        self._clock = clock
        self._finished: list[Second] = []
        self._second = Second(unix_s=int(clock()))
        # The counts of the running second: of kept requests, by operation (response times, and each
        # ``Answer.wire`` that is not counted yet), and of all durations.
        self._kept: dict[str, tuple[dict[int, int], list[Wire]]] = {}
        self._counts: dict[tuple[str, RequestStatus, str], dict[int, int]] = {}

    def on_request(
        self,
        *,
        name: str,
        response_time: float | None,
        exception: Exception | None,
        response: Any = None,  # noqa: ANN401 - any client's
        request_type: object = None,  # noqa: ARG002 - named, so that no dict is made of them
        response_length: object = None,  # noqa: ARG002
        context: object = None,  # noqa: ARG002
        start_time: float | None = None,
        url: object = None,  # noqa: ARG002
        **_: object,
    ) -> None:
        """Listen to Locust's ``request`` event."""
        if exception is None and response_time is not None:
            try:
                is_kept = 200 <= response.status_code < 300 and response.elapsed_ms == response_time
                wire = response.wire
            except (AttributeError, TypeError):  # another client's response
                is_kept = False
            if is_kept:
                if self._second.unix_s != int(self._clock()):
                    self._roll()
                try:
                    counts, wires = self._kept[name]
                except KeyError:
                    counts, wires = self._new_kept(name)
                duration_ns = int(response_time * 1e6)
                shift = duration_ns.bit_length() - 11  # histograms.bucket_of, without the call
                bucket = (shift << 10) + (duration_ns >> shift) if shift > 0 else duration_ns
                counts[bucket] = counts.get(bucket, 0) + 1
                wires.append(wire)
                if len(wires) == _COUNTED_TOGETHER:
                    self._count_wires(name, wires)
                if response.opening is not None:
                    self._record_opening(name, response.opening)
                return
        self._on_other_request(name, response_time, exception, response, start_time)

    def _on_other_request(
        self,
        name: str,
        response_time: float | None,
        exception: Exception | None,
        response: Any,  # noqa: ANN401
        start_unix_s: float | None,
    ) -> None:
        status_code = getattr(response, "status_code", None)
        if status_code is None:
            status_code = 200 if exception is None else 0
        status = RequestStatus.of(status_code, exception)
        if response_time is not None:
            self.record(name, status, RESPONSE, response_time)
            service_ms = getattr(response, "elapsed_ms", response_time)
            if service_ms != response_time:
                self.record(name, status, SERVICE, service_ms)
            if isinstance(response, Response):
                self._count_other_phases(name, status, response)
        if status is not RequestStatus.KEPT:
            code = (
                error_code(response) or getattr(exception, "code", "")
                if status_code
                else type(exception).__name__
            )
            error = Error(name, status, status_code, self.safe(code))
            self._count_errors(error, 1)
            if self._on_not_kept:
                self._on_not_kept(error, response, start_unix_s or self._clock())

    def _new_kept(self, name: str) -> tuple[dict[int, int], list[Wire]]:
        self._kept[name] = self._counts_of(name, RequestStatus.KEPT, RESPONSE), []
        return self._kept[name]

    def _count_wires(self, name: str, wires: list[Wire]) -> None:
        first_counts = self._counts_of(name, RequestStatus.KEPT, FIRST_BYTE)
        sent = received = 0
        for written_at, first_at, last_at, sent_bytes, received_bytes in wires:
            sent += sent_bytes
            received += received_bytes
            duration_ns = int((first_at - written_at) * 1e9) if first_at > written_at else 0
            shift = duration_ns.bit_length() - 11
            bucket = (shift << 10) + (duration_ns >> shift) if shift > 0 else duration_ns
            first_counts[bucket] = first_counts.get(bucket, 0) + 1
            if last_at != first_at:
                bodies = self._second.histograms.setdefault(
                    SeriesKey(name, RequestStatus.KEPT, BODY), Histogram()
                )
                bodies.record(last_at - first_at)
        self._second.traffic.setdefault(name, Traffic()).add(Traffic(sent, received, len(wires)))
        wires.clear()

    def _count_other_phases(self, name: str, status: RequestStatus, response: Response) -> None:
        if status is RequestStatus.KEPT and response.status_code:
            _, wires = self._kept.get(name) or self._new_kept(name)
            wires.append(response.wire)
            if len(wires) == _COUNTED_TOGETHER:
                self._count_wires(name, wires)
        elif response.sent_bytes:
            traffic = Traffic(response.sent_bytes, response.received_bytes, 1)
            self._second.traffic.setdefault(name, Traffic()).add(traffic)
        if response.opening is not None:
            self._record_opening(name, response.opening)

    def _record_opening(self, name: str, opening: Opening) -> None:
        """Count an opened connection, whatever the status of its request."""
        if opening.dns_ms is not None:
            self.record(name, RequestStatus.KEPT, DNS, opening.dns_ms)
        self.record(name, RequestStatus.KEPT, CONNECT, opening.connect_ms)
        if opening.tls_ms is not None:
            self.record(name, RequestStatus.KEPT, TLS, opening.tls_ms)

    def record(self, operation: str, status: RequestStatus, measure: str, duration_ms: float) -> None:
        """Count one duration, such as the ``ms`` that the server states."""
        if self._second.unix_s != int(self._clock()):
            self._roll()
        try:
            counts = self._counts[operation, status, measure]
        except KeyError:
            counts = self._counts[operation, status, measure] = self._counts_of(operation, status, measure)
        bucket = bucket_of(min(max(int(duration_ms * 1e6), 0), MAX_NS))
        counts[bucket] = counts.get(bucket, 0) + 1

    def count_error(self, operation: str, status: RequestStatus, code: str) -> None:
        """Count an error without a request, such as an exception in a task; its duration is 0."""
        self.record(operation, status, RESPONSE, 0.0)
        self._count_errors(Error(operation, status, 0, self.safe(code)), 1)

    def take(self, *, with_current: bool = False) -> list[Second]:
        """Return the seconds that are over, each once, and the running one so far if asked for."""
        self._roll(now=with_current)
        taken, self._finished = self._finished, []
        return taken

    def _counts_of(self, operation: str, status: RequestStatus, measure: str) -> dict[int, int]:
        series = SeriesKey(operation, status, measure)
        return self._second.histograms.setdefault(series, Histogram()).counts

    def _count_errors(self, error: Error, count: int) -> None:
        self._roll()
        self._second.errors[error] = self._second.errors.get(error, 0) + count

    def _roll(self, *, now: bool = False) -> None:
        unix_s = int(self._clock())
        if now or unix_s != self._second.unix_s:
            for name, (_, wires) in self._kept.items():
                self._count_wires(name, wires)
            if self._second.histograms or self._second.errors:
                self._finished.append(self._second)
            self._second = Second(unix_s=unix_s)
            self._kept = {}
            self._counts = {}


class SecondsCollector:
    """Counts in every process of a run, and hands finished seconds to the leading one.

    Attributes:
        final_reports: In the master: waits for the workers' when a test ends; None elsewhere.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        on_second: Callable[[Second], object] = lambda _: None,
        on_not_kept: Callable[[Error, object, float], object] | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        """Begin to listen; call it once Locust has its runner, such as in a listener of ``init``.

        Args:
            environment: Locust's.
            on_second: Called in the local or master process with the counts of each second, in order. What
                a worker sends late is handed out as another part of its second.
            on_not_kept: Called for each request that was not kept: kind, any client's response, start.
            redactor: Removes secrets from the error codes of servers and exceptions.
        """
        self.recorder = SecondsRecorder(on_not_kept=on_not_kept, redactor=redactor)
        self.final_reports: FinalReports | None = None
        self._on_second = on_second
        self._gathered: dict[int, Second] = {}
        self._is_distributed = isinstance(environment.runner, MasterRunner)
        environment.events.request.add_listener(self.recorder.on_request)
        if isinstance(environment.runner, WorkerRunner):
            environment.events.report_to_master.add_listener(self._report)
            FinalReporter(environment.runner)
            return
        if isinstance(environment.runner, MasterRunner):
            environment.events.worker_report.add_listener(self._receive)
            self.final_reports = FinalReports(environment.runner)
        environment.events.quitting.add_listener(lambda **_: self.hand_out(everything=True))
        gevent.spawn(self._hand_out_every_second)

    def hand_out(self, *, everything: bool = False) -> None:
        """Hand out the seconds that are over.

        Args:
            everything: Also seconds that may be incomplete; for the end of a run.
        """
        self._gather(self.recorder.take(with_current=everything))
        # Workers report every three seconds; the last second of a report is incomplete.
        newest = max(self._gathered, default=0) - (_WORKERS_LAG_S if self._is_distributed else -1)
        for unix_s in sorted(self._gathered):
            if everything or unix_s < newest:
                self._on_second(self._gathered.pop(unix_s))

    def _hand_out_every_second(self) -> None:
        while True:
            gevent.sleep(1.0)
            self.hand_out()

    def _gather(self, seconds: Iterable[Second]) -> None:
        for second in seconds:
            if second.unix_s in self._gathered:
                self._gathered[second.unix_s].add(second)
            else:
                self._gathered[second.unix_s] = second

    def _report(self, *, client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG002
        data[REPORT_KEY] = [packed(second) for second in self.recorder.take(with_current=True)]

    def _receive(self, *, client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG002
        self._gather(unpacked(message) for message in data.get(REPORT_KEY, ()))
