"""How requests of load ended, and how long they took: statuses, percentiles, one operation, one second."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field

ALL_OPERATIONS: Final = "all operations"
"""Stands in place of an operation where all of them are meant together."""
SECOND_TIMES: Final = {"p50_ms": "median", "p99_ms": "99th percentile", "max_ms": "longest"}
"""What ``seconds.csv`` says of the times of one second, and what charts over time call it."""
TASK: Final = "task "
"""Begins what stands in place of an operation where a task raised an exception: it counts as one request."""


class RequestStatus(StrEnum):
    """How a request of load ended: the one list, from which tables, charts, the live view and files derive.

    Attributes:
        is_error: It counts in the error rate.
        label: What people read; files keep the value.
    """

    __hash__ = str.__hash__  # Enum's own takes longer than the rest of a count

    means: str
    tone: Literal["good", "bad", "warn", "note"]
    chart_colour: str
    is_error: bool

    KEPT = "kept", "as promised", "good", "--good"
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
        """A member, and what is told of it."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.means, member.tone, member.chart_colour, member.is_error = means, tone, chart_colour, is_error
        return member

    @classmethod
    def of(cls, status_code: int, exception: BaseException | None) -> Self:
        """Judge a request by what Locust's event ``request`` says of it.

        Args:
            status_code: 0 where there was no answer.
            exception: None where the caller took the answer for a success.
        """
        if status_code == 429:
            return cls.THROTTLED
        if exception is None:
            return cls.WRONG if 300 <= status_code < 400 else cls.KEPT
        if status_code in {402, 403}:
            return cls.REFUSED
        return cls.FAILED if status_code == 0 or status_code >= 500 else cls.WRONG

    @property
    def label(self) -> str:
        return "ok" if self is RequestStatus.KEPT else self.value


OUTCOMES: Final = tuple(each.value for each in RequestStatus)
"""Statuses as files name them, where ``status`` is the one of HTTP."""


ERRORS: Final = tuple(each.value for each in RequestStatus if each.is_error)


Count = Annotated[int, Field(ge=0)]


Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class Times:
    """A distribution of times, in milliseconds. All are 0 where nothing was measured.

    Attributes:
        percentiles: Percentiles by percent as text, those of ``RECORDED_PERCENTS``; within 0.1 %.
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
    """What ``percentile_measure`` was given."""
    return measure.removeprefix("p").removesuffix("_ms")


PERCENTILES: Final = tuple(map(percentile_measure, PERCENTS))
TIME_MEASURES: Final = ("mean_ms", *PERCENTILES, "max_ms")
"""All that reports say of a distribution of times, in the order of their columns."""


def time_ms(times: Times, measure: str) -> float | None:
    """One metric of a distribution.

    Returns:
        None where nothing was measured, and where an older record does not say it.
    """
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
    """How often an operation ended in one way; the record has older names for two of its members.

    Attributes:
        code: The envelope's code, or the name of what failed.
        exchanges: Ids of some of them in ``exchanges.har``.
    """

    __pydantic_config__: ClassVar = ConfigDict(serialize_by_alias=True)
    status: Annotated[str, Field(alias="outcome")]
    status_code: Annotated[int | None, Field(alias="status")]
    code: str
    count: int
    exchanges: tuple[str, ...] = ()


def _of_every_outcome(counts: Mapping[str, int]) -> Mapping[str, int]:
    if set(counts) != set(OUTCOMES):
        raise ValueError(f"counts of {', '.join(counts)}")
    return counts


@dataclass(frozen=True, kw_only=True)
class OperationLoad:
    """One operation after the warm-up.

    Attributes:
        operation: The operationId, with `` async`` behind it for asynchronous runs.
        response: Times from the instant at which a request was due (open model) or sent (closed) to the last
            byte of its answer, of the requests that were kept.
        refused_response: Response times of all others.
        server: The server's own ``ms`` where it says them.
        first_byte: From when a request was written to the first byte of its answer, of those that were kept.
            This and all below are of our own client; older records do not have them.
        body: From the first byte to the last; 0 where one read had the whole answer.
        connections_reused: Requests that were sent over one that stood.
        sent_bytes: Heads and bodies of all requests, as HTTP/1.1 has them: before TLS, without TCP.
    """

    operation: str
    requests: Count
    per_s: Amount
    outcomes: Annotated[Mapping[str, Count], AfterValidator(_of_every_outcome)]
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

    @property
    def error_rate(self) -> float:
        """The share of requests that failed or were wrong; throttled and refused ones are not errors."""
        errors = min(sum(self.outcomes[name] for name in ERRORS), self.requests)
        return errors / self.requests if self.requests else 0.0

    @property
    def throttled_rate(self) -> float:
        """The share of requests that a rate limit refused (429)."""
        return self.outcomes[RequestStatus.THROTTLED] / self.requests if self.requests else 0.0


@dataclass(frozen=True, kw_only=True)
class SecondRow:
    """One second of one operation, or of all, warm-up included: a line of ``seconds.csv``.

    Those of all have times alone, so that sums over lines count each request once.

    Attributes:
        p50_ms: Of response times of kept requests; None where there are none.
        spread: How many of those took how long, by ``load_record.spread_text``; empty in older records.
    """

    at_s: int
    operation: str
    outcomes: Mapping[str, int]
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    spread: str = ""
