"""What a load run measured: the shape of ``load.json``, beside ``run.json`` in the folder of the run."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, TypeAdapter

from knouds_harness.runs.capacity_results import Capacity

LOAD_FILE: Final = "load.json"
LOAD_KIND: Final = "load"
"""What the record of such a run says that it is."""
FORMAT_VERSION: Final = 1
ALL_OPERATIONS: Final = "all operations"
"""Stands in place of an operation where all of them are meant together."""
SECOND_TIMES: Final = {"p50_ms": "median", "p99_ms": "99th percentile", "max_ms": "longest"}
"""What ``seconds.csv`` says of the times of one second, and what charts over time call it."""
MOSTLY: Final = 0.5
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

    @property
    def label(self) -> str:  # noqa: D102 - said above
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
        percentiles: Percentiles by percent as text, those of ``measures.percentiles``; within 0.1 %.
    """

    count: Count
    mean_ms: Amount | None = None
    min_ms: Amount
    max_ms: Amount
    percentiles: Mapping[str, Amount]


NO_TIMES: Final = Times(count=0, mean_ms=0.0, min_ms=0.0, max_ms=0.0, percentiles={})
"""Nothing was measured, or not recorded."""


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """A straight piece of the load's course: from one level to another, in requests per second or users."""

    duration_s: float
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """What was asked for.

    Attributes:
        model: ``open`` (arrivals on a schedule) or ``closed`` (users who wait for their answers).
        spacing: Spacing of open arrivals: ``constant`` or ``poisson``.
        stages: The level over time: arrivals per second, or users.
        warm_up_s: Left out of every figure.
        users: Simulated users; in the open model the most requests in flight.
        verified_share: The share of answers that was to be checked against the contract, from 0 to 1; 0 for a
            sample.
        inputs: The mix, what is run by name, and the file of inputs with its lines and their order; or empty.
    """

    scenario: str
    question: str
    model: Literal["open", "closed"]
    spacing: str
    stages: tuple[PlannedStage, ...]
    duration_s: float
    warm_up_s: float
    users: int
    workers: int
    seed: int
    client: str
    verified_share: float = 0.0
    inputs: str = ""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What generated the load: two runs compare only as far as these agree."""

    python: str
    build: str
    versions: Mapping[str, str]
    platform: str
    cores: int
    timer: str


@dataclass(frozen=True, kw_only=True)
class DelayedFigure:
    """A figure that the generator's own delay has moved by more than is allowed.

    Attributes:
        operation: Name as in ``OperationLoad``; ``ALL_OPERATIONS`` for all together.
        measure: As in ``measures.percentiles.TIME_MEASURES``.
        undelayed_ms: What it would be without the delay: an estimate.
    """

    operation: str
    measure: str
    measured_ms: Amount
    undelayed_ms: Amount


class Doubt(StrEnum):
    """What a reason against a measurement is about.

    Attributes:
        MISSING: Figures are missing, such as those of a lost worker.
        UNSENT: Less was sent than was asked for.
        BUSY: No user was idle when a task was due, so less was sent than was asked for.
        DELAY: The generator's own delay has moved figures; it can only have made them worse.
    """

    MISSING = "missing"
    UNSENT = "unsent"
    BUSY = "busy"
    DELAY = "delay"


@dataclass(frozen=True, kw_only=True)
class Validity:
    """Whether the generator kept up, so that the figures are the target's.

    Attributes:
        doubts: What each reason is about; empty in older records.
        accuracy: By which share of itself the generator's own delay may move a valid figure.
        delayed: Figures that it has moved by more. p99.9 and max alone do not make a run invalid.
        asked_per_s: Arrivals per second that the plan asked for after the warm-up; None in the closed model.
        achieved_per_s: Arrivals that were sent; in the closed model requests.
        arrivals: Arrivals that were due; 0 in the closed model.
        dropped: Arrivals that found no idle user.
        lateness: Time from an arrival's instant until its request was begun.
        loop_lag: How late a heartbeat of the event loop came.
        cpu_share: Share of one core that the busiest process used, from 0 to 1.
    """

    is_valid: bool
    reasons: tuple[str, ...]
    asked_per_s: float | None
    achieved_per_s: float
    arrivals: int
    dropped: int
    lateness: Times
    loop_lag: Times
    cpu_share: float
    doubts: tuple[Doubt, ...] = ()
    accuracy: float = 0.01
    delayed: tuple[DelayedFigure, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ErrorCount:
    """How often an operation ended in one way.

    Attributes:
        code: The envelope's code, or the name of what failed.
        exchanges: Ids of some of them in ``exchanges.har``.
    """

    outcome: str
    status: int | None
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
        dns: Looking up the server's name, for each connection that was opened.
        connect: Opening TCP for it.
        tls: Its TLS handshake.
        connections_opened: How many were opened.
        connections_reused: Requests that were sent over one that stood.
        sent_bytes: Heads and bodies of all requests, as HTTP/1.1 has them: before TLS, without TCP.
        received_bytes: Likewise of all answers, also of those that were not whole.
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


@dataclass(frozen=True, kw_only=True)
class SecondRow:
    """One second of one operation, or of all, warm-up included: a line of ``seconds.csv``.

    Those of all have times alone, so that sums over lines count each request once.

    Attributes:
        operation: Name as in ``OperationLoad``; ``ALL_OPERATIONS`` in one line of each second.
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


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """Asynchronous runs from submit to their end.

    Attributes:
        endings: Executions by final status; ``unfinished`` for those whose end was not seen.
        lost_to_polling: From the last poll that saw it in flight to the one that saw its end: at most so much
            was lost by not looking.
        webhook_delay: Time from the end, as the target tells it, until its delivery came; by two clocks.
        undelivered: Deliveries that were awaited in vain.
        polls: How many polls a cycle took, by number.
    """

    submitted: int
    endings: Mapping[str, int]
    to_accept: Times
    to_final: Times
    lost_to_polling: Times
    webhook_delay: Times
    polls: Mapping[int, int]
    undelivered: int = 0


@dataclass(frozen=True, kw_only=True)
class JudgedObjective:
    """An objective, and what came of it.

    Attributes:
        bound: At most this; for ``requests_per_s`` at least.
        observed: Figure; None where nothing was measured, which misses it.
        doubt: Why a miss may be the generator's and not the target's, in a sentence; empty if it cannot be.
    """

    operation: str
    measure: str
    bound: float
    observed: float | None
    is_met: bool
    fact: str = ""
    doubt: str = ""


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """What had to hold over the whole history of a run.

    Attributes:
        seen: Number of times that it could have been broken.
        example: One of those, in words.
        excused: Number of times that it was broken without failing the run: only an assumption, or waived.
        missing: What it would have taken to see it, where it was not; it is untested.
    """

    fact: str
    says: str
    seen: int
    broken: int
    example: str = ""
    excused: int = 0
    missing: str = ""

    @property
    def state(self) -> Literal["broken", "excused", "kept", "untested"]:
        """What came of it, in a word."""
        if self.broken:
            return "broken"
        if self.excused:
            return "excused"
        return "kept" if self.seen else "untested"


@dataclass(frozen=True, kw_only=True)
class LimitWindow:
    """A window of a rate limit, as answers told of it.

    Attributes:
        user: Whose account: limits count all keys of one together.
        ends_unix_s: End by ``X-RateLimit-Reset``, by the target's clock.
        longest_wait_s: The most that ``Retry-After`` told one of these to wait; 0 for none.
        waits_kept: How many came again after as long as they were told to wait, and found another window.
        waits_broken: How many were refused for this one nevertheless.
    """

    user: str
    operation: str
    tier: str
    limit: int
    ends_unix_s: int
    admitted: int = 0
    throttled: int = 0
    longest_wait_s: int = 0
    waits_kept: int = 0
    waits_broken: int = 0


class LoadVerdict(StrEnum):
    """What a whole run says, the first that is true.

    Attributes:
        BROKEN: A promise was broken.
        FAILED: Nothing was measured of an operation, or a task raised an exception.
        MISSED: An objective was missed, and that was not the generator.
        INVALID: The generator may be the reason of what was missed, or nothing can be said of the target.
        MET: All objectives were met.
        MEASURED: There were no objectives.
    """

    BROKEN = "broken"
    FAILED = "failed"
    MISSED = "missed"
    INVALID = "invalid"
    MET = "met"
    MEASURED = "measured"


@dataclass(frozen=True, kw_only=True)
class LoadResults:
    """The contents of ``load.json``.

    Attributes:
        begun_unix_s: When load began; None in older records, and where it never did.
        windows: Windows of rate limits, warm-up included; the first two thousand of a run.
        overall: Response times of all that was kept, of all operations.
        is_steady: Whether throughput and times became steady; None where the load was to change, or the run
            was too short to tell.
        steady_from_s: Since when, in seconds since the start.
    """

    format: Literal["knouds-harness load"] = "knouds-harness load"
    format_version: Literal[1] = FORMAT_VERSION
    plan: LoadPlan
    fingerprint: Fingerprint
    validity: Validity
    operations: tuple[OperationLoad, ...]
    objectives: tuple[JudgedObjective, ...]
    cycles: Cycles | None = None
    capacity: Capacity | None = None
    invariants: tuple[Invariant, ...] = ()
    begun_unix_s: float | None = None
    windows: tuple[LimitWindow, ...] = ()
    overall: Times | None = None
    is_steady: bool | None = None
    steady_from_s: float | None = None
    cost_credits: float = 0.0
    note: str = ""

    @property
    def total(self) -> OperationLoad:
        """All operations together: counts added up, and the times of ``overall``, as far as recorded."""
        response = self.overall or NO_TIMES
        return OperationLoad(
            operation=ALL_OPERATIONS,
            requests=sum(each.requests for each in self.operations),
            per_s=sum(each.per_s for each in self.operations),
            outcomes={
                outcome: sum(each.outcomes[outcome] for each in self.operations) for outcome in OUTCOMES
            },
            errors=(),
            response=response,
            service=response if self.plan.model == "closed" else NO_TIMES,
            refused_response=NO_TIMES,
            server=NO_TIMES,
            connections_opened=sum(each.connections_opened for each in self.operations),
            connections_reused=sum(each.connections_reused for each in self.operations),
            sent_bytes=sum(each.sent_bytes for each in self.operations),
            received_bytes=sum(each.received_bytes for each in self.operations),
        )

    @property
    def verdict(self) -> LoadVerdict:
        """The target is judged first: a doubt about the generator hides nothing that it cannot explain."""
        missed = [each for each in self.objectives if not each.is_met]
        if any(each.broken for each in self.invariants):
            return LoadVerdict.BROKEN
        if self.task_errors or self.never_kept or self.mostly_failed:
            return LoadVerdict.FAILED
        if any(not each.doubt for each in missed):
            return LoadVerdict.MISSED
        # Where objectives are met in spite of a delay, they are met.
        is_only_delayed = bool(self.objectives) and {*self.validity.doubts} == {Doubt.DELAY}
        if missed or not (self.validity.is_valid or is_only_delayed):
            return LoadVerdict.INVALID
        return LoadVerdict.MET if self.objectives else LoadVerdict.MEASURED

    @property
    def task_errors(self) -> tuple[OperationLoad, ...]:
        """Tasks that raised exceptions, each in place of an operation."""
        return tuple(each for each in self.operations if each.operation.startswith(TASK))

    @property
    def never_kept(self) -> tuple[OperationLoad, ...]:
        """Operations that were sent, and of which not one request was kept: nothing was measured of them."""
        return tuple(
            each
            for each in self.operations
            if each.requests and not each.outcomes["kept"] and each not in self.task_errors
        )

    @property
    def mostly_failed(self) -> tuple[OperationLoad, ...]:
        """Operations of which at least every second request was an error: the others say little of them."""
        return tuple(each for each in self.operations if each.error_rate >= MOSTLY and each.requests)


@cache
def load_file_format() -> TypeAdapter[LoadResults]:
    """Writes and reads ``load.json``."""
    return TypeAdapter(LoadResults)
