"""Hand-made results and records of load runs."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from run_records import SETUP, TARGET, SteppingClock

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.load.collection import metrics
from knouds_harness.measures.hdr_logs import HdrLogWriter, Interval
from knouds_harness.measures.histograms import Histogram, merged
from knouds_harness.runs.load_plan import Fingerprint, LoadPlan, PlannedStage
from knouds_harness.runs.load_progress import LoadProgress
from knouds_harness.runs.load_record import LoadWriter
from knouds_harness.runs.load_results import JudgedObjective, LoadResults, Validity
from knouds_harness.runs.operation_load import STATUSES, ErrorCount, OperationLoad, SecondRow, Times
from knouds_harness.runs.writer import RunWriter

START_UNIX_S = 1_764_063_000.0
times_of = metrics.times
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


def write_load(
    root: Path,
    results: LoadResults,
    rows: Sequence[SecondRow],
    *,
    answers: Sequence[Exchange] = (),
    ended: tuple[str, int] = ("kept", 0),
) -> Path:
    """Write a load run; ``ended`` is its outcome and exit code."""
    scenario, clock = results.plan.scenario, SteppingClock()
    setup = replace(SETUP, command=("knouds-harness", "load", scenario))
    with (
        RunWriter.start(
            root, kind="load", target=TARGET, about=scenario, setup=setup, now=clock.now, clock=clock
        ) as writer,
        LoadWriter(writer.folder) as load_writer,
    ):
        load_writer.write(results)
        load_writer.add_seconds(rows)
        for each in answers:
            writer.add_exchange(each)
        writer.finish(*ended)
    return writer.folder


def load_run(
    root: Path,
    seconds_by_operation: Mapping[str, Sequence[Sequence[float]]],
    *,
    warm_up: Sequence[Sequence[float]] = (),
    failed: int = 0,
    status: str = "failed",
    outcome: str = "kept",
    plan: Mapping[str, Any] | None = None,
    times_of_ones_own: Mapping[str, Sequence[Sequence[float]]] | None = None,
    **changes: Any,
) -> Path:
    """Make a load run from the times of each operation, in ms, second by second.

    ``failed`` requests (or those of another ``status``) are added to the first operation, in each second
    after the ``warm_up``. ``plan`` has other members of the plan, ``changes`` of ``load.json``. Each run
    needs a root of its own.
    """
    operations, rows, logged = [], [], []
    together = Histogram()
    for index, (name, seconds) in enumerate(seconds_by_operation.items()):
        before, wrong = (warm_up, failed) if index == 0 else ((), 0)
        whole = merged(map(histogram_of, seconds))
        together.add(whole)
        requests = len(whole) + wrong * len(seconds)
        load = operation(name, requests=requests, response=times_of(whole), **{status: wrong * len(seconds)})
        operations.append(replace(load, per_s=requests / len(seconds)))
        for at_s, times_ms in enumerate([*before, *seconds]):
            rows.append(second_row(at_s, name, histogram_of(times_ms)))
            logged.append(((name, "ok", "response"), at_s - len(before), times_ms))
            if wrong and at_s >= len(before):
                logged.append(((name, status, "response"), at_s - len(before), [1.0] * wrong))
    for name, seconds in (times_of_ones_own or {}).items():
        logged += [((name, "ok", "time"), at_s, times_ms) for at_s, times_ms in enumerate(seconds)]
    results = load_results(**{"operations": tuple(operations), "overall": times_of(together), **changes})
    results = replace(results, plan=replace(results.plan, **(plan or {})))
    folder = write_load(root, results, rows, ended=(outcome, 0))
    with HdrLogWriter(folder / "times.hlog", start_unix_s=START_UNIX_S) as log:
        for series, at_s, times_ms in logged:
            histogram = histogram_of(times_ms)
            log.write(
                Interval(series=series, start_unix_s=START_UNIX_S + at_s, length_s=1.0, histogram=histogram)
            )
    return folder


def second_row(
    at_s: int, name: str, ok: Histogram, by_status: Mapping[str, int] | None = None, *, spread: str = ""
) -> SecondRow:
    p50, p99, longest = (each * 1e3 for each in ok.percentiles_s(50, 99, 100))
    return SecondRow(
        at_s=at_s,
        operation=name,
        by_status=by_status or {"ok": len(ok)},
        p50_ms=p50,
        p99_ms=p99,
        max_ms=longest,
        spread=spread,
    )
