"""A capacity search on a target: one Locust after another, and one record of them all."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from knouds_harness.errors import ExitCode
from knouds_harness.load.capacity.point import judge_point
from knouds_harness.load.capacity.search import Search, SearchEnded
from knouds_harness.load.generator.launching import Launched, launch
from knouds_harness.runs.capacity_results import Capacity, CapacityPoint
from knouds_harness.runs.header import RunHeader
from knouds_harness.runs.load_progress import LoadProgress
from knouds_harness.runs.load_record import LoadRecord, LoadWriter, read_load
from knouds_harness.runs.load_results import LoadResults, PlannedStage
from knouds_harness.runs.record import RunWriter
from knouds_harness.runs.verdicts import OUTCOME_BY_EXIT_CODE
from knouds_harness.targets.profile import Target

POINTS_FOLDER: Final = "points"
_LARGEST_SEED: Final = 2**31


@dataclass(frozen=True, kw_only=True)
class CapacityPlan:
    """A search, as asked for.

    Attributes:
        scenario: The Locust file.
        search: Over which rates.
        point_s: How long a point lasts.
        warm_up_s: What of it is left out of its metrics.
        within_s: No point begins that would not end within this time.
        credits: All points together spend no more.
        seed: Of everything random; None for any.
        options: More, of Locust and of the plugin, for each point.
        command: What the user said.
    """

    scenario: Path
    search: Search
    point_s: float
    warm_up_s: float
    within_s: float
    credits: float
    seed: int | None
    options: Sequence[str]
    command: str


def find_capacity(
    plan: CapacityPlan,
    target: Target,
    *,
    runs_folder: Path,
    variables: Mapping[str, str],
    on_point: Callable[[CapacityPoint], object] = lambda _: None,
    on_progress: Callable[[LoadProgress], object] = lambda _: None,
) -> Launched:
    """Search, and keep a record: that of the search, with the points' own in its folder ``points``.

    Args:
        plan: What is searched.
        target: The profile.
        runs_folder: Where the record goes.
        variables: For the target's profile, besides this process's environment.
        on_point: Told of each point.
        on_progress: Told how the running point stands.

    Raises:
        RunRecordError: The record cannot be written.
    """
    seed = random.SystemRandom().randrange(_LARGEST_SEED) if plan.seed is None else plan.seed
    header = RunHeader(
        command=(plan.command,),
        seed=seed,
        target=target,
    )
    with ExitStack() as resources:
        run_writer = resources.enter_context(
            RunWriter.start(
                runs_folder,
                kind="load",
                target_name=f"{target.name}-{plan.scenario.stem}-capacity",
                header=header,
            )
        )
        load_writer = resources.enter_context(LoadWriter(run_writer.folder))
        points = _Points(
            plan,
            seed=seed,
            folder=run_writer.folder / POINTS_FOLDER,
            writer=load_writer,
            variables=variables,
            on_progress=on_progress,
        )

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
    """Measures points, and keeps what they were."""

    def __init__(
        self,
        plan: CapacityPlan,
        *,
        seed: int,
        folder: Path,
        writer: LoadWriter,
        variables: Mapping[str, str],
        on_progress: Callable[[LoadProgress], object],
    ) -> None:
        self.ended_by: ExitCode | None = None
        self._plan = plan
        self._seed = seed
        self._folder = folder
        self._writer = writer
        self._variables = variables
        self._on_progress = on_progress
        self._began_s = time.monotonic()
        self._longest_s = plan.point_s
        self._spent_credits = 0.0
        self._was_interrupted = False
        self._measured: list[tuple[CapacityPoint, LoadResults]] = []

    def measure(self, rate: float) -> CapacityPoint:
        """Run one point.

        Raises:
            SearchEnded: None can be run any more, or this one came to nothing.
        """
        began_s = time.monotonic()
        if self._was_interrupted:
            raise SearchEnded("interrupted")
        if not self._has_time():
            raise SearchEnded(f"another point would not have ended within {self._plan.within_s:g} s")
        launched = self._launch(rate)
        is_asked_again = self._measured and self._has_time() and not launched.was_interrupted
        if launched.exit_code is ExitCode.UNREACHABLE and is_asked_again:
            launched = self._launch(rate)  # it has answered before, and may not have been itself for a moment
        self._was_interrupted = launched.was_interrupted
        self._longest_s = max(self._longest_s, time.monotonic() - began_s)
        record = read_load(launched.folder, []) if launched.folder else None
        if launched.exit_code is ExitCode.INTERRUPTED:
            self.ended_by = ExitCode.INTERRUPTED
            raise SearchEnded(launched.note or "interrupted")
        if record is None or launched.exit_code in {ExitCode.USAGE, ExitCode.GUARD, ExitCode.UNREACHABLE}:
            self.ended_by = launched.exit_code
            note = record.results.note if record else launched.note
            raise SearchEnded(note or f"the point at {rate:g}/s came to nothing")
        try:
            return self._keep(rate, record)
        except SearchEnded:
            if not self._measured or record.results.task_errors:
                self.ended_by = ExitCode.BREACH
            raise

    def _has_time(self) -> bool:
        return time.monotonic() - self._began_s + self._longest_s <= self._plan.within_s

    def _launch(self, rate: float) -> Launched:
        plan = self._plan
        return launch(
            plan.scenario,
            runs_folder=self._folder,
            options=[
                *plan.options,
                *(
                    "--rate",
                    f"{rate:g}",
                    "--duration",
                    f"{plan.point_s:g}",
                    "--warm-up",
                    f"{plan.warm_up_s:g}",
                ),
                *("--seed", str((self._seed + len(self._measured)) % _LARGEST_SEED)),
                *("--credits", f"{max(0.0, plan.credits - self._spent_credits):.12g}"),
            ],
            variables=self._variables,
            command=plan.command,
            on_progress=self._on_progress,
        )

    def _keep(self, rate: float, record: LoadRecord) -> CapacityPoint:
        results = record.results
        self._spent_credits += results.cost_credits
        ending = (results.note.splitlines() or [""])[0]
        point = judge_point(
            rate,
            results,
            earlier=[each for each, _ in self._measured],
            ending=ending if "--abort-on" in ending else "",
        )
        from_s = round(len(self._measured) * self._plan.point_s)
        self._writer.add_seconds(replace(each, at_s=from_s + each.at_s) for each in record.seconds)
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
                    seed=self._seed,
                ),
                capacity=capacity,
                cost_credits=self._spent_credits,
                note=capacity.limit,
            )
        )


def _exit_code(capacity: Capacity) -> ExitCode:
    """INVALID_MEASUREMENT if the generator was the limit, or nothing was measured."""
    is_nothing = capacity.highest_per_s is None and capacity.lowest_failing_per_s is None
    if capacity.is_generator_limit or is_nothing:
        return ExitCode.INVALID_MEASUREMENT
    return ExitCode.BREACH if capacity.highest_per_s is None else ExitCode.KEPT
