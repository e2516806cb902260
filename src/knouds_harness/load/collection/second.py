"""What one second of load brought: times by operation, status and measure, errors, and traffic."""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass, field
from typing import Any, Final, NamedTuple

from knouds_harness.measures.histograms import Histogram, merged
from knouds_harness.runs.operation_load import RequestStatus

# Read once: NTP or an administrator may set the system's clock, and metrics are sorted by their second.
_EPOCH_S: Final = time.time() - time.monotonic()
RESPONSE, SERVICE = "response", "service"
"""Measures: from the scheduled instant, and from sending. They differ only where requests have a schedule."""
FIRST_BYTE, BODY = "first_byte", "body"
"""From the request to the answer's first byte, and from there to its last. The second is recorded only where
more than one read had the answer: all others are 0."""
DNS, CONNECT, TLS = "dns", "connect", "tls"
"""Of connections that were opened."""


def now_unix_s() -> float:
    """Seconds since the epoch, by the system's clock at this process's start and a monotonic one since."""
    return _EPOCH_S + time.monotonic()


class SeriesKey(NamedTuple):
    """What a histogram is of; a measure is one of those above, or one that ``record`` was given."""

    operation: str
    status: RequestStatus
    measure: str = RESPONSE


class Error(NamedTuple):
    """A kind of answer that was not kept.

    Attributes:
        status_code: 0 where there was no answer.
        code: The ``code`` of the body, else of the failure, else what that is called; may be empty.
    """

    operation: str
    status: RequestStatus
    status_code: int
    code: str


@dataclass(slots=True)
class Traffic:
    """Heads and bodies that were sent and received, before TLS, whatever came of it."""

    sent_bytes: int = 0
    received_bytes: int = 0
    requests: int = 0

    def add(self, other: Traffic) -> None:
        self.sent_bytes += other.sent_bytes
        self.received_bytes += other.received_bytes
        self.requests += other.requests


@dataclass(kw_only=True)
class Second:
    """What ended within one second; traffic is that of our own client."""

    unix_s: int
    histograms: dict[SeriesKey, Histogram] = field(default_factory=dict)
    errors: dict[Error, int] = field(default_factory=dict)
    traffic: dict[str, Traffic] = field(default_factory=dict)

    def add(self, other: Second, *, only: str | None = None) -> None:
        """Add what another counted, of any second, or ``only`` operations whose name begins so."""
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
        """Response times of all that was kept, over all operations."""
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
