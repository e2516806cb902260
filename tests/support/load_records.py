"""Hand-made results and records of load runs."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from run_records import SETUP, TARGET, SteppingClock

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.measures.hdr_logs import HdrLogWriter, Interval
from knouds_harness.measures.histograms import Histogram, merged, middle_of
from knouds_harness.reporting.comparison.load_figures import LoadFigures
from knouds_harness.reporting.comparison.sides import read_side
from knouds_harness.runs.load_plan import Fingerprint, LoadPlan, PlannedStage
from knouds_harness.runs.load_progress import LoadProgress
from knouds_harness.runs.load_record import LoadWriter, spread_text
from knouds_harness.runs.load_results import JudgedObjective, LoadResults, Validity
from knouds_harness.runs.operation_load import (
    ALL_OPERATIONS,
    RECORDED_PERCENTS,
    STATUSES,
    ErrorCount,
    OperationLoad,
    SecondRow,
    Times,
)
from knouds_harness.runs.writer import RunWriter

START_UNIX_S = 1_764_063_000.0
_ERRORS = {
    "throttled": (429, "RATE_LIMITED"),
    "failed": (500, "EXECUTION_FAILED"),
    "wrong": (200, "the body is not JSON"),
}
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
    by_status={"ok": 4600, "throttled": 100, "refused": 0, "failed": 11, "wrong": 0},
    errors=(
        ErrorCount(status="throttled", status_code=429, code="RATE_LIMIT_EXCEEDED", count=100),
        ErrorCount(status="failed", status_code=None, code="ConnectionLost", count=11),
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


def times(p50_ms: float = 2.0, p99_ms: float = 9.0, *, count: int = 100) -> Times:
    """Make a distribution with two distinctive percentiles."""
    percentiles = {"50": p50_ms, "75": p50_ms, "90": p50_ms, "95": p99_ms, "99": p99_ms}
    return Times(
        count=count,
        mean_ms=p50_ms,
        min_ms=p50_ms / 2,
        max_ms=p99_ms,
        percentiles={**percentiles, "99.9": p99_ms, "99.99": p99_ms, "99.999": p99_ms},
    )


def operation(
    name: str = "whoami", *, requests: int = 100, response: Times | None = None, **others: int
) -> OperationLoad:
    """Make an operation whose requests were ok, except those that are named."""
    counts: Mapping[str, int] = {status: others.get(status, 0) for status in STATUSES}
    counts = {**counts, "ok": requests - sum(others.values())}
    response = response or times(count=requests)
    return OperationLoad(
        operation=name,
        requests=requests,
        per_s=requests / 10,
        by_status=counts,
        errors=(),
        response=response,
        service=response,
        refused_response=times(count=0),
        server=times(count=0),
    )


def validity(**changes: Any) -> Validity:
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
    return JudgedObjective(operation="whoami", measure=measure, bound=bound, observed=observed, is_met=False)


def load_results(**changes: Any) -> LoadResults:
    """Make a sound run of ten seconds at ten requests per second."""
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


def lognormal_seconds(
    seed: int, *, median_ms: float = 100.0, spread: float = 0.3, per_s: int = 100, seconds: int = 20
) -> list[list[float]]:
    """Draw the times of each second, in ms."""
    chance = random.Random(seed)
    return [[median_ms * chance.lognormvariate(0, spread) for _ in range(per_s)] for _ in range(seconds)]


def histogram_of(times_ms: Sequence[float]) -> Histogram:
    histogram = Histogram()
    for time_ms in times_ms:
        histogram.record(time_ms / 1000)
    return histogram


def times_of(histogram: Histogram) -> Times:
    found = histogram.percentiles_s(*map(float, RECORDED_PERCENTS))
    return Times(
        count=len(histogram),
        mean_ms=histogram.mean_s * 1e3,
        min_ms=histogram.min_s * 1e3,
        max_ms=histogram.max_s * 1e3,
        percentiles={percent: at_s * 1e3 for percent, at_s in zip(RECORDED_PERCENTS, found, strict=True)},
    )


def load_run(
    root: Path,
    seconds_by_operation: Mapping[str, Sequence[Sequence[float]]],
    *,
    warm_up: Sequence[Sequence[float]] = (),
    failed: int = 0,
    status: str = "failed",
    others: Callable[[str, int], Mapping[str, int]] | None = None,
    outcome: str = "kept",
    exit_code: int = 0,
    evidence: Sequence[Exchange] = (),
    plan: Mapping[str, Any] | None = None,
    times_of_ones_own: Mapping[str, Sequence[Sequence[float]]] | None = None,
    **changes: Any,
) -> Path:
    """Make a load run from the times of each operation, in ms, second by second.

    ``failed`` requests (or those of another ``status``) are added to the first operation, in each second
    after the ``warm_up``; or ``others`` says how many of which status an operation has in a second. ``plan``
    has other members of the plan, ``changes`` of ``load.json``. Each run needs a root of its own.
    """
    first = next(iter(seconds_by_operation), None)
    others = others or (lambda name, _: {status: failed} if failed and name == first else {})
    operations, rows, logged = [], [], []
    together: dict[int, tuple[Histogram, Counter[str]]] = {}
    for name, seconds in seconds_by_operation.items():
        before = warm_up if name == first else ()
        whole, counts = Histogram(), Counter[str]()
        for at_s, times_ms in enumerate([*before, *seconds], -len(before)):
            histogram = histogram_of(times_ms)
            by_status = Counter({"ok": len(histogram), **(others(name, at_s) if at_s >= 0 else {})})
            rows.append(second_row(at_s + len(before), name, histogram, by_status))
            logged += [(at_s, (name, "ok", "response"), histogram)]
            logged += [
                (at_s, (name, status, "response"), histogram_of([1.0] * count))
                for status, count in by_status.items()
                if status != "ok"
            ]
            if at_s >= 0:
                whole_second, all_counts = together.setdefault(at_s, (Histogram(), Counter()))
                for histograms, counter in ((whole, counts), (whole_second, all_counts)):
                    histograms.add(histogram)
                    counter.update(by_status)
        operations.append(_operation_of(name, len(seconds), counts, times_of(whole)))
    if len(operations) > 1:
        rows += [second_row(at_s, ALL_OPERATIONS, *each) for at_s, each in together.items()]
    for name, seconds in (times_of_ones_own or {}).items():
        logged += [(at_s, (name, "ok", "time"), histogram_of(each)) for at_s, each in enumerate(seconds)]
    overall = times_of(merged(histogram for histogram, _ in together.values()))
    results = load_results(**{"operations": tuple(operations), "overall": overall, **changes})
    results = replace(results, plan=replace(results.plan, **(plan or {})))
    scenario, clock = results.plan.scenario, SteppingClock()
    setup = replace(SETUP, command=("knouds-harness", "load", scenario))
    with (
        RunWriter(
            root, kind="load", target=TARGET, about=scenario, setup=setup, now=clock.now, clock=clock
        ) as writer,
        LoadWriter(writer.folder) as load_writer,
        HdrLogWriter(writer.folder / "times.hlog", start_unix_s=START_UNIX_S) as log,
    ):
        load_writer.write(results)
        load_writer.add_seconds(rows)
        for at_s, series, histogram in logged:
            start_unix_s = START_UNIX_S + at_s
            log.write(Interval(series=series, start_unix_s=start_unix_s, length_s=1.0, histogram=histogram))
        for each in evidence:
            writer.add_exchange(each)
        writer.finish(outcome, exit_code)
    return writer.folder


def load_side(
    folder: Path,
    *medians_ms: float,
    name: str = "whoami",
    first_seed: int = 0,
    per_s: int = 100,
    **options: Any,
) -> tuple[LoadFigures, ...]:
    """Make the runs of a side of a comparison, one of ten seconds with each median; return their figures."""
    folders = [
        load_run(
            folder / f"{seed}",
            {name: lognormal_seconds(seed, median_ms=median_ms, per_s=per_s, seconds=10)},
            **options,
        )
        for seed, median_ms in enumerate(medians_ms, first_seed)
    ]
    return read_side(folders, baselines=folder).loads


def _operation_of(name: str, seconds: int, counts: Mapping[str, int], response: Times) -> OperationLoad:
    others = {status: count for status, count in counts.items() if status != "ok"}
    made = operation(name, requests=sum(counts.values()), response=response, **others)
    errors = (
        ErrorCount(
            status=status,
            status_code=status_code,
            code=code,
            count=counts[status],
            exchanges=("x00001",) if (name, status) == ("runWorkflow", "failed") else (),
        )
        for status, (status_code, code) in _ERRORS.items()
        if counts.get(status)
    )
    service = replace(response, percentiles={at: ms * 0.8 for at, ms in response.percentiles.items()})
    return replace(made, per_s=made.requests / seconds, errors=tuple(errors), service=service)


def second_row(at_s: int, name: str, ok: Histogram, by_status: Mapping[str, int]) -> SecondRow:
    p50, p99, longest = (each * 1e3 for each in ok.percentiles_s(50, 99, 100))
    return SecondRow(
        at_s=at_s,
        operation=name,
        by_status=by_status,
        p50_ms=p50,
        p99_ms=p99,
        max_ms=longest,
        spread=spread_text((middle_of(bucket), count) for bucket, count in ok.counts.items()),
    )
