"""A hand-made record of a load run with everything that a report can show."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from load_records import (
    START_UNIX_S,
    histogram_of,
    load_results,
    lognormal_seconds,
    missed,
    operation,
    second_row,
    times,
    times_of,
    validity,
    write_load,
)
from run_records import exchange

from knouds_harness.measures.histograms import Histogram, middle_of
from knouds_harness.runs.load_plan import PlannedStage
from knouds_harness.runs.load_record import spread_text
from knouds_harness.runs.load_results import (
    Capacity,
    CapacityPoint,
    Cycles,
    Invariant,
    JudgedObjective,
    LimitWindow,
    LoadResults,
)
from knouds_harness.runs.operation_load import ALL_OPERATIONS, ErrorCount, OperationLoad, SecondRow, Times

_MEDIAN_MS = {"getWhoami": 4.0, "runWorkflow": 45.0, "runWorkflow async": 60.0}
_ERRORS = {
    "throttled": (429, "RATE_LIMITED"),
    "failed": (500, "EXECUTION_FAILED"),
    "wrong": (200, "the body is not JSON"),
}
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
        (
            *("run.cost-is-credits", "What runs cost is what usage says."),
            *(280, 2, "a run said 12 credits, its row 8"),
        ),
        ("rate.body-has-retry-after", "Refusals say when to come again.", 0, 0, ""),
    )
)


def _window(
    number: int, *, user: str = "pia", tier: str = "pro", limit: int = 100, **counts: int
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
    _window(0, user="bea", tier="business", limit=1000, admitted=640),
    _window(0, admitted=100, throttled=48, longest_wait_s=41, waits_kept=3),
    _window(1, admitted=60),
)


_FAILED_RUN = exchange(
    1, "runWorkflow", status=500, body={"error": "The model failed.", "code": "EXECUTION_FAILED"}
)


def loaded(root: Path, *, seconds: int = 60) -> Path:
    """Make a run with ten slow seconds, throttling, some failures, and a missed objective."""
    results, rows = _measured(seconds, _MEDIAN_MS)
    whole = replace(
        results,
        objectives=_OBJECTIVES,
        cycles=_CYCLES,
        capacity=_CAPACITY,
        invariants=_INVARIANTS,
        windows=_WINDOWS,
    )
    return write_load(root, whole, rows, answers=[_FAILED_RUN], ended=("broken", 1))


def calm(root: Path) -> Path:
    """Make a run in which every request was kept and no objective missed, and nothing else was judged."""
    results, rows = _measured(20, {"getWhoami": 4.0}, is_calm=True)
    return write_load(root, replace(results, objectives=_OBJECTIVES[1:]), rows)


def unmeasured(root: Path) -> Path:
    """Make a run that was interrupted before its first response."""
    nothing = validity(is_valid=False, reasons=("Nothing was sent.",), achieved_per_s=0.0, arrivals=0)
    results = load_results(operations=(), overall=None, validity=nothing)
    return write_load(root, results, [], ended=("interrupted", 130))


def _measured(
    seconds: int, median_ms_by_operation: Mapping[str, float], *, is_calm: bool = False
) -> tuple[LoadResults, list[SecondRow]]:
    chance = random.Random(1)
    rows: list[SecondRow] = []
    loads = []
    together: dict[int, Histogram] = defaultdict(Histogram)
    counted: dict[int, Counter[str]] = defaultdict(Counter)
    for name, median_ms in median_ms_by_operation.items():
        whole, counts = Histogram(), Counter[str]()
        usual, slow = (
            list(map(histogram_of, lognormal_seconds(1, median_ms=median, spread=0.5, per_s=40)))
            for median in (median_ms, median_ms * 6)
        )
        for at_s in range(seconds):
            histogram = chance.choice(slow if seconds / 2 <= at_s < seconds / 2 + 10 else usual)
            by_status = Counter(ok=len(histogram))
            if not is_calm and name == "getWhoami" and seconds // 5 <= at_s < seconds // 5 + 4:
                by_status["throttled"] = 12
            if not is_calm and at_s % 7 == 3:
                by_status["failed" if at_s % 2 else "wrong"] = 1
            for histograms, counter in ((whole, counts), (together[at_s], counted[at_s])):
                histograms.add(histogram)
                counter.update(by_status)
            spread = spread_text((middle_of(bucket), count) for bucket, count in histogram.counts.items())
            rows.append(second_row(at_s, name, histogram, by_status, spread=spread))
        loads.append(_operation(name, seconds, counts, times_of(whole)))
    rows += [second_row(at_s, ALL_OPERATIONS, each, counted[at_s]) for at_s, each in together.items()]
    plan = replace(
        load_results().plan,
        scenario="mixed",
        question="How does the server carry what a real integrator does, all of it at once?",
        duration_s=float(seconds),
        warm_up_s=5.0,
        stages=(
            PlannedStage(duration_s=10.0, start=20.0, end=120.0),
            PlannedStage(duration_s=seconds - 10.0, start=120.0, end=120.0),
        ),
        verified_share=0.1,
    )
    return load_results(
        plan=plan,
        operations=tuple(loads),
        overall=times(45.0, 300.0, count=9000),
        begun_unix_s=START_UNIX_S,
        is_steady=True,
        steady_from_s=8.0,
        cost_credits=31.5,
    ), rows


def _operation(name: str, seconds: int, counts: Mapping[str, int], response: Times) -> OperationLoad:
    others = {status: count for status, count in counts.items() if status != "ok"}
    made = operation(name, requests=sum(counts.values()), response=response, **others)
    return replace(
        made,
        per_s=made.requests / seconds,
        errors=tuple(
            ErrorCount(
                status=status,
                status_code=status_code,
                code=code,
                count=counts[status],
                exchanges=("x00001",) if (name, status) == ("runWorkflow", "failed") else (),
            )
            for status, (status_code, code) in _ERRORS.items()
            if counts.get(status)
        ),
        service=replace(response, percentiles={at: ms * 0.8 for at, ms in response.percentiles.items()}),
    )
