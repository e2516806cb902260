"""Results of load runs made by hand, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knouds_harness.runs.load_progress import LoadProgress
from knouds_harness.runs.load_results import (
    OUTCOMES,
    ErrorCount,
    Fingerprint,
    JudgedObjective,
    LoadPlan,
    LoadResults,
    OperationLoad,
    PlannedStage,
    Times,
    Validity,
)


def times(p50_ms: float = 2.0, p99_ms: float = 9.0, *, count: int = 100) -> Times:
    """A distribution with two telling percentiles."""
    percentiles = {"50": p50_ms, "75": p50_ms, "90": p50_ms, "95": p99_ms, "99": p99_ms}
    return Times(
        count=count,
        mean_ms=p50_ms,
        min_ms=p50_ms / 2,
        max_ms=p99_ms,
        percentiles={**percentiles, "99.9": p99_ms, "99.99": p99_ms, "99.999": p99_ms},
    )


def operation(
    name: str = "whoami", *, requests: int = 100, response: Times | None = None, **outcomes: int
) -> OperationLoad:
    """An operation whose requests were kept, but for those that are named."""
    counts: Mapping[str, int] = {outcome: outcomes.get(outcome, 0) for outcome in OUTCOMES}
    counts = {**counts, "kept": requests - sum(outcomes.values())}
    response = response or times(count=requests)
    return OperationLoad(
        operation=name,
        requests=requests,
        per_s=requests / 10,
        outcomes=counts,
        errors=(),
        response=response,
        service=response,
        refused_response=times(count=0),
        server=times(count=0),
    )


def validity(**changes: Any) -> Validity:
    """A generator that kept up."""
    members: dict[str, Any] = {
        "is_valid": True,
        "reasons": (),
        "asked_per_s": 10.0,
        "achieved_per_s": 10.0,
        "arrivals": 100,
        "dropped": 0,
        "lateness": times(0.1, 0.5),
        "loop_lag": times(0.1, 1.0),
        "cpu_share": 0.3,
    }
    return Validity(**{**members, **changes})


def missed(measure: str = "p99_ms", bound: float = 5.0, observed: float | None = 9.0) -> JudgedObjective:
    """An objective that was missed."""
    return JudgedObjective(operation="whoami", measure=measure, bound=bound, observed=observed, is_met=False)


def load_results(**changes: Any) -> LoadResults:
    """A sound run of ten seconds at ten requests per second."""
    members: dict[str, Any] = {
        "plan": LoadPlan(
            scenario="reads",
            question="How fast are reads?",
            model="open",
            spacing="constant",
            stages=(PlannedStage(duration_s=10.0, start=10.0, end=10.0),),
            duration_s=10.0,
            warm_up_s=2.0,
            users=1000,
            workers=1,
            seed=7,
            client="knouds",
        ),
        "fingerprint": Fingerprint(
            python="CPython 3.11.7", build="GCC", versions={}, platform="Linux", cores=2, timer="timerfd"
        ),
        "validity": validity(),
        "operations": (operation(),),
        "objectives": (),
        "overall": times(),
    }
    return LoadResults(**{**members, **changes})


LIVE_PROGRESS = LoadProgress(
    folder="runs/one",
    at_s=23.4,
    duration_s=60.0,
    warm_up_s=5.0,
    asked_per_s=200.0,
    recent_per_s=198.2,
    in_flight=7,
    users=1000,
    requests=4711,
    outcomes={"kept": 4600, "throttled": 100, "refused": 0, "failed": 11, "wrong": 0},
    errors=(
        ErrorCount(outcome="throttled", status=429, code="RATE_LIMIT_EXCEEDED", count=100),
        ErrorCount(outcome="failed", status=None, code="ConnectionLost", count=11),
    ),
    percentiles_ms={"50": 1.2, "90": 3.4, "99": 120.3, "max": 400.0},
    spent_credits=230.0,
    most_credits=1000.0,
    cpu_share=0.34,
    lateness_p99_ms=0.4,
    loop_lag_p99_ms=0.9,
    dropped=3,
    limits=(),
)
