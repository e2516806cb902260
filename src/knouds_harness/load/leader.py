"""The process that leads a load run: adds everything up, keeps the record, and says how it ended."""

from __future__ import annotations

import inspect
import os
import platform
import shlex
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Final

import gevent
from locust.env import Environment
from locust.runners import MasterRunner

from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import ExitCode
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.load.aborting import AbortWatch
from knouds_harness.load.course import Course
from knouds_harness.load.cycles import cycles
from knouds_harness.load.hdr_logs import HdrLogWriter, Interval
from knouds_harness.load.health import Health, together
from knouds_harness.load.last_words import last_words
from knouds_harness.load.objectives import judge_objectives, load_objectives, parse_bounds
from knouds_harness.load.options import Options
from knouds_harness.load.progress import ProgressTeller
from knouds_harness.load.recording import Second
from knouds_harness.load.samples import Evidence
from knouds_harness.load.scribe import Scribe
from knouds_harness.load.summary import Summary, times
from knouds_harness.load.validity import judge_generator
from knouds_harness.load.verification import Verification
from knouds_harness.runs.header import RunHeader
from knouds_harness.runs.load_record import LoadWriter
from knouds_harness.runs.load_results import (
    Fingerprint,
    JudgedObjective,
    LoadPlan,
    LoadResults,
    PlannedStage,
    SecondRow,
    Validity,
)
from knouds_harness.runs.record import RunWriter
from knouds_harness.runs.verdicts import OUTCOME_BY_EXIT_CODE
from knouds_harness.target.profile import Target

_CHECKPOINT_EVERY_S: Final = 5.0
_VERSIONS: Final = ("knouds-harness", "locust", "gevent", "httptools")


class Leader:
    """Puts the run together in the local or master process.

    Attributes:
        course: The load shape; the plugin sets it.
        verification: Of all processes, where a target is named.
        start_unix_s: When load began; None before.
        health_by_worker: What each worker last said of itself.
        evidence: Some exchanges that were not kept.
    """

    def __init__(
        self,
        environment: Environment,
        options: Options,
        target: Target | None,
        *,
        own_health: Callable[[], Health],
        timer: Callable[[], str],
    ) -> None:
        """Read the objectives and begin the record.

        Args:
            environment: Locust's, with its runner.
            options: What is asked for.
            target: The profile; without one no record is kept.
            own_health: How this process does; not asked of a master, which sends nothing.
            timer: What drives the arrivals.

        Raises:
            HarnessError: An objective, or the folder of the record, is not usable.
        """
        self._environment = environment
        self._options = options
        self._target = target
        self._own_health = own_health
        self._timer = timer
        self.course: Course | None = None
        self.verification: Verification | None = None
        self.start_unix_s: float | None = None
        self.health_by_worker: dict[str, Health] = {}
        self._scenario = str(environment.locustfile or "").removesuffix(".py").rpartition("/")[2]
        self._objectives = (
            load_objectives(self._options.objectives, self._scenario) if self._options.objectives else ()
        )
        self._abort_watch = AbortWatch(parse_bounds(self._options.abort_on))
        self._aborted_for: tuple[JudgedObjective, ...] = ()
        self._summary = Summary(start_unix_s=0, warm_up_s=self._options.warm_up_s)
        self._notes: list[str] = []
        self._doubts: list[str] = []
        self._exit_code: ExitCode | None = None
        self._written_s = 0.0
        self._is_concluded = False
        self._resources = ExitStack()
        self._scribe = Scribe()
        self._writers: tuple[RunWriter, LoadWriter, HdrLogWriter] | None = None
        if self._options.record is not None and target is not None:
            self._open_record(self._options.record, target)
        self.evidence = Evidence(self._keep_exchange)
        self._progress = self._open_progress()

    def begin(self, start_unix_s: float) -> None:
        """Load begins at this instant."""
        self.start_unix_s = start_unix_s
        if self._progress:
            self._progress.begin(start_unix_s)
        self._summary = Summary(start_unix_s=start_unix_s, warm_up_s=self._options.warm_up_s)
        self._abort_watch = AbortWatch(
            parse_bounds(self._options.abort_on), from_unix_s=self._summary.measured_from_unix_s
        )
        if self.course:
            self.course.ends_at_s = (
                self.course.get_run_time() + start_unix_s - time.time() + self._options.course.duration_s
            )

    def add_second(self, second: Second) -> None:
        """A second is over: keep it, and see whether the run has to end."""
        rows = list(self._summary.add(second))
        if self._progress:
            self._progress.add(second)
        self._scribe.give(lambda: self._keep_second(second, rows))
        missed = self._abort_watch.missed(second)
        if missed and not self._aborted_for:
            self._aborted_for = (missed,)
            self.stop(
                f"Ended early: {missed.operation} {missed.measure} was {missed.observed:g} over ten seconds, "
                f"and --abort-on allows {missed.bound:g}.",
                ExitCode.BREACH,
            )
        if time.monotonic() - self._written_s > _CHECKPOINT_EVERY_S:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Write the figures so far, for the case that this process is killed."""
        self._write(self.results())
        if self._writers:
            self._scribe.give(self._writers[0].checkpoint)

    def note(self, sentence: str) -> None:
        """Something that readers of the figures have to know."""
        self._notes.append(sentence)

    def doubt(self, sentence: str) -> None:
        """Something for which the figures are not the target's alone."""
        self.note(sentence)
        self._doubts.append(sentence)

    def stop(self, reason: str, exit_code: ExitCode) -> None:
        """End the run early; the first reason stands."""
        if self._exit_code is None:
            self._exit_code = exit_code
            self._notes.insert(0, reason)
            if self.course:
                self.course.is_over = True
            runner = self._environment.runner
            if runner and not runner.shape_greenlet:  # which else ends the run at its next tick
                gevent.spawn(runner.quit)

    def results(self) -> LoadResults:
        """The figures so far."""
        operations = self.evidence.named_in(self._summary.operations(self._measured_s()))
        is_steady, steady_from_s = (
            self._summary.steady_from_s() if self._options.course.ends_level else (None, None)
        )
        return LoadResults(
            plan=self._plan(),
            fingerprint=_fingerprint(self._timer()),
            validity=self._validity(),
            operations=operations,
            objectives=(*self._aborted_for, *judge_objectives(self._objectives, operations)),
            cycles=cycles(self._summary.histograms),
            overall=self._summary.overall(),
            is_steady=is_steady,
            steady_from_s=steady_from_s,
            invariants=self.verification.invariants() if self.verification else (),
            windows=self.verification.windows() if self.verification else (),
            begun_unix_s=self.start_unix_s,
            cost_credits=self._health().spent_credits,
            note="\n".join(self._notes),
        )

    def discard(self) -> None:
        """Keep no record: the run cannot begin after all, and nothing was sent."""
        self._is_concluded = True
        self._resources.close()
        if self._writers:
            shutil.rmtree(self._writers[0].folder, ignore_errors=True)

    def conclude(self) -> None:
        """Write the last figures, and have Locust end with our exit code; only once."""
        if self._is_concluded:
            return
        self._is_concluded = True
        was_cut_short = self._exit_code is None and self._elapsed_s() < self._options.course.duration_s
        for note in self.verification.conclude(at_once=was_cut_short) if self.verification else ():
            self.note(note)
        results = self.results()
        exit_code = self._exit_code or exit_code_of(results, was_interrupted=was_cut_short)
        self._environment.process_exit_code = int(exit_code)
        self._write(results)
        if self._writers:
            finish, note = self._writers[0].finish, "\n".join(self._notes)
            self._scribe.give(lambda: finish(OUTCOME_BY_EXIT_CODE[exit_code], exit_code, note=note))
        try:
            self._scribe.finish()
        finally:
            self._resources.close()
        if not self._options.started_by:
            sys.stderr.writelines(f"{line}\n" for line in last_words(results))

    def _open_record(self, root: Path, target: Target) -> None:
        header = RunHeader(
            tool_version=version("knouds-harness"),
            python_version=platform.python_version(),
            command=tuple(shlex.split(self._options.started_by)) or tuple(sys.argv),
            seed=self._options.seed,
            target=target,
            document=shipped_document(),
            checks={},
        )
        run_writer = self._resources.enter_context(
            RunWriter.start(root, kind="load", target_name=f"{target.name}-{self._scenario}", header=header)
        )
        self._writers = (
            run_writer,
            self._resources.enter_context(LoadWriter(run_writer.folder)),
            self._resources.enter_context(
                HdrLogWriter(run_writer.folder / "times.hlog", start_unix_s=time.time())
            ),
        )

    def _keep_exchange(self, exchange: Exchange) -> None:
        if self._writers:
            add_exchange = self._writers[0].add_exchange
            self._scribe.give(lambda: add_exchange(exchange))

    def _keep_second(self, second: Second, rows: Sequence[SecondRow]) -> None:
        if self._writers:
            _, load_writer, hlog = self._writers
            load_writer.add_seconds(rows)
            for series, histogram in second.histograms.items():
                hlog.write(
                    Interval(
                        series=tuple(map(str, series)),
                        start_unix_s=float(second.unix_s),
                        length_s=1.0,
                        histogram=histogram,
                    )
                )

    def _open_progress(self) -> ProgressTeller | None:
        if self._options.progress_file is None:
            return None
        most_credits = self._options.credits
        if most_credits is None and self._target is not None:
            most_credits = self._target.limits.credits
        teller = ProgressTeller(
            self._options.progress_file,
            self._options,
            folder=self._writers[0].folder if self._writers else None,
            most_credits=most_credits,
            health=self._health,
            doubts=self._doubts,
        )
        teller.begin()
        return teller

    def _write(self, results: LoadResults) -> None:
        self._written_s = time.monotonic()
        if self._writers:
            write = self._writers[1].write
            self._scribe.give(lambda: write(results))

    def _elapsed_s(self) -> float:
        return 0.0 if self.start_unix_s is None else max(0.0, time.time() - self.start_unix_s)

    def _measured_s(self) -> float:
        if self.start_unix_s is None:
            return 0.0
        until_unix_s = min(time.time(), self.start_unix_s + self._options.course.duration_s)
        from_unix_s = max(self.start_unix_s, self._summary.measured_from_unix_s)
        return max(0.0, until_unix_s - from_unix_s)

    def _health(self) -> Health:
        if isinstance(self._environment.runner, MasterRunner):
            return together(self.health_by_worker.values())
        return self._own_health()

    def _validity(self) -> Validity:
        health = self._health()
        measured_s = self._measured_s()
        schedule = self._options.schedule
        asked_per_s = None
        achieved = self._summary.requests()
        if schedule and measured_s:
            until_s = measured_s + self._options.warm_up_s
            asked_per_s = schedule.shape.area(self._options.warm_up_s, until_s) / measured_s
            achieved = health.handed
        return judge_generator(
            asked_per_s=asked_per_s,
            achieved_per_s=achieved / measured_s if measured_s else 0.0,
            arrivals=health.handed + health.dropped,
            dropped=health.dropped,
            lateness=times(health.lateness),
            loop_lag=times(health.loop_lag),
            cpu_share=health.cpu_share,
            doubts=self._doubts,
        )

    def _plan(self) -> LoadPlan:
        options = self._options
        classes = self._environment.user_classes
        module = inspect.getmodule(classes[0]) if classes else None
        return LoadPlan(
            scenario=self._scenario,
            question=(inspect.getdoc(module) or "").partition("\n")[0],
            model="closed" if options.rate is None else "open",
            spacing=options.spacing,
            stages=tuple(
                PlannedStage(duration_s=each.duration_s, start=each.start, end=each.end)
                for each in options.course.stages
            ),
            duration_s=options.course.duration_s,
            warm_up_s=options.warm_up_s,
            users=options.users,
            workers=max(1, len(self.health_by_worker)),
            seed=options.seed,
            client=options.client,
            verified_share=self.verification.share if self.verification else 0.0,
        )


def exit_code_of(results: LoadResults, *, was_interrupted: bool) -> ExitCode:
    """What a run that nothing stopped ends with; a broken promise counts even where times do not."""
    if was_interrupted:
        return ExitCode.INTERRUPTED
    if any(each.broken for each in results.invariants):  # broken, however late it was asked for
        return ExitCode.BREACH
    if not results.validity.is_valid:
        return ExitCode.INVALID_MEASUREMENT
    return ExitCode.KEPT if all(each.is_met for each in results.objectives) else ExitCode.BREACH


def _fingerprint(timer: str) -> Fingerprint:
    build = sysconfig.get_config_var("CONFIG_ARGS") or ""
    optimized = ", PGO" if "--enable-optimizations" in build else ", no PGO"
    return Fingerprint(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        build=platform.python_compiler() + optimized,
        versions={name: version(name) for name in _VERSIONS},
        platform=platform.platform(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        timer=timer,
    )
