"""How requests of load ended, and how long they took: statuses, percentiles, one operation, all, one second.

And what a scenario's own tasks count and measure beside requests (k6: custom metrics).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, model_validator

ALL_OPERATIONS: Final = "all operations"
"""Stands in place of an operation for all of them together."""
SECOND_TIMES: Final = {"p50_ms": "median", "p99_ms": "99th percentile", "max_ms": "longest"}
"""The times of one second in ``seconds.csv``, and their names in charts over time."""
_LABEL: Final = ": "
TASK: Final = "task "
"""Prefix of a task's name in place of an operation, under which its exceptions are counted."""
OUTSIDE: Final = "in front of the API: "
"""Begins the code of an error that never came from the API, such as the page of a gateway."""
COUNT: Final = "count"
TIME: Final = "time"
"""Measures of counters and times of a scenario's own; those of requests are others."""


def labelled(label: str, operation: str) -> str:
    """Return the name under which an operation is counted with a label, such as that of its scenario."""
    return f"{label}{_LABEL}{operation}"


def unlabelled(name: str) -> str:
    return name.rpartition(_LABEL)[2]


def labels_in(names: Iterable[str]) -> list[str]:
    """Return the labels that names have: of ``Readers: big: getWhoami`` these are two."""
    parts = (name.split(_LABEL)[:-1] for name in names)
    return sorted({_LABEL.join(each[: end + 1]) for each in parts for end in range(len(each))})


def is_total(name: str) -> bool:
    return unlabelled(name) == ALL_OPERATIONS


class RequestStatus(StrEnum):
    """How a request of load ended; tables, charts, the live view and files derive from this list.

    Attributes:
        is_error: It counts in the error rate.
    """

    __hash__ = str.__hash__  # Enum's own takes longer than the rest of a count

    means: str
    tone: Literal["good", "bad", "warn", "note"]
    chart_colour: str
    is_error: bool

    OK = "ok", "as promised", "good", "--good"
    THROTTLED = "throttled", "429", "warn", "--warn"
    REFUSED = "refused", "402, 403", "note", "--note"
    FAILED = "failed", "5xx, or no whole answer", "bad", "--bad", True
    WRONG = "wrong", "any other answer, such as a 2xx that breaks the contract", "bad", "--chart-5", True

    def __new__(
        cls,
        value: str,
        means: str = "",
        tone: Literal["good", "bad", "warn", "note"] = "note",
        chart_colour: str = "",
        is_error: bool = False,  # noqa: FBT001, FBT002 - as members are written
    ) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.means, member.tone, member.chart_colour, member.is_error = means, tone, chart_colour, is_error
        return member

    @classmethod
    def of(cls, status_code: int, exception: BaseException | None) -> Self:
        """Judge a request by what Locust's event ``request`` says of it.

        Args:
            status_code: 0 if there was no response.
            exception: None if the caller counts the response as a success.
        """
        if status_code == 429:
            return cls.THROTTLED
        if exception is None:
            return cls.WRONG if 300 <= status_code < 400 else cls.OK
        if status_code in {402, 403}:
            return cls.REFUSED
        return cls.FAILED if status_code == 0 or status_code >= 500 else cls.WRONG


STATUSES: Final = tuple(each.value for each in RequestStatus)
_OLD_NAMES: Final = {"kept": RequestStatus.OK.value}
"""Names of statuses in files of version 0.2."""


def status_named(name: str) -> str:
    return _OLD_NAMES.get(name, name)


ERRORS: Final = tuple(each.value for each in RequestStatus if each.is_error)
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class Times:
    """A distribution of times, in milliseconds. All are 0 if nothing was measured.

    Attributes:
        percentiles: The percentiles of ``RECORDED_PERCENTS``, by percent as text; exact to 0.1 %.
    """

    count: Count
    mean_ms: Amount | None = None
    min_ms: Amount
    max_ms: Amount
    percentiles: Mapping[str, Amount]


NO_TIMES: Final = Times(count=0, mean_ms=0.0, min_ms=0.0, max_ms=0.0, percentiles={})
"""Nothing was measured, or not recorded."""
PERCENTS: Final = ("50", "75", "90", "95", "99", "99.9")
"""Shown in reports, compared between runs and followed over them."""
RECORDED_PERCENTS: Final = (*PERCENTS, "99.99", "99.999")
"""Kept in ``load.json`` and in files for programs; the last two need more requests than most runs have."""


def percentile_measure(percent: str) -> str:
    """The name of a percentile as a measure: ``p95_ms`` for ``95``."""
    return f"p{percent}_ms"


def percent_of(measure: str) -> str:
    """The percent of a percentile as a measure: ``95`` for ``p95_ms``."""
    return measure.removeprefix("p").removesuffix("_ms")


PERCENTILES: Final = tuple(map(percentile_measure, PERCENTS))
TIME_MEASURES: Final = ("mean_ms", *PERCENTILES, "max_ms")
"""The measures of which it is told how far the generator's own delay may have raised them."""


def time_ms(times: Times, measure: str) -> float | None:
    """Return one measure of a distribution; None if nothing was measured, or an older record lacks it."""
    if not times.count:
        return None
    match measure:
        case "mean_ms":
            return times.mean_ms
        case "max_ms":
            return times.max_ms
    return times.percentiles.get(percent_of(measure))


@dataclass(frozen=True, kw_only=True)
class ErrorCount:
    """How often requests were not ok in one way.

    Attributes:
        status_code: None if there was no response.
        code: The envelope's code, or the name of the exception, or ``OUTSIDE`` with what answered.
        exchanges: Ids of some of these exchanges in ``exchanges.har``.
    """

    status: str
    status_code: int | None
    code: str
    count: int
    exchanges: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _of_an_older_file(cls, read: Any) -> Any:  # noqa: ANN401 - whatever the file has
        if isinstance(read, dict) and "outcome" in read:
            return {**read, "status": read["outcome"], "status_code": read.get("status")}
        return read


@dataclass(frozen=True, kw_only=True)
class TaskError:
    """How often a task raised an exception at one place."""

    task: str
    error: str
    count: int


def _of_every_status(counts: Mapping[str, int]) -> Mapping[str, int]:
    named = {status_named(name): count for name, count in counts.items()}
    if set(named) != set(STATUSES):
        raise ValueError(f"counts of {', '.join(counts)}")
    return named


@dataclass(frozen=True, kw_only=True)
class OperationLoad:
    """The metrics of one operation after the warm-up.

    Attributes:
        operation: The operationId, followed by `` async`` for asynchronous runs.
        per_s: Requests that were due, per second.
        throughput_per_s: Requests that ended while load went on, whenever they were due, per second. None in
            older records.
        by_status: The number of requests of each ``RequestStatus``; ``outcomes`` in files of version 0.2.
        response: Times of requests that are ok, from when one was due (open model) or sent (closed) to the
            last byte of the response.
        refused_response: Response times of all others.
        server: The ``ms`` in responses of the server.
        first_byte: Times of these, from when a request was written to the first byte of the response.
            Only our own client measures this and all below; older records do not have them.
        body: From the first byte to the last; 0 if one read had the whole response.
        doubts_ms: By how much the generator's own delay may have raised each measure of ``response``.
        connections_reused: Requests that were sent over an open connection.
        sent_bytes: Heads and bodies of all requests, as HTTP/1.1 has them: before TLS, without TCP.
    """

    operation: str
    requests: Count
    per_s: Amount
    by_status: Annotated[
        Mapping[str, Count],
        Field(validation_alias=AliasChoices("by_status", "outcomes")),
        AfterValidator(_of_every_status),
    ]
    errors: tuple[ErrorCount, ...]
    response: Times
    service: Times
    refused_response: Times
    server: Times
    first_byte: Times = NO_TIMES
    body: Times = NO_TIMES
    dns: Times = NO_TIMES
    connect: Times = NO_TIMES
    tls: Times = NO_TIMES
    connections_opened: Count = 0
    connections_reused: Count = 0
    sent_bytes: Count = 0
    received_bytes: Count = 0
    throughput_per_s: Amount | None = None
    doubts_ms: Mapping[str, Amount] = field(default_factory=dict)

    @property
    def error_rate(self) -> float:
        """The share of requests that failed or were wrong; throttled and refused ones are not errors."""
        errors = min(sum(self.by_status[name] for name in ERRORS), self.requests)
        return errors / self.requests if self.requests else 0.0

    @property
    def throttled_rate(self) -> float:
        """The share of requests that a rate limit refused (429)."""
        return self.by_status[RequestStatus.THROTTLED] / self.requests if self.requests else 0.0

    @property
    def lags(self) -> bool:
        """Whether answers came less often than requests were due, by more than a hundredth."""
        return self.throughput_per_s is not None and self.throughput_per_s < (1 - _LEAST_LAG) * self.per_s


@dataclass(frozen=True, kw_only=True)
class SecondRow:
    """One second of one operation, or of all, warm-up included: a line of ``seconds.csv``.

    A second may have several lines of an operation, whose counts add up: what was due in the warm-up and what
    later, and what a process handed over late. Lines of ``ALL_OPERATIONS`` are sums, and have no spread.

    Attributes:
        p50_ms: Of requests that are ok; None if there are none.
        spread: Counts of these times, written by ``load_record.spread_text``; empty in older records.
    """

    at_s: int
    operation: str
    by_status: Mapping[str, int]
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    spread: str = ""


@dataclass(frozen=True, kw_only=True)
class CustomMetric:
    """A counter, or a time that tasks measured, after the warm-up.

    Attributes:
        count: The sum of what was added to the counter; of a time, how often it was measured.
        times: None for a counter.
    """

    name: str
    count: Amount
    per_s: Amount
    times: Times | None = None

    @property
    def operation(self) -> str:
        """Its name, where objectives have that of an operation."""
        return self.name


_LEAST_LAG: Final = 0.01
_CLEARLY_MORE: Final = 1.1
_LONG: Final = 0.3
"""The share of a load that answers take on average from which requests in flight are a backlog, too."""
_WAITED: Final = 0.9
"""The share of the time in which a backlog is answered that its last request has waited at least."""
_ADDED_UP: Final = tuple(each.name for each in fields(OperationLoad) if each.default == 0)
"""Counts of an operation that older records do not have."""


def together(
    name: str, loads: Sequence[OperationLoad], response: Times, *, model: str = "open"
) -> OperationLoad:
    """Add up operations; ``response`` are the times of their requests that are ok."""
    throughputs_per_s = [each.throughput_per_s for each in loads if each.throughput_per_s is not None]
    return OperationLoad(
        operation=name,
        requests=sum(each.requests for each in loads),
        per_s=sum(each.per_s for each in loads),
        throughput_per_s=sum(throughputs_per_s) if len(throughputs_per_s) == len(loads) else None,
        by_status={status: sum(each.by_status[status] for each in loads) for status in STATUSES},
        errors=(),
        response=response,
        service=response if model == "closed" else NO_TIMES,
        refused_response=NO_TIMES,
        server=NO_TIMES,
        **{each: sum(getattr(load, each) for load in loads) for each in _ADDED_UP},
    )


def totals_of(
    operations: Sequence[OperationLoad],
    overall: Times,
    overall_by_label: Mapping[str, Times],
    *,
    model: str = "open",
) -> tuple[OperationLoad, ...]:
    """Add up the operations of each label, such as those of a scenario, then all."""
    by_label = (
        together(
            labelled(label, ALL_OPERATIONS),
            [each for each in operations if each.operation.startswith(labelled(label, ""))],
            times,
            model=model,
        )
        for label, times in overall_by_label.items()
    )
    return (*by_label, together(ALL_OPERATIONS, operations, overall, model=model))


def backlog_of(total: OperationLoad, *, warm_up_s: float) -> int:
    """Return how many more requests waited for their answers at the end; 0 if the target kept up.

    Requests that are in flight at any moment, as many as are due in the time of an answer, do not count,
    unless answers take a good part of the load. Nor do those that are sent later on purpose, as polls are:
    the last of a queue waits until all before it are answered.
    """
    mean_s = (total.response.mean_ms or 0.0) / 1e3
    longest_s = (time_ms(total.response, "max_ms") or 0.0) / 1e3
    if not mean_s or not total.throughput_per_s or not total.lags:
        return 0
    grown = total.requests * (1 - total.throughput_per_s / total.per_s)
    at_first = total.per_s * max(0.0, mean_s - warm_up_s)
    is_more = grown > _CLEARLY_MORE * at_first + 4 * math.sqrt(total.per_s * mean_s)
    is_long = mean_s > _LONG * total.requests / total.per_s
    is_queue = longest_s > _WAITED * grown / total.throughput_per_s
    return round(grown) if is_queue and (is_more or is_long) else 0


def describe_backlog(total: OperationLoad, backlog: int) -> str:
    """Say that the target did not keep up, as reports and the reason why tasks were not sent do."""
    rates = f"{total.throughput_per_s:,.1f}/s of {total.per_s:,.1f}/s due"
    return f"Answers came at {rates}: the backlog grew by {backlog:,} requests."
