"""The leading side of a load run (single process or master): metrics, record, end, verdict."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import gevent
from gevent.event import Event
from gevent.lock import RLock
from locust.env import Environment

from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, GuardStop, HarnessError, UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.exchange.usage import ShownCharges
from knouds_harness.exchange.workflow_ledger import Ledger
from knouds_harness.exchange.workflow_removal import MOST_WAIT_S
from knouds_harness.load.arrivals.arrival_user import LoadShape
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.collection.evidence_samples import SampleWriter
from knouds_harness.load.collection.metrics import RunMetrics, cycles
from knouds_harness.load.collection.seconds import Second, now_unix_s
from knouds_harness.load.generator.load_run import NO_TARGET, LoadRun, LoadSetup
from knouds_harness.load.generator.progress import ProgressTeller
from knouds_harness.load.generator.record_writer import LoadRecordWriter, fingerprint, plan_of, scenario_name
from knouds_harness.load.generator.validity import (
    exit_code_of,
    exit_summary,
    missed_bound,
    validity_of,
    with_doubts,
)
from knouds_harness.load.invariants.verification import open_verification
from knouds_harness.load.invariants.webhook_waiter import open_webhook_waiter
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.workload.workload import has_runs, may_take
from knouds_harness.measures.delay import Delay
from knouds_harness.measures.objectives import (
    Objective,
    describe,
    judge_objectives,
    load_objectives,
    parse_bounds,
    parse_objectives,
)
from knouds_harness.runs.findings import LEFT_BEHIND
from knouds_harness.runs.load_results import JudgedObjective, LoadResults
from knouds_harness.runs.operation_load import TASK
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.needs.need import MAY_WRITE

_AHEAD_S: Final = 0.5
"""From the last user's start to the first arrival, so that the message reaches every worker."""
_CHECKPOINT_EVERY_S: Final = 5.0
_TELL_EVERY_S: Final = 1.0
_CLOCK_STANDS: Final = "Ended early: the clock of this machine stands still."


def objectives_of(options: LoadOptions, scenario: str) -> tuple[Objective, ...]:
    """Return the objectives of command line and file; raise ``UsageError`` if one cannot be read."""
    found = parse_objectives(options.objective)
    return found + (load_objectives(options.objectives, scenario) if options.objectives else ())


class LeadingRun(LoadRun):
    """Leads a run; without workers, this process also sends all of the load."""

    _is_distributed = False

    def __init__(self, environment: Environment, setup: LoadSetup) -> None:
        super().__init__(environment, setup)
        options, target, inputs = setup.options, setup.target, setup.inputs
        scenario = scenario_name(environment)
        self._objectives = objectives_of(options, scenario)
        self._abort_bounds = parse_bounds(options.abort_on)
        self._aborted_for: tuple[JudgedObjective, ...] = ()
        self._inputs = inputs.described(options.inputs_order) if inputs else ""
        self._redactor = Redactor.for_target(target) if target else Redactor()
        self.metrics = RunMetrics(warm_up_s=options.warm_up_s)
        self.shape = LoadShape(options)
        self._notes: list[str] = []
        self._doubts: list[str] = []
        self._exit_code: ExitCode | None = None
        self._is_prepared = self._is_stopped = self._is_concluded = self._is_anything_left = False
        self._concluding = RLock()
        self._hurry = Event()
        self._written_s = 0.0
        self._told_errors: set[tuple[str, str]] = set()
        self._all_created: CreatedWorkflows | None = None
        self._record = (
            LoadRecordWriter(options.record, target, options, scenario=scenario)
            if options.record is not None and target is not None
            else None
        )
        self.evidence = SampleWriter(self._record.add_exchange if self._record else lambda _: None)
        try:
            self._open_observers()
        except HarnessError:
            self.discard()
            raise
        self._progress = None
        if options.progress_descriptor is not None:
            self._progress = ProgressTeller(
                options.progress_descriptor,
                options,
                folder=self._record.folder if self._record else None,
                most_credits=target.limits.credits if target else options.credits,
            )
            gevent.spawn(self._tell_progress)
        if (
            target
            and Action.WRITE in target.limits.allow
            and any(may_take(each, MAY_WRITE) for each in self._scenarios)
        ):
            ledger = Ledger(write=self._record.add_created if self._record else None)
            self._all_created = CreatedWorkflows(target=target, ledger=ledger)
            with self._client(self._all_created) as client:
                client.list_existing()
        environment.events.spawning_complete.add_listener(self._on_spawning_complete)
        environment.events.quitting.add_listener(self._on_quitting)

    @property
    def workers(self) -> int:
        return 1

    # The beginning

    def on_test_start(self, **_: object) -> None:
        """Begin the load of the closed model: it begins when users start."""
        super().on_test_start()
        if self.arrivals is None:
            self.begin(now_unix_s())

    def begin(self, start_unix_s: float) -> None:
        if self._all_created:
            self._all_created.announce_all(self.options.name_token)
        self.metrics.begin(start_unix_s)
        self.shape.begin(start_unix_s)
        self._distribute(start_unix_s)

    def _distribute(self, start_unix_s: float) -> None:
        self.take_share(start_unix_s, Share())

    def _assemble(self) -> None:
        """Wait for all processes that send."""

    def _on_spawning_complete(self, **_: object) -> None:
        if self.arrivals is None or self._is_prepared:
            return
        self._is_prepared = True
        self._assemble()
        self.begin(float(math.ceil(now_unix_s() + _AHEAD_S)))  # whole, as the seconds of the metrics are

    def _open_observers(self) -> None:
        """Start the usage and webhook observers that the options ask for."""
        options, target, scenarios = self.options, self._target, self._scenarios
        if options.finish == "webhook" and scenarios and not any(map(has_runs, scenarios)):
            raise UsageError(
                "--finish webhook has no effect: no task of this scenario runs anything\n  Leave it out."
            )
        accounts = self._workload.accounts_of(scenarios) if self._workload else []
        self.verification = open_verification(options, target, scenarios, accounts=accounts, process=0)
        if options.finish != "webhook":
            return
        if target is None:
            raise UsageError(NO_TARGET)
        waiter, reason = None, "a run in several processes has no single place for deliveries"
        if not self._is_distributed:
            waiter, reason = open_webhook_waiter(
                target,
                accounts,
                receiver=self.verification.receiver if self.verification else None,
                yes_production=options.yes_production,
            )
        if waiter is None:
            self.note(f"Completion was detected by polling instead of webhook: {reason}.")
            return
        self.webhook_waiter = waiter
        if self.verification and self.verification.share and self.verification.receiver is None:
            self.verification.count_deliveries(waiter.receiver, waiter.webhook)

    # What every second brings

    def add_second(self, second: Second) -> None:
        """Count and record a second that is over; end the run if a bound is missed."""
        self._tell_task_errors(second)
        rows = tuple(self.metrics.add(second))
        if self._record:
            self._record.add_second(second, rows)
        missed = None if self._aborted_for else missed_bound(self._abort_bounds, self.metrics)
        if missed:
            self._aborted_for = (replace(missed, ended_run=True),)
            self.stop(
                f"Ended early: --abort-on was missed over ten seconds: {describe(missed)}.", ExitCode.BREACH
            )
        if time.monotonic() - self._written_s > _CHECKPOINT_EVERY_S:
            self.checkpoint()

    def _tell_task_errors(self, second: Second) -> None:
        for error in second.errors:
            if error.operation.startswith(TASK) and (error.operation, error.code) not in self._told_errors:
                self._told_errors.add((error.operation, error.code))
                sys.stderr.write(f"error: {error.operation}: {error.code}\n")

    def _tell_progress(self) -> None:
        while self._progress:
            self._progress.tell(self.metrics, self.health(), self._doubts)
            gevent.sleep(_TELL_EVERY_S)

    def checkpoint(self) -> None:
        """Write the metrics so far, in case this process is killed."""
        self._write(self.results())
        if self._record:
            self._record.checkpoint()

    def note(self, sentence: str) -> None:
        """Add a sentence that readers of the metrics must know."""
        self._notes.append(sentence)

    def doubt(self, sentence: str) -> None:
        """Add a reason why the measurement is not valid: the metrics do not show the target alone."""
        self.note(sentence)
        self._doubts.append(sentence)

    def results(self) -> LoadResults:
        if self.samples:
            for error, exchange in self.samples.take():
                self.evidence.add(error, exchange)
        options, metrics, verification = self.options, self.metrics, self.verification
        health, measured_s = self.health(), metrics.measured_s(options.load_shape.duration_s)
        operations = self.evidence.named_in(metrics.operations(measured_s))
        kept = metrics.kept_times()
        is_steady, steady_from_s = metrics.steady_from_s() if options.load_shape.ends_level else (None, None)
        invariants = verification.invariants() if verification else ()  # adds up what the next calls read
        verified_answers, answers = verification.verified_answers() if verification else (0, 0)
        results = LoadResults(
            plan=plan_of(
                self._environment,
                options,
                inputs=self._inputs,
                workers=self.workers,
                verified_share=verification.share if verification else 0.0,
            ),
            fingerprint=fingerprint(self.arrivals.timer if self.arrivals else ""),
            validity=validity_of(options, metrics, health, measured_s, kept=kept, missing=self._doubts),
            operations=operations,
            objectives=(),
            cycles=cycles(metrics.measured.histograms),
            overall=metrics.overall(),
            is_steady=is_steady,
            steady_from_s=steady_from_s,
            invariants=invariants,
            answers=answers,
            verified_answers=verified_answers,
            windows=verification.windows() if verification else (),
            begun_unix_s=metrics.start_unix_s,
            cost_credits=health.spent_credits,
            note="\n".join(self._notes),
        )
        judged = judge_objectives(self._objectives, [*operations, results.total])
        judged = with_doubts(judged, results.validity, kept=kept, delay=Delay(health.lags))
        return self._redactor.safe(replace(results, objectives=(*self._aborted_for, *judged)))

    # The end

    def stop(self, reason: str, exit_code: ExitCode | None) -> None:
        """End the run early; only the first call counts. Without an exit code, the metrics decide it."""
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
            parsed_options.expect_workers = 0  # Locust waits for that many before the first tick
        elif runner and not runner.shape_greenlet:
            gevent.spawn(runner.quit)

    def end_in_order(self) -> None:
        """End the load now, and do not wait for a target that throttles."""
        self.end()
        self._hurry.set()

    def discard(self) -> None:
        """Keep no record: the run cannot begin after all, and nothing was sent."""
        self._is_concluded = True
        if self._record:
            self._record.discard()

    def flush(self) -> None:
        if self._record:
            self._record.flush()

    def _on_test_stopping(self, **_: object) -> None:
        super()._on_test_stopping()
        self.shape.finish()
        if self.webhook_waiter:
            gevent.spawn_later(self._environment.stop_timeout / 2, self.webhook_waiter.end_waits)

    def _on_quitting(self, **_: object) -> None:
        self.seconds.hand_out(everything=True)
        self.conclude()

    def conclude(self) -> None:
        """Write the final metrics and set Locust's exit code; only once, even if a signal comes."""
        with self._concluding:
            if not self._is_concluded:
                self._is_concluded = True
                self._conclude()

    def _conclude(self) -> None:
        if self.shape.is_clock_standing:
            self.stop(_CLOCK_STANDS, ExitCode.INVALID_MEASUREMENT)
        was_cut_short = not self._is_stopped and self.metrics.elapsed_s < self.options.load_shape.duration_s
        is_whole = self._is_kept(lambda: self._clean_up(is_urgent=was_cut_short))
        self._notes += self.webhook_waiter.notes() if self.webhook_waiter else ()
        self._notes += self.verification.conclude(at_once=was_cut_short) if self.verification else ()
        self._conclude_costs()
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
            self._progress.conclude(self.metrics, self.health(), self._doubts, exit_code=exit_code)
        if not self.options.started_by:
            sys.stderr.writelines(f"{line}\n" for line in exit_summary(results))

    def _conclude_costs(self) -> None:
        """Compare the charges with the limit; comes last, as a server may charge for any request."""
        with suppress(HarnessError):  # usage that cannot be read shows nothing
            try:
                if self._limits:
                    self._note_usage(self._limits.conclude(has_just_ended=self._is_distributed))
            except GuardStop as stop:
                self.stop(str(stop), ExitCode.GUARD)

    def _note_usage(self, shown: ShownCharges) -> None:
        if self._record and self._target:
            counted = self.health().spent_credits
            for line in self._record.note_usage(self._target, shown, counted_credits=counted):
                self.note(line)

    def _is_kept(self, write: Callable[[], object]) -> bool:
        try:
            write()
        except (HarnessError, OSError) as problem:
            sys.stderr.write(f"error: the record is incomplete: {problem}\n")
            return False
        return True

    def _write(self, results: LoadResults) -> None:
        self._written_s = time.monotonic()
        if self._record:
            self._record.write(results)

    def _clean_up(self, *, is_urgent: bool) -> None:
        if self._all_created is None:
            return
        if all(name != "createWorkflow" for name, _ in self._environment.stats.entries):
            self._all_created.finish(left=0)
            return
        with self._client(self._all_created) as client:
            left = client.remove_left(most_wait_s=0 if is_urgent else MOST_WAIT_S, wait=self._wait).left
        if left:
            self._is_anything_left = True
            command = f"knouds-harness cleanup {self._record.folder if self._record else ''}"
            self.note(f"{LEFT_BEHIND} ({command.strip()} tries again): {'; '.join(left)}")

    def _client(self, created: CreatedWorkflows) -> Client:
        guard = Guard(created.target, yes_production=self.options.yes_production)
        return Client(target=created.target, guard=guard, created=created)

    def _wait(self, seconds: float) -> None:
        until = datetime.now(UTC).astimezone() + timedelta(seconds=seconds)
        sys.stderr.write(f"waiting {seconds:.0f} s to delete workflows: throttled until {until:%H:%M:%S}\n")
        if self._hurry.wait(seconds):
            raise KeyboardInterrupt
