"""The columns of load's tables: one description for terminal, HTML, Markdown, CSV and OpenMetrics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from knouds_harness.measures.percentiles import PERCENTS, RECORDED_PERCENTS, percentile_measure, time_ms
from knouds_harness.runs.capacity_results import CapacityPoint
from knouds_harness.runs.load_results import ERRORS, OUTCOMES, LoadResults, OperationLoad, Times

Subject = TypeVar("Subject", OperationLoad, Times)

TIMES: Final = ("response", "service")
"""The times of an operation that files for programs hold."""
_FORMATS: Final = {"count": ",.0f", "per_s": ",.1f", "share": ".2%"}


@dataclass(frozen=True, kw_only=True)
class LoadColumn(Generic[Subject]):
    """A column: a figure of an operation, or of its response or service times.

    Attributes:
        key: Name in CSV; for times after ``response_`` or ``service_``.
        heading: Heading in HTML; in lower case in the terminal and in Markdown.
        unit: Unit, which decides the format.
        figure: Returns the figure of an operation; None if it is not known.
        metric: Family in OpenMetrics, with a prefix as in CSV; empty if other metrics say it already.
        label: Label in that family, as name and value.
        says: Help text in OpenMetrics.
        rank: Order in which a narrow terminal drops columns: the highest first, 0 never.
        is_bad: Whether any figure but zero is shown as bad.
        is_hidden_if_zero: Whether tables of text leave it out if all figures are zero.
        is_for_programs: Whether only files for programs have it.
    """

    key: str
    heading: str
    unit: Literal["count", "per_s", "share", "ms"]
    figure: Callable[[Subject], float | None]
    metric: str
    label: tuple[str, str] | None = None
    says: str
    rank: int
    is_bad: bool = False
    is_hidden_if_zero: bool = False
    is_for_programs: bool = False

    def text(self, subject: Subject, *, with_unit: bool = True) -> str:
        """The figure for people.

        Args:
            subject: Whose figure.
            with_unit: ``12.3 ms`` and not ``12.3``; of times alone.
        """
        number = self.figure(subject)
        if self.unit == "ms" or number is None:
            return milliseconds(number) if with_unit else milliseconds(number).removesuffix(" ms")
        return f"{number:{_FORMATS[self.unit]}}"


@dataclass(frozen=True, kw_only=True)
class TextColumn:
    """A column of a table of text: its heading, and a cell for each operation."""

    heading: str
    cells: tuple[str, ...]
    rank: int


def _outcome(outcome: str) -> LoadColumn[OperationLoad]:
    return LoadColumn(
        key=outcome,
        heading=outcome.capitalize(),
        unit="count",
        figure=lambda load: load.outcomes[outcome],
        metric="requests",
        label=("outcome", outcome),
        says="Requests after the warm-up.",
        rank=9 if outcome == "kept" else 3,
        is_bad=outcome in ERRORS,
        is_hidden_if_zero=outcome != "kept",
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
        says="Times of requests that were kept; quantile 1 is the longest.",
        rank={"75": 8, "90": 7, "99.9": 4}.get(percent, 0),
        is_for_programs=percent not in PERCENTS,
    )


OPERATION_COLUMNS: tuple[LoadColumn[OperationLoad], ...] = (
    LoadColumn(
        key="requests",
        heading="Requests",
        unit="count",
        figure=lambda load: load.requests,
        metric="",
        says="Requests that ended, however.",
        rank=2,
    ),
    LoadColumn(
        key="per_s",
        heading="Per s",
        unit="per_s",
        figure=lambda load: load.per_s,
        metric="requests_per_second",
        says="Requests per second after the warm-up.",
        rank=6,
    ),
    *map(_outcome, OUTCOMES),
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
)
TIME_COLUMNS: tuple[LoadColumn[Times], ...] = (
    LoadColumn(
        key="mean_ms",
        heading="Mean",
        unit="ms",
        figure=lambda times: time_ms(times, "mean_ms"),
        metric="mean_time_seconds",
        says="Mean time of requests that were kept.",
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
        says="Times of requests that were kept; quantile 1 is the longest.",
        rank=5,
    ),
)


def milliseconds(number: float | None) -> str:
    """A time, with as many digits as tell something; a dash where it is not known."""
    if number is None:
        return "-"
    digits = 0 if number >= 100 else 1 if number >= 10 else 2
    return f"{number:,.{digits}f} ms"


def rows_of(load: LoadResults) -> list[OperationLoad]:
    """The rows of a table for people: each operation, then all together where there are several."""
    return [*load.operations, *([load.total] if len(load.operations) > 1 else [])]


def operation_columns(*, for_programs: bool = False) -> list[LoadColumn[OperationLoad]]:
    """The columns of operations: those that people see, or all."""
    return [column for column in OPERATION_COLUMNS if for_programs or not column.is_for_programs]


def time_columns(*, for_programs: bool = False) -> list[LoadColumn[Times]]:
    """The columns of times: those that people see, or all."""
    return [column for column in TIME_COLUMNS if for_programs or not column.is_for_programs]


def point_times(point: CapacityPoint) -> dict[str, str]:
    """The times that the record of a capacity search has of a point, by heading, for people."""
    return {
        column.heading: milliseconds(time)
        for column in time_columns()
        if (time := getattr(point, column.key, None)) is not None
    }


ERROR_HEADINGS: Final = ("operation", "outcome", "status", "code", "count", "such as")


def error_rows(load: LoadResults) -> list[tuple[str, str, str, str, str, str]]:
    """What was not kept, the most frequent first: the cells of ``ERROR_HEADINGS``, with one exchange."""
    found = [(each.operation, error) for each in load.operations for error in each.errors]
    return [
        (
            operation,
            error.outcome,
            str(error.status or "none"),
            error.code,
            f"{error.count:,}",
            next(iter(error.exchanges), ""),
        )
        for operation, error in sorted(found, key=lambda each: -each[1].count)
    ]


def text_columns(load: LoadResults, *, with_units: bool) -> list[TextColumn]:
    """The columns of a table of text, with the response times of ``rows_of``."""
    rows = rows_of(load)
    return [
        *(
            _text_column(column, rows, with_units=with_units)
            for column in operation_columns()
            if not column.is_hidden_if_zero or any(map(column.figure, rows))
        ),
        *(
            _text_column(column, [row.response for row in rows], with_units=with_units)
            for column in time_columns()
        ),
    ]


def _text_column(column: LoadColumn[Subject], subjects: list[Subject], *, with_units: bool) -> TextColumn:
    return TextColumn(
        heading=column.heading.lower(),
        cells=tuple(column.text(each, with_unit=with_units) for each in subjects),
        rank=column.rank,
    )
