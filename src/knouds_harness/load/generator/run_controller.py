"""Leads a load run, in the local or master process: what every second brings, the end, and the verdict."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import gevent.event
import gevent.lock
from locust.env import Environment

from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, HarnessError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.exchange.workflow_removal import MOST_WAIT_S
from knouds_harness.load.arrivals.load_shape import LoadShape
from knouds_harness.load.collection.evidence_samples import SampleWriter
from knouds_harness.load.collection.seconds import Second
from knouds_harness.load.distributed.messages import OBSERVATIONS, SAMPLES
from knouds_harness.load.generator.aborting import AbortWatch
from knouds_harness.load.generator.exit_summary import exit_code_of, exit_summary
from knouds_harness.load.generator.figures import RunFigures, scenario_name
from knouds_harness.load.generator.health import Health
from knouds_harness.load.generator.observers import Observers
from knouds_harness.load.generator.progress import ProgressTeller
from knouds_harness.load.generator.record_writer import LoadRecordWriter
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.workload.input_lines import InputFile
from knouds_harness.load.workload.workload import may_create, scenarios_in
from knouds_harness.measures.objectives import load_objectives, parse_bounds, parse_objectives
from knouds_harness.runs.load_results import TASK, JudgedObjective, LoadResults
from knouds_harness.runs.verdicts import LEFT_BEHIND
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.profile import Target

_CHECKPOINT_EVERY_S: Final = 5.0
_CLOCK_STANDS: Final = "Ended early: the clock of this machine stands still."


class RunController:
    """Takes what was counted, keeps the record, and says when and how the run ends.

    Attributes:
        shape: How many users Locust has to have; the run ends with it.
        samples: Some exchanges that were not kept.
        observers: What looks at answers and deliveries, of all processes.
    """

    def __init__(
        self,
        environment: Environment,
        options: LoadOptions,
        target: Target | None,
        *,
        own_health: Callable[[], Health],
        timer: Callable[[], str],
        inputs: InputFile | None = None,
        open_observers: Callable[[], Observers] = Observers,
    ) -> None:
        """Read the objectives, begin the record, and look at the target.

        Args:
            environment: Locust's, with its runner.
            options: What is asked for.
            target: The profile; without one no record is kept.
            own_health: How this process does; not asked of a master, which sends nothing.
            timer: What drives the arrivals.
            inputs: The file that says what runs are run with.
            open_observers: Called once the record is there; its failure removes that again.

        Raises:
            HarnessError: An objective, the folder of the record, or the target is not usable.
        """
        scenario = scenario_name(environment)
        objectives = parse_objectives(options.objective)
        objectives += load_objectives(options.objectives, scenario) if options.objectives else ()
        self._abort_bounds = parse_bounds(options.abort_on)
        self._environment = environment
        self._options = options
        self._abort_watch = AbortWatch(self._abort_bounds)
        self._aborted_for: tuple[JudgedObjective, ...] = ()
        self._notes: list[str] = []
        self._doubts: list[str] = []
        self._is_stopped = False
        self._exit_code: ExitCode | None = None
        self._written_s = 0.0
        self._is_concluded = self._is_anything_left = False
        self._told: set[tuple[str, str]] = set()
        self.shape = LoadShape(
            options, on_clock_standing=lambda: self.stop(_CLOCK_STANDS, ExitCode.INVALID_MEASUREMENT)
        )
        self._record = (
            LoadRecordWriter(options.record, target, options, scenario=scenario)
            if options.record is not None and target is not None
            else None
        )
        self._created: CreatedWorkflows | None = None
        self._hurry = gevent.event.Event()
        self._concluding = gevent.lock.RLock()
        self.samples = SampleWriter(self._record.add_exchange if self._record else lambda _: None)
        try:
            self.observers = open_observers()
        except HarnessError:
            self.discard()
            raise
        self._notes += self.observers.notes
        self._figures = RunFigures(
            environment,
            options,
            objectives=objectives,
            samples=self.samples,
            verification=self.observers.verification,
            own_health=own_health,
            timer=timer,
            inputs=inputs,
            redactor=Redactor.for_target(target) if target else Redactor(),
        )
        self._progress = self._open_progress(target)
        is_writing = target is not None and Action.WRITE in target.limits.allow
        if target and is_writing and any(map(may_create, scenarios_in(environment.user_classes))):
            write = self._record.add_created if self._record else lambda _: None
            self._created = CreatedWorkflows(target=target, write=write)
            with self._client(self._created) as client:
                client.list_existing()

    def begin(self, start_unix_s: float) -> None:
        """Load begins at this instant."""
        if self._created:
            self._created.announce_all(self._options.name_token)
        self._figures.begin(start_unix_s)
        self._abort_watch = AbortWatch(self._abort_bounds, from_unix_s=self._figures.measured_from_unix_s)
        self.shape.begin(start_unix_s)
        if self._progress:
            self._progress.begin(start_unix_s)

    def add_second(self, second: Second) -> None:
        """A second is over: keep it, and see whether the run has to end."""
        self._tell_task_errors(second)
        rows = self._figures.add(second)
        if self._progress:
            self._progress.add(second)
        if self._record:
            self._record.add_second(second, rows)
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

    def _tell_task_errors(self, second: Second) -> None:
        """Show an exception of a task the first time that it came."""
        for error in second.errors:
            if error.operation.startswith(TASK) and (error.operation, error.code) not in self._told:
                self._told.add((error.operation, error.code))
                sys.stderr.write(f"error: {error.operation}: {error.code}\n")

    def take_report(self, worker: str, health: Health, report: Mapping[str, Any]) -> None:
        """A worker reported; its seconds come by themselves."""
        self._figures.take_health(worker, health)
        self.samples.receive(report.get(SAMPLES, []))
        if self.observers.verification and OBSERVATIONS in report:
            self.observers.verification.receive(report[OBSERVATIONS])

    def checkpoint(self) -> None:
        """Write the figures so far, for the case that this process is killed."""
        self._write(self.results())
        if self._record:
            self._record.checkpoint()

    def note(self, sentence: str) -> None:
        """Keep something that readers of the figures have to know."""
        self._notes.append(sentence)

    def doubt(self, sentence: str) -> None:
        """Keep something for which the figures are not the target's alone: the measurement is not valid."""
        self.note(sentence)
        self._doubts.append(sentence)

    def stop(self, reason: str, exit_code: ExitCode | None) -> None:
        """End the run early; the first reason stands.

        Args:
            reason: For people.
            exit_code: What it ends with; None where that follows from the figures.
        """
        if self._is_stopped:
            return
        self._is_stopped = True
        self._exit_code = exit_code
        self._notes.insert(0, reason)
        self.end()

    def end(self) -> None:
        """End the load now; Locust does so at the next tick of the shape, and then quits."""
        self.shape.end()
        runner, parsed_options = self._environment.runner, self._environment.parsed_options
        if parsed_options and parsed_options.headless:
            parsed_options.expect_workers = 0  # Locust waits for so many before the first tick
        elif runner and not runner.shape_greenlet:
            gevent.spawn(runner.quit)

    def results(self) -> LoadResults:
        """The figures so far."""
        return self._figures.results(aborted_for=self._aborted_for, doubts=self._doubts, notes=self._notes)

    def discard(self) -> None:
        """Keep no record: the run cannot begin after all, and nothing was sent."""
        self._is_concluded = True
        if self._record:
            self._record.discard()

    def conclude(self) -> None:
        """Write the last figures, and have Locust end with our exit code; only once, also after a signal."""
        with self._concluding:
            if not self._is_concluded:
                self._is_concluded = True
                self._conclude()

    def _conclude(self) -> None:
        was_cut_short = not self._is_stopped and self._figures.elapsed_s < self._options.course.duration_s
        is_whole = self._is_kept(lambda: self._clean_up(is_urgent=was_cut_short))
        waiter, verification = self.observers.webhook_waiter, self.observers.verification
        self._notes += waiter.notes() if waiter else ()
        self._notes += verification.conclude(at_once=was_cut_short) if verification else ()
        results = self.results()
        exit_code = self._exit_code or exit_code_of(results, was_interrupted=was_cut_short)
        if self._is_anything_left:
            exit_code = exit_code or ExitCode.BREACH
        self._write(results)
        if record := self._record:
            is_whole &= self._is_kept(lambda: record.finish(exit_code, note="\n".join(self._notes)))
        exit_code = exit_code if is_whole else ExitCode.USAGE
        self._environment.process_exit_code = int(exit_code)
        if self._progress:
            self._progress.conclude(exit_code)
        if not self._options.started_by:
            sys.stderr.writelines(f"{line}\n" for line in exit_summary(results))

    def _is_kept(self, write: Callable[[], object]) -> bool:
        """Write into the record; if that fails, say why."""
        try:
            write()
        except (HarnessError, OSError) as problem:
            sys.stderr.write(f"error: the record is not whole: {problem}\n")
            return False
        return True

    def end_in_order(self) -> None:
        """End the load now, and let nothing wait for a target that throttles."""
        self.end()
        self._hurry.set()

    def _clean_up(self, *, is_urgent: bool) -> None:
        """Delete what is left of the workflows that the run has created."""
        if self._created is None:
            return
        if all(name != "createWorkflow" for name, _ in self._environment.stats.entries):
            self._created.finish(left=0)
            return
        with self._client(self._created) as client:
            left = client.remove_left(most_wait_s=0 if is_urgent else MOST_WAIT_S, wait=self._wait).left
        if left:
            self._is_anything_left = True
            command = f"knouds-harness cleanup {self._record.folder if self._record else ''}"
            self.note(f"{LEFT_BEHIND} ({command.strip()} tries again): {'; '.join(left)}")

    def _client(self, created: CreatedWorkflows) -> Client:
        guard = Guard(created.target, yes_production=self._options.yes_production)
        return Client(target=created.target, guard=guard, created=created)

    def _wait(self, seconds: float) -> None:
        if self._hurry.wait(seconds):
            raise KeyboardInterrupt

    def flush(self) -> None:
        """Return once all that was given to the record is written."""
        if self._record:
            self._record.flush()

    def _open_progress(self, target: Target | None) -> ProgressTeller | None:
        options = self._options
        if options.progress_descriptor is None:
            return None
        teller = ProgressTeller(
            options.progress_descriptor,
            options,
            folder=self._record.folder if self._record else None,
            most_credits=target.limits.credits if target else options.credits,
            health=self._figures.health,
            doubts=self._doubts,
        )
        teller.begin()
        return teller

    def _write(self, results: LoadResults) -> None:
        self._written_s = time.monotonic()
        if self._record:
            self._record.write(results)
