"""A hand-made record of a load run with everything that a report can show."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from load_records import START_UNIX_S, load_run, lognormal_seconds, missed, times, validity
from run_records import exchange

from knouds_harness.runs.load_plan import PlannedStage
from knouds_harness.runs.load_results import (
    Capacity,
    CapacityPoint,
    Cycles,
    Invariant,
    JudgedObjective,
    LimitWindow,
)

_MEDIAN_MS = {"getWhoami": 4.0, "runWorkflow": 45.0, "runWorkflow async": 60.0}
_OBJECTIVES = (
    missed("p99_ms", 250.0, 431.0),
    JudgedObjective(
        operation="runWorkflow async",
        measure="max_ms",
        bound=500.0,
        observed=412.0,
        is_met=True,
        fact="async.submit-under-500-ms",
    ),
)
_CYCLES = Cycles(
    submitted=300,
    endings={"completed": 280, "failed": 12, "cancelled": 8},
    to_accept=times(60.0, 180.0),
    to_final=times(480.0, 900.0),
    lost_to_polling=times(120.0, 480.0),
    polls={1: 20, 2: 200, 3: 80},
)
_CAPACITY = Capacity(
    highest_per_s=400.0,
    kept_points=5,
    tried_points=5,
    kept_share_at_least=0.55,
    lowest_failing_per_s=450.0,
    knee_per_s=350.0,
    points=tuple(
        CapacityPoint(
            asked_per_s=rate,
            achieved_per_s=rate,
            mean_ms=p50_ms,
            p50_ms=p50_ms,
            p99_ms=p50_ms * 4,
            error_rate=0.0,
            is_kept=rate <= 400,
            reason="" if rate <= 400 else "p99 of 1,080 ms",
        )
        for rate, p50_ms in ((100.0, 20.0), (200.0, 21.0), (400.0, 45.0), (450.0, 270.0))
    ),
)
_INVARIANTS = tuple(
    Invariant(fact=fact, says=says, seen=seen, broken=broken, example=example)
    for fact, says, seen, broken, example in (
        ("async.execution-id-is-uuid", "Each execution has an id of its own.", 300, 0, ""),
        ("run.cost-is-credits", "Costs are those of usage.", 280, 2, "a run said 12 credits, its row 8"),
        ("rate.body-has-retry-after", "Refusals say when to come again.", 0, 0, ""),
    )
)


def window(
    number: int = 0, *, user: str = "pia", tier: str = "pro", limit: int = 100, **counts: int
) -> LimitWindow:
    return LimitWindow(
        user=user,
        operation="runWorkflow",
        tier=tier,
        limit=limit,
        ends_unix_s=int(START_UNIX_S) + 45 + 60 * number,
        **counts,
    )


_WINDOWS = (
    window(0, user="bea", tier="business", limit=1000, admitted=640),
    window(0, admitted=100, throttled=48, longest_wait_s=41, waits_kept=3),
    window(1, admitted=60),
)


_FAILED_RUN = exchange(
    1, "runWorkflow", status=500, body={"error": "The model failed.", "code": "EXECUTION_FAILED"}
)


def loaded(root: Path, *, seconds: int = 60) -> Path:
    """Make a run with ten slow seconds, throttling, some failures, and a missed objective."""

    def others(name: str, at_s: int) -> dict[str, int]:
        is_throttled = name == "getWhoami" and seconds // 5 <= at_s < seconds // 5 + 4
        failed = {"failed" if at_s % 2 else "wrong": 1} if at_s % 7 == 3 else {}
        return failed | ({"throttled": 12} if is_throttled else {})

    return _load_run(
        root,
        seconds,
        _MEDIAN_MS,
        others=others,
        outcome="broken",
        exit_code=1,
        objectives=_OBJECTIVES,
        cycles=_CYCLES,
        capacity=_CAPACITY,
        invariants=_INVARIANTS,
        windows=_WINDOWS,
    )


def calm(root: Path) -> Path:
    """Make a run in which every request was kept and no objective missed, and nothing else was judged."""
    return _load_run(root, 20, {"getWhoami": 4.0}, objectives=_OBJECTIVES[1:])


def unmeasured(root: Path) -> Path:
    """Make a run that was interrupted before its first response."""
    nothing = validity(is_valid=False, reasons=("Nothing was sent.",), achieved_per_s=0.0, arrivals=0)
    return load_run(root, {}, outcome="interrupted", exit_code=130, overall=None, validity=nothing)


def _load_run(root: Path, seconds: int, median_ms_by_operation: Mapping[str, float], **more: Any) -> Path:
    chance = random.Random(1)
    drawn = {}
    for name, median_ms in median_ms_by_operation.items():
        usual, slow = (
            lognormal_seconds(1, median_ms=median, spread=0.5, per_s=40)
            for median in (median_ms, median_ms * 6)
        )
        drawn[name] = [
            chance.choice(slow if seconds / 2 <= at_s < seconds / 2 + 10 else usual)
            for at_s in range(seconds)
        ]
    plan = {
        "scenario": "mixed",
        "question": "How does the server carry what a real integrator does, all of it at once?",
        "duration_s": float(seconds),
        "warm_up_s": 5.0,
        "stages": (
            PlannedStage(duration_s=10.0, start=20.0, end=120.0),
            PlannedStage(duration_s=seconds - 10.0, start=120.0, end=120.0),
        ),
        "verified_share": 0.1,
    }
    return load_run(
        root,
        drawn,
        evidence=[_FAILED_RUN],
        plan=plan,
        overall=times(45.0, 300.0, count=9000),
        begun_unix_s=START_UNIX_S,
        is_steady=True,
        steady_from_s=8.0,
        cost_credits=31.5,
        **more,
    )
