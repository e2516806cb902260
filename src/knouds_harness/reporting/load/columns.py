"""The columns of load's tables: one description for terminal, HTML, Markdown, CSV and OpenMetrics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from knouds_harness.measures.objectives import digits, milliseconds
from knouds_harness.runs.load_results import CapacityPoint, LoadResults
from knouds_harness.runs.operation_load import (
    ERRORS,
    PERCENTS,
    RECORDED_PERCENTS,
    STATUSES,
    OperationLoad,
    RequestStatus,
    Times,
    percentile_measure,
    time_ms,
)

Subject = TypeVar("Subject", OperationLoad, Times)

PHASES: Final = {"dns": "DNS", "connect": "connect", "tls": "TLS", "first_byte": "first byte", "body": "body"}
"""The phases of a request, in their order; the first three only if a connection was opened."""
TIMES: Final = ("response", "service", *PHASES)
"""The times of an operation that files for programs hold."""
_TIMES_SAY: Final = "Times of requests that succeeded, or of opening a connection; quantile 1 is the longest."
_BYTE_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_FORMATS: Final = {"count": ",.0f", "per_s": ",.1f", "share": ".2%"}


@dataclass(frozen=True, kw_only=True)
class LoadColumn(Generic[Subject]):
    """A column: a figure of an operation, or of some of its times.

    Attributes:
        key: Name in CSV; for times, after the name that ``TIMES`` has for them.
        heading: Heading in HTML; in lower case in the terminal and in Markdown.
        unit: Unit, which decides the format.
        figure: Returns the figure of an operation; None if it is not known.
        metric: Family in OpenMetrics, with a prefix as in CSV; empty if other metrics say it already.
        label: Label in that family, as name and value.
        says: Help text in OpenMetrics.
        rank: Order in which a narrow terminal drops columns: the highest first, 0 never.
        is_bad: Whether any figure but zero is shown as bad.
        matters: Whether a row has something to show; tables of text leave it out if none has.
        is_in_text: Whether tables of text have it, and not only the page and files for programs.
        is_for_programs: Whether only files for programs have it.
    """

    key: str
    heading: str
    unit: Literal["count", "bytes", "per_s", "share", "ms"]
    figure: Callable[[Subject], float | None]
    metric: str
    label: tuple[str, str] | None = None
    says: str
    rank: int
    is_bad: bool = False
    matters: Callable[[Subject], object] = lambda _: True
    is_in_text: bool = True
    is_for_programs: bool = False

    def text(self, subject: Subject, *, with_unit: bool = True) -> str:
        """Format the figure for people; a time ``with_unit`` or not."""
        number = self.figure(subject)
        if self.unit == "ms" or number is None:
            return milliseconds(number) if with_unit else milliseconds(number).removesuffix(" ms")
        if self.unit == "bytes":
            return byte_size(number)
        return f"{number:{_FORMATS[self.unit]}}"


def _of_status(status: str) -> LoadColumn[OperationLoad]:
    return LoadColumn(
        key=status,
        heading=status.capitalize(),
        unit="count",
        figure=lambda load: load.by_status[status],
        metric="requests",
        label=("status", status),
        says="Requests after the warm-up.",
        rank=9 if status == RequestStatus.OK else 3,
        is_bad=status in ERRORS,
        matters=lambda load: status == RequestStatus.OK or load.by_status[status],
    )


def _traffic(key: str, heading: str, says: str, *, rank: int) -> LoadColumn[OperationLoad]:
    return LoadColumn(
        key=key,
        heading=heading,
        unit="bytes" if key.endswith("_bytes") else "count",
        figure=lambda load: getattr(load, key),
        metric=key,
        says=says,
        rank=rank,
        is_for_programs=True,
    )


def _percentile(percent: str) -> LoadColumn[Times]:
    measure = percentile_measure(percent)
    return LoadColumn(
        key=measure,
        heading=f"p{percent}",
        unit="ms",
        figure=lambda times: time_ms(times, measure),
        metric="time_seconds",
        label=("quantile", f"{float(percent) / 100:g}"),
        says=_TIMES_SAY,
        rank=2 if percent == "90" else 0,
        is_in_text=percent not in ("75", "99.9"),
        is_for_programs=percent not in PERCENTS,
    )


TRAFFIC_COLUMNS: Final = (
    _traffic("connections_opened", "Opened", "Connections that were opened.", rank=5),
    _traffic("connections_reused", "Reused", "Requests over an open connection.", rank=6),
    _traffic("sent_bytes", "Sent", "Heads and bodies of requests, before TLS.", rank=0),
    _traffic("received_bytes", "Received", "Heads and bodies of responses, before TLS.", rank=0),
)
OPERATION_COLUMNS: tuple[LoadColumn[OperationLoad], ...] = (
    LoadColumn(
        key="requests",
        heading="Requests",
        unit="count",
        figure=lambda load: load.requests,
        metric="",
        says="Requests that ended, with any status.",
        rank=4,
    ),
    LoadColumn(
        key="per_s",
        heading="Per s",
        unit="per_s",
        figure=lambda load: load.per_s,
        metric="requests_per_second",
        says="Requests per second after the warm-up, by when they were due.",
        rank=6,
    ),
    LoadColumn(
        key="throughput_per_s",
        heading="Throughput",
        unit="per_s",
        figure=lambda load: load.throughput_per_s,
        metric="throughput_per_second",
        says="Requests per second after the warm-up, by when they ended; none after the load.",
        rank=5,
        matters=lambda load: load.lags,
    ),
    *map(_of_status, STATUSES),
    LoadColumn(
        key="error_rate",
        heading="Errors",
        unit="share",
        figure=lambda load: load.error_rate,
        metric="error_rate",
        says="The share of requests that failed or were wrong.",
        rank=0,
        is_bad=True,
    ),
    *TRAFFIC_COLUMNS,
)
TIME_COLUMNS: tuple[LoadColumn[Times], ...] = (
    LoadColumn(
        key="mean_ms",
        heading="Mean",
        unit="ms",
        figure=lambda times: time_ms(times, "mean_ms"),
        metric="mean_time_seconds",
        is_in_text=False,
        says="Mean time of requests that succeeded, or of opening a connection.",
        rank=1,
    ),
    *map(_percentile, RECORDED_PERCENTS),
    LoadColumn(
        key="max_ms",
        heading="Max",
        unit="ms",
        figure=lambda times: time_ms(times, "max_ms"),
        metric="time_seconds",
        label=("quantile", "1"),
        says=_TIMES_SAY,
        rank=1,
    ),
)
SHOWN_COLUMNS: Final = [column for column in OPERATION_COLUMNS if not column.is_for_programs]
SHOWN_TIMES: Final = [column for column in TIME_COLUMNS if not column.is_for_programs]
"""The columns that people see, of operations and of times."""


def byte_size(number: float) -> str:
    """Format an amount of data with as many digits as matter."""
    power = 0
    while number >= 1000 and power < len(_BYTE_UNITS) - 1:
        number /= 1000
        power += 1
    return f"{number:,.{digits(number) if power else 0}f} {_BYTE_UNITS[power]}"


def rows_of(load: LoadResults) -> list[OperationLoad]:
    """Return the rows of a table for people: each operation, then those of a scenario and all together."""
    return [*load.operations, *(load.totals if len(load.operations) > 1 else ())]


def point_times(point: CapacityPoint) -> dict[str, str]:
    """Return the recorded times of a point of a capacity search, by heading, formatted for people."""
    return {
        column.heading: milliseconds(time)
        for column in SHOWN_TIMES
        if (time := getattr(point, column.key, None)) is not None
    }
