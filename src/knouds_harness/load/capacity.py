"""Runs a capacity search on a target: one load run after another, and one record of them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from knouds_harness.errors import ExitCode
from knouds_harness.load.capacity_search import Search, SearchEnded
from knouds_harness.load.generator.launching import Launched, LoadCommand, launch
from knouds_harness.measures.objectives import describe, is_least
from knouds_harness.runs.findings import OUTCOME_BY_EXIT_CODE
from knouds_harness.runs.load_plan import PlannedStage
from knouds_harness.runs.load_progress import LoadProgress
from knouds_harness.runs.load_record import LoadWriter, read_results, read_seconds
from knouds_harness.runs.load_results import Capacity, CapacityPoint, Doubt, JudgedObjective, LoadResults
from knouds_harness.runs.operation_load import OperationLoad, RequestStatus, time_ms
from knouds_harness.runs.run_file import run_setup
from knouds_harness.runs.writer import RunWriter
from knouds_harness.targets.profile import Target

POINTS_FOLDER: Final = "points"
TOLERATED_SHARE: Final = 0.001
"""The share of requests that may be refused, and the share that may be throttled."""
_TIMES: Final = ("mean_ms", "p50_ms", "p95_ms", "p99_ms")


@dataclass(frozen=True, kw_only=True)
class CapacityPlan:
    """The plan of a search; all points together spend at most ``credits``, and take ``within_s``."""

    search: Search
    point_s: float
    warm_up_s: float
    within_s: float
    credits: float
    seed: int


def find_capacity(
    plan: CapacityPlan,
    command: LoadCommand,
    target: Target,
    *,
    environ: Mapping[str, str],
    on_point: Callable[[CapacityPoint], object] = lambda _: None,
    on_progress: Callable[[LoadProgress], object] = lambda _: None,
) -> Launched:
    """Search, and write a record; the records of the points are in its folder ``points``."""
    setup = run_setup(target, command=[command.line], seed=plan.seed)
    about = f"{command.scenario.stem}-capacity"
    with ExitStack() as resources:
        run_writer = resources.enter_context(
            RunWriter(command.runs_folder, kind="load", target=target, about=about, setup=setup)
        )
        load_writer = resources.enter_context(LoadWriter(run_writer.folder))

        def launch_point(options: list[str]) -> Launched:
            folder = run_writer.folder / POINTS_FOLDER
            point = replace(command, runs_folder=folder, options=[*command.options, *options])
            return launch(point, environ, on_progress=on_progress)

        points = _Points(plan, writer=load_writer, launch=launch_point)

        def keep(capacity: Capacity) -> None:
            on_point(capacity.points[-1])
            points.write(capacity)

        capacity = plan.search.run(points.measure, on_point=keep)
        if capacity.limit == "interrupted":
            points.ended_by = ExitCode.INTERRUPTED
        points.write(capacity)
        exit_code = points.ended_by or _exit_code(capacity)
        run_writer.finish(OUTCOME_BY_EXIT_CODE[exit_code], exit_code, note=capacity.limit)
        folder = run_writer.folder if capacity.points else None
    return Launched(exit_code=exit_code, folder=folder, note="" if folder else capacity.limit)


class _Points:
    """Measures points, and keeps their results; ``launch`` takes the options that differ between points."""

    def __init__(
        self, plan: CapacityPlan, *, writer: LoadWriter, launch: Callable[[list[str]], Launched]
    ) -> None:
        self.ended_by: ExitCode | None = None
        self._plan = plan
        self._writer = writer
        self._launch_point = launch
        self._began_s = time.monotonic()
        self._longest_s = plan.point_s
        self._spent_credits = 0.0
        self._was_interrupted = False
        self._measured: list[tuple[CapacityPoint, LoadResults]] = []

    def measure(self, rate: float) -> CapacityPoint:
        """Run one point; raise ``SearchEnded`` if no more can be run, or if it has no result."""
        began_s = time.monotonic()
        if self._was_interrupted:
            raise SearchEnded("interrupted")
        if not self._has_time():
            raise SearchEnded(f"another point would not have ended within {self._plan.within_s:g} s")
        launched = self._launch(rate)
        is_asked_again = self._measured and self._has_time() and not launched.was_interrupted
        if launched.exit_code is ExitCode.UNREACHABLE and is_asked_again:
            launched = self._launch(rate)  # it has answered before, so this may be a short outage
        self._was_interrupted = launched.was_interrupted
        self._longest_s = max(self._longest_s, time.monotonic() - began_s)
        folder = launched.folder
        results = read_results(folder, []) if folder else None
        if launched.exit_code is ExitCode.INTERRUPTED:
            self.ended_by = ExitCode.INTERRUPTED
            raise SearchEnded(launched.note or "interrupted")
        has_ended = launched.exit_code in {ExitCode.USAGE, ExitCode.GUARD, ExitCode.UNREACHABLE}
        if folder is None or results is None or has_ended:
            self.ended_by = launched.exit_code
            note = results.note if results else launched.note
            raise SearchEnded(note or f"the point at {rate:g}/s has no result")
        try:
            return self._keep(rate, results, folder)
        except SearchEnded:
            if not self._measured or results.task_errors:
                self.ended_by = ExitCode.BREACH
            raise

    def _has_time(self) -> bool:
        return time.monotonic() - self._began_s + self._longest_s <= self._plan.within_s

    def _launch(self, rate: float) -> Launched:
        plan, left_credits = self._plan, max(0.0, self._plan.credits - self._spent_credits)
        options = {
            "--rate": f"{rate:g}",
            "--duration": f"{plan.point_s:g}",
            "--warm-up": f"{plan.warm_up_s:g}",
            "--seed": str(plan.seed + len(self._measured)),
            "--credits": f"{left_credits:.12g}",
        }
        return self._launch_point([word for option in options.items() for word in option])

    def _keep(self, rate: float, results: LoadResults, folder: Path) -> CapacityPoint:
        self._spent_credits += results.cost_credits
        point = judge_point(rate, results)
        from_s = round(len(self._measured) * self._plan.point_s)
        seconds = read_seconds(folder, [])
        self._writer.add_seconds(replace(each, at_s=from_s + each.at_s) for each in seconds)
        self._measured.append((point, results))
        return point

    def write(self, capacity: Capacity) -> None:
        """Write what is known: the metrics of the highest rate that was kept, and every point."""
        if not self._measured:
            return
        shown = [results for point, results in self._measured if point.asked_per_s == capacity.highest_per_s]
        results = (shown or [self._measured[-1][1]])[-1]
        stages = tuple(
            PlannedStage(duration_s=self._plan.point_s, start=point.asked_per_s, end=point.asked_per_s)
            for point, _ in self._measured
        )
        self._writer.write(
            replace(
                results,
                plan=replace(
                    results.plan,
                    stages=stages,
                    duration_s=len(stages) * self._plan.point_s,
                    seed=self._plan.seed,
                ),
                capacity=capacity,
                cost_credits=self._spent_credits,
                note=capacity.limit,
            )
        )


def _exit_code(capacity: Capacity) -> ExitCode:
    is_nothing = capacity.highest_per_s is None and capacity.lowest_failing_per_s is None
    if capacity.is_generator_limit or is_nothing:
        return ExitCode.INVALID_MEASUREMENT
    return ExitCode.BREACH if capacity.highest_per_s is None else ExitCode.KEPT


def judge_point(rate: float, results: LoadResults) -> CapacityPoint:
    """Judge one point.

    The generator is the limit if there were too few users, if less was sent than asked for, or if its own
    delay may be why a bound was missed. Bounds on the least of something do not count in a search over rates.
    """
    for task in results.task_errors:
        raise SearchEnded(f"{task.task} raised {task.error} at {rate:g}/s")
    total = results.total
    if total.by_status["refused"] > TOLERATED_SHARE * total.requests:
        raise SearchEnded(
            f"{total.by_status['refused']} of {total.requests} requests were refused (402 or 403) "
            f"at {rate:g}/s: no credits are left, or the keys may not do this"
        )
    missed = [each for each in results.objectives if not each.is_met and not is_least(each)]
    is_aborted = any(each.ended_run for each in results.objectives)
    target = results.note.partition("\n")[0] if is_aborted else _targets_fault(results, missed, total)
    doubts = list(zip(results.validity.doubts, results.validity.reasons, strict=True))
    target = target or next((reason for doubt, reason in doubts if doubt is Doubt.SLOW_TARGET), "")
    unsent = [reason for doubt, reason in doubts if doubt is not Doubt.DELAY]
    causes = [*(each.doubt for each in missed), *unsent]
    generator = causes[0] if causes and not target else ""
    return CapacityPoint(
        asked_per_s=rate,
        achieved_per_s=results.validity.achieved_per_s,
        **{each: time_ms(total.response, each) or 0.0 for each in _TIMES},
        error_rate=total.error_rate,
        is_kept=not generator and not target,
        reason=generator or target,
        is_generator_limit=bool(generator),
    )


def _targets_fault(results: LoadResults, missed: Iterable[JudgedObjective], total: OperationLoad) -> str:
    missed = [each for each in missed if not each.doubt]
    broken = [each for each in results.invariants if each.broken]
    if results.never_ok:
        worst = results.never_ok[0]
        return f"not one of {worst.requests} requests of {worst.operation} succeeded"
    if missed:
        more = f", and {len(missed) - 1} more" if len(missed) > 1 else ""
        return f"{describe(missed[0])}{more}"
    if broken:
        return f"{broken[0].says} Broken {broken[0].broken} of {broken[0].seen} times"
    throttled = total.by_status[RequestStatus.THROTTLED]
    if throttled > TOLERATED_SHARE * total.requests:
        return f"{throttled} of {total.requests} requests were throttled (429): the keys' own rate limit"
    return ""
