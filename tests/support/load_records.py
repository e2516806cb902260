"""Records of load runs made by hand, second by second, for tests of what is read from them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from load_results import load_results, operation
from run_records import HEADER, SteppingClock

from knouds_harness.measures.hdr_logs import HdrLogWriter, Interval
from knouds_harness.measures.histograms import Histogram, merged
from knouds_harness.measures.percentiles import RECORDED_PERCENTS
from knouds_harness.runs.load_record import LoadWriter
from knouds_harness.runs.load_results import SecondRow, Times
from knouds_harness.runs.record import RunWriter

START_UNIX_S = 1_764_063_000.0


def lognormal_seconds(
    seed: int, *, median_ms: float = 100.0, spread: float = 0.3, per_s: int = 100, seconds: int = 20
) -> list[list[float]]:
    """Times of each second, in ms."""
    chance = random.Random(seed)
    return [[median_ms * chance.lognormvariate(0, spread) for _ in range(per_s)] for _ in range(seconds)]


def histogram_of(times_ms: Sequence[float]) -> Histogram:
    histogram = Histogram()
    for time_ms in times_ms:
        histogram.record(time_ms / 1000)
    return histogram


def times_of(histogram: Histogram) -> Times:
    return Times(
        count=len(histogram),
        mean_ms=histogram.mean_s * 1e3,
        min_ms=histogram.min_s * 1e3,
        max_ms=histogram.max_s * 1e3,
        percentiles={each: histogram.percentile_s(float(each)) * 1e3 for each in RECORDED_PERCENTS},
    )


def load_run(
    root: Path,
    seconds_by_operation: Mapping[str, Sequence[Sequence[float]]],
    *,
    warm_up: Sequence[Sequence[float]] = (),
    failed: int = 0,
    outcome: str = "kept",
    plan: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A run of load: each operation's times, in ms and second by second.

    Args:
        root: The folder of runs, one for each run.
        seconds_by_operation: After the warm-up.
        warm_up: Seconds of the first operation that came before.
        failed: How many requests of the first operation failed besides, in each second after the warm-up.
        outcome: How it ended.
        plan: Other members of the plan.
        changes: Other members of ``load.json``.
    """
    operations = []
    together = merged(histogram_of(each) for seconds in seconds_by_operation.values() for each in seconds)
    for index, (name, seconds) in enumerate(seconds_by_operation.items()):
        whole = merged(histogram_of(each) for each in seconds)
        wrong = failed * len(seconds) if index == 0 else 0
        load = operation(name, requests=len(whole) + wrong, response=times_of(whole), failed=wrong)
        operations.append(replace(load, per_s=load.requests / len(seconds)))
    measured = {"operations": tuple(operations), "overall": times_of(together)}
    results = load_results(**{**measured, **changes})
    results = replace(results, plan=replace(results.plan, **(plan or {})))
    clock = SteppingClock()
    header = replace(HEADER, command=("knouds-harness", "load", "reads"))
    with (
        RunWriter.start(
            root, kind="load", target_name="staging-reads", header=header, now=clock.now, clock=clock
        ) as writer,
        LoadWriter(writer.folder) as load_writer,
        HdrLogWriter(writer.folder / "times.hlog", start_unix_s=START_UNIX_S) as log,
    ):
        load_writer.write(results)
        for index, (name, seconds) in enumerate(seconds_by_operation.items()):
            before = warm_up if index == 0 else ()
            for at_s, times_ms in enumerate([*before, *seconds]):
                at_unix_s = START_UNIX_S - len(before) + at_s
                _log(log, (name, "kept", "response"), at_unix_s, times_ms)
                if failed and index == 0 and at_s >= len(before):
                    _log(log, (name, "failed", "response"), at_unix_s, [1.0] * failed)
                load_writer.add_seconds([_row(at_s, name, times_ms)])
        writer.finish(outcome, 0)
    return writer.folder


def _log(log: HdrLogWriter, series: tuple[str, ...], at_unix_s: float, times_ms: Sequence[float]) -> None:
    log.write(Interval(series=series, start_unix_s=at_unix_s, length_s=1.0, histogram=histogram_of(times_ms)))


def _row(at_s: int, name: str, times_ms: Sequence[float]) -> SecondRow:
    whole = histogram_of(times_ms)
    p50, p99, longest = (each * 1e3 for each in whole.percentiles_s(50, 99, 100))
    return SecondRow(
        at_s=at_s, operation=name, outcomes={"kept": len(times_ms)}, p50_ms=p50, p99_ms=p99, max_ms=longest
    )
