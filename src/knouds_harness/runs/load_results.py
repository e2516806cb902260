"""What a load run measured: the shape of ``load.json``, beside ``run.json`` in the folder of the run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Literal

from knouds_harness.runs.load_plan import Fingerprint, LoadPlan, PlannedStage
from knouds_harness.runs.operation_load import (
    ALL_OPERATIONS,
    NO_TIMES,
    Amount,
    Count,
    CustomMetric,
    OperationLoad,
    RequestStatus,
    TaskError,
    Times,
    backlog_of,
    labelled,
    together,
    totals_of,
)

LOAD_FILE: Final = "load.json"
LOAD_KIND: Final = "load"
MOSTLY: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class DelayedFigure:
    """A figure that the generator's own delay has moved by more than is allowed.

    Attributes:
        undelayed_ms: How low it may be without the delay; None if a single request decides it.
    """

    operation: str
    measure: str
    measured_ms: Amount
    undelayed_ms: Amount | None


class Doubt(StrEnum):
    """What kind of reason makes a measurement invalid.

    Attributes:
        MISSING: Figures are missing, such as those of a lost worker.
        UNSENT: Less was sent than was asked for.
        BUSY: No user was idle when a task was due, so less was sent than was asked for.
        SLOW_TARGET: The same, as the target did not keep up.
        DELAY: The generator's own delay has moved figures; only in older records.
    """

    MISSING = "missing"
    UNSENT = "unsent"
    BUSY = "busy"
    SLOW_TARGET = "slow_target"
    DELAY = "delay"


@dataclass(frozen=True, kw_only=True)
class Validity:
    """Whether the generator kept up, so that the figures are the target's.

    Attributes:
        delayed: Figures that the generator's own delay may have moved by more than ``accuracy``.
        asked_per_s: Arrivals per second that the plan asked for after the warm-up; None in the closed model.
        achieved_per_s: Arrivals that were sent, per second; in the closed model requests.
        unsent: Arrivals that were due, not dropped, and not sent before the load ended.
        lateness: Time from when an arrival was due until a user took it.
        cpu_share: Share of one core that the busiest process used, from 0 to 1.
        stalled_s: How long event loops stood still, over a millisecond at a time; for ``own_s`` of it their
            process computed, for ``queued_s`` it waited for a processor that other work had.
        early_s: How much of that was in the first two seconds of the load.
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
    stalled_s: Amount = 0.0
    own_s: Amount = 0.0
    queued_s: Amount = 0.0
    early_s: Amount = 0.0
    unsent: int = 0
    doubts: tuple[Doubt, ...] = ()
    accuracy: float = 0.05
    delayed: tuple[DelayedFigure, ...] = ()

    @property
    def not_sent(self) -> int:
        return self.dropped + self.unsent


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """Asynchronous runs from submit to their end.

    Attributes:
        endings: Executions by final status; ``unfinished`` for those whose end was not seen.
        lost_to_polling: Time from the last poll that saw a run in flight to the one that saw its end: the
            most that polling can have added.
        polls: How many cycles took each number of polls.
    """

    submitted: int
    endings: Mapping[str, int]
    to_accept: Times
    to_final: Times
    lost_to_polling: Times
    polls: Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class CapacityPoint:
    """One short run at one rate, of a capacity search.

    Attributes:
        p95_ms: None in older records.
        is_kept: All objectives were met, and the generator kept up.
        is_generator_limit: The generator did not keep up, so the point says nothing of the target.
    """

    asked_per_s: float
    achieved_per_s: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    error_rate: float
    is_kept: bool
    p95_ms: float | None = None
    reason: str = ""
    is_generator_limit: bool = False


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What a capacity search found.

    Attributes:
        highest_per_s: The highest rate that kept the objectives; None if no rate did.
        kept_share_at_least: At least this share of points at that rate keeps them, with 95 % confidence.
        is_generator_limit: It was the generator that did not keep up at ``lowest_failing_per_s``.
        knee_per_s: Rate from which response times rise faster than throughput; None if none was found.
    """

    highest_per_s: float | None
    kept_points: int = 0
    tried_points: int = 0
    kept_share_at_least: float = 0.0
    lowest_failing_per_s: float | None
    is_generator_limit: bool = False
    knee_per_s: float | None
    points: tuple[CapacityPoint, ...]
    limit: str = ""


@dataclass(frozen=True, kw_only=True)
class JudgedObjective:
    """An objective and its result.

    Attributes:
        bound: At most this; ``at_least`` and for requests and throughput at least.
        observed: The figure; None if nothing was measured, which misses the objective.
        nearest: Names of what was measured that are like one that was not.
        doubt: Why a miss may be the generator's and not the target's, in a sentence; empty if it cannot be.
        ended_run: Whether the miss ended the run early: a bound of ``--abort-on``.
        over_s: Over how many seconds that was judged.
        observed_in_all: The figure over the whole run, if ``observed`` is not that.
    """

    operation: str
    measure: str
    bound: float
    observed: float | None
    is_met: bool
    fact: str = ""
    nearest: tuple[str, ...] = ()
    doubt: str = ""
    ended_run: bool = False
    over_s: int = 10
    observed_in_all: float | None = None
    at_least: bool = False


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """A rule over the whole run, and how often it held.

    Attributes:
        excused: How often it was broken without failing the run: only an assumption, or waived.
        missing: What the run lacked to test it; empty if it was tested.
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
        if self.broken:
            return "broken"
        if self.excused:
            return "excused"
        return "kept" if self.seen else "untested"


@dataclass(frozen=True, kw_only=True)
class LimitWindow:
    """A window of a rate limit, as seen in responses.

    Attributes:
        ends_unix_s: End by ``X-RateLimit-Reset``, by the target's clock.
        longest_wait_s: The longest wait that a ``Retry-After`` asked for; 0 if none did.
        waits_kept: How many requests after that wait found another window.
        waits_broken: How many requests after that wait were refused for this window again.
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
    """The verdict of a whole run: the first of these that applies.

    Attributes:
        BROKEN: A promise was broken.
        FAILED: No request of an operation was ok, at least half were errors, or a task raised an exception.
        MISSED: An objective was missed, and the generator was not the cause.
        INVALID: The generator may be the cause of a miss, or the measurement is not valid.
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
class StageLoad:
    """What was due in one stage of the plan, after the warm-up; by plan, it ends ``to_s`` after the start."""

    number: int
    to_s: float
    plan: PlannedStage
    operations: tuple[OperationLoad, ...]
    overall: Times
    custom_metrics: tuple[CustomMetric, ...] = ()

    @property
    def label(self) -> str:
        return self.plan.label(self.number)

    @property
    def total(self) -> OperationLoad:
        return together(ALL_OPERATIONS, self.operations, self.overall)

    @property
    def named(self) -> list[OperationLoad | CustomMetric]:
        """Each operation, all together and metrics of one's own, under the names that objectives have."""
        operations = (*self.operations, self.total)
        return [
            *(replace(each, operation=labelled(self.label, each.operation)) for each in operations),
            *(replace(each, name=labelled(self.label, each.name)) for each in self.custom_metrics),
        ]


_STAGE: Final = re.compile(r"stage (\d{1,4}): ", re.ASCII)


def stage_of(name: str, number_by_label: Mapping[str, int]) -> tuple[int | None, str]:
    """Return the number of the stage that a name is of, None for all, and the name without it."""
    label, _, operation = name.partition(": ")
    if operation and label in number_by_label:
        return number_by_label[label], operation
    found = _STAGE.match(name)
    return (int(found[1]), name[found.end() :]) if found else (None, name)


@dataclass(frozen=True, kw_only=True)
class LoadResults:
    """The contents of ``load.json``.

    Attributes:
        answers: Responses that came, warm-up included; 0 in older records.
        verified_answers: Those that were judged; every other success had members that were judged before.
        begun_unix_s: When load began; None in older records, and if it never did.
        lasted_s: How long it lasted: less than the plan's duration if it ended early; None in older records.
        task_errors: The most frequent first, warm-up included; older records count them as an operation.
        stages: Those of a plan with several.
        windows: Windows of rate limits, warm-up included; the first two thousand of a run.
        overall: Response times of the requests of all operations that are ok.
        overall_by_label: The same of each label in names of requests: a scenario, or a Locust file's own.
        is_steady: Whether throughput and times became steady; None if the plan changes the load, or the run
            was too short to tell.
        steady_from_s: When they became steady, in seconds since the start.
        slow_seconds: Seconds of a level load in which requests took over five times as long as usual, or none
            was ok.
    """

    format: Literal["knouds-harness load"] = "knouds-harness load"
    format_version: Literal[1] = 1
    plan: LoadPlan
    fingerprint: Fingerprint
    validity: Validity
    operations: tuple[OperationLoad, ...]
    task_errors: tuple[TaskError, ...] = ()
    custom_metrics: tuple[CustomMetric, ...] = ()
    stages: tuple[StageLoad, ...] = ()
    objectives: tuple[JudgedObjective, ...]
    cycles: Cycles | None = None
    capacity: Capacity | None = None
    invariants: tuple[Invariant, ...] = ()
    answers: Count = 0
    verified_answers: Count = 0
    begun_unix_s: float | None = None
    lasted_s: Amount | None = None
    windows: tuple[LimitWindow, ...] = ()
    overall: Times | None = None
    overall_by_label: Mapping[str, Times] = field(default_factory=dict)
    is_steady: bool | None = None
    steady_from_s: float | None = None
    slow_seconds: tuple[int, ...] = ()
    cost_credits: float = 0.0
    note: str = ""

    @property
    def measured(self) -> list[OperationLoad | CustomMetric]:
        """All that objectives can be about."""
        return [*self.operations, *self.totals, *self.custom_metrics]

    @property
    def total(self) -> OperationLoad:
        """All operations together: counts added up, and the times of ``overall``, as far as recorded."""
        return self.totals[-1]

    @property
    def totals(self) -> tuple[OperationLoad, ...]:
        """The operations of each label together, such as those of a scenario, then all."""
        overall = self.overall or NO_TIMES
        return totals_of(self.operations, overall, self.overall_by_label, model=self.plan.model)

    @property
    def backlog(self) -> int:
        """How many requests more waited for an answer at the end, as the target did not keep up; or 0."""
        return backlog_of(self.total, warm_up_s=self.plan.warm_up_s) if self.plan.model == "open" else 0

    @property
    def verdict(self) -> LoadVerdict:
        """The target is judged first: a late generator excuses only misses that it can have caused."""
        missed = [each for each in self.objectives if not each.is_met]
        if any(each.broken for each in self.invariants):
            return LoadVerdict.BROKEN
        if self.task_errors or self.never_ok or self.mostly_failed:
            return LoadVerdict.FAILED
        if any(not each.doubt for each in missed):
            return LoadVerdict.MISSED
        # A delay alone, which older records have as a reason, is a doubt of figures and not of the run.
        if missed or not (self.validity.is_valid or {*self.validity.doubts} == {Doubt.DELAY}):
            return LoadVerdict.INVALID
        return LoadVerdict.MET if self.objectives else LoadVerdict.MEASURED

    @property
    def never_ok(self) -> tuple[OperationLoad, ...]:
        """Operations of which no request was ok."""
        return tuple(
            each for each in self.operations if each.requests and not each.by_status[RequestStatus.OK]
        )

    @property
    def mostly_failed(self) -> tuple[OperationLoad, ...]:
        """Operations of which at least half of the requests were errors."""
        return tuple(each for each in self.operations if each.error_rate >= MOSTLY and each.requests)
