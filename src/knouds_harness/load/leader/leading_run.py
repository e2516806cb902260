"""The process that leads a load run: metrics, record, end, verdict."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Final

import gevent
from gevent.event import Event
from gevent.lock import RLock
from locust.env import Environment
from locust.runners import MasterRunner

from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, GuardStop, HarnessError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.creation_record import Ledger
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.exchange.workflow_removal import MOST_WAIT_S
from knouds_harness.load.arrivals.arrival_user import LoadShape
from knouds_harness.load.collection.evidence_samples import SampleWriter
from knouds_harness.load.collection.metrics import RunMetrics
from knouds_harness.load.collection.rows import RequestRow, Rows
from knouds_harness.load.collection.seconds import Second, SecondsCollector, error_of, now_unix_s
from knouds_harness.load.invariants.verification import open_verification
from knouds_harness.load.leader.record_writer import LoadRecordWriter
from knouds_harness.load.leader.results import RunResults, scenario_name
from knouds_harness.load.leader.validity import exit_code_of, exit_summary
from knouds_harness.load.leader.workers import Workers
from knouds_harness.load.messages import set_stop_timeout
from knouds_harness.load.workload.limits import LoadLimits
from knouds_harness.load.workload.preflight import LoadSetup
from knouds_harness.load.workload.workload import may_take, scenarios_in
from knouds_harness.runs.findings import LEFT_BEHIND
from knouds_harness.runs.load_progress import ProgressMessage, tell
from knouds_harness.runs.load_results import LoadResults
from knouds_harness.runs.operation_load import TASK, RequestStatus, unlabelled
from knouds_harness.runs.unsettled import note_usage
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.needs import MAY_WRITE
from knouds_harness.targets.profile import Target

_AHEAD_S: Final = 0.25
"""From the last user's start to the first arrival, so that the message reaches every worker."""
_CHECKPOINT_EVERY_S: Final = 5.0
_ROUNDING_S: Final = 1e-3
_TELL_EVERY_S: Final = 1.0


class LeadingRun:
    """Leads a run: it sends no load, and all that is counted, judged and written is so here."""

    def __init__(self, environment: Environment, setup: LoadSetup) -> None:
        runner = environment.runner
        assert isinstance(runner, MasterRunner)  # noqa: S101 - this is its role
        options, target = setup.options, setup.target
        scenarios, scenario = scenarios_in(environment.user_classes), scenario_name(environment)
        redactor = Redactor.for_target(target) if target else Redactor()
        self.options = options
        self._environment, self._runner, self._target = environment, runner, target
        set_stop_timeout(environment, target)
        self._limits = LoadLimits(target, ahead=setup.ahead) if target else None
        self.metrics = RunMetrics(warm_up_s=options.warm_up_s)
        self.shape = LoadShape(options)
        environment.events.test_stopping.add_listener(self._on_test_stopping)  # before the last reports come
        self._exit_code: ExitCode | None = None
        self._is_prepared = self._is_stopped = self._is_concluded = False
        self._concluding = RLock()
        self._written_s = 0.0
        self._told_errors: set[tuple[str, str]] = set()
        self.seconds = SecondsCollector(
            environment,
            on_second=self.add_second,
            on_row=self._on_row,
            on_extras=self._on_extras,
            redactor=redactor,
        )
        assert self.seconds.final_reports is not None  # noqa: S101 - a master's
        self.workers = Workers(
            runner,
            self.seconds.final_reports,
            most_credits=self._limits.budget.left_credits if self._limits else 0.0,
            doubt=self.doubt,
            stop=self.stop,
        )
        events = environment.events
        events.test_start.add_listener(self.on_test_start)
        events.spawning_complete.add_listener(self._on_spawning_complete)
        events.quitting.add_listener(self._on_quitting)
        runs = setup.workload.run_requests(scenarios) if setup.workload else []
        self.evidence = SampleWriter(
            target,
            lambda exchange: self._record.add_exchange(exchange) if self._record else None,
            cost_credits_by_path={each.path: each.cost_credits for each in runs},
        )
        self.results = RunResults(
            environment,
            setup,
            metrics=self.metrics,
            workers=self.workers,
            evidence=self.evidence,
            redactor=redactor,
        )
        self._record: LoadRecordWriter | None = None
        if options.record is not None and target is not None:
            self._record = LoadRecordWriter(options.record, target, options, scenario=scenario)
        self._cleanup: WorkflowCleanup | None = None
        accounts = setup.workload.accounts_of(scenarios) if setup.workload else []
        try:
            self.results.verification = open_verification(options, target, scenarios, accounts=accounts)
            if target and Action.WRITE in target.limits.allow and may_take(MAY_WRITE, scenarios):
                write = self._record.run.add_created if self._record else None
                self._cleanup = WorkflowCleanup(target, write=write, yes_production=options.yes_production)
        except (HarnessError, SystemExit):
            self.discard()
            raise
        vars(environment)["load_run"] = self  # where ``run_of`` finds it
        if options.progress_descriptor is not None:
            gevent.spawn(self._tell_progress, options.progress_descriptor)

    # The beginning

    def on_test_start(self, **_: object) -> None:
        """Begin the load of the closed model: it begins when users start."""
        if self.options.rate is None:
            self.begin(now_unix_s())

    def begin(self, start_unix_s: float) -> None:
        if self._cleanup:
            self._cleanup.created.announce_all(self.options.name_token)
        self.metrics.begin(start_unix_s)
        self.seconds.counter.begin(start_unix_s, self.metrics.measured_from_unix_s)
        shape, stages = self.options.load_shape, self.options.load_shape.stages
        self.seconds.counter.ended_unix_s = start_unix_s + shape.duration_s
        if self.options.rate is not None:
            self.seconds.counter.busy_from_unix_s = start_unix_s + shape.instant(self.options.users / 2)
        begin_s = [*accumulate((each.duration_s for each in stages[:-1]), initial=start_unix_s)]
        self.seconds.counter.stages_from_unix_s = begin_s if stages[1:] else ()
        self.shape.begin(start_unix_s)
        self.workers.share(start_unix_s)

    def _on_spawning_complete(self, **_: object) -> None:
        if self.options.rate is None or self._is_prepared:
            return
        self._is_prepared = True
        self.workers.assemble()
        self.begin(now_unix_s() + _AHEAD_S)

    # What the processes that send hand over

    def _on_row(self, row: RequestRow, epoch_s: float) -> RequestRow:
        """Judge the answer to a request, keep it as evidence, and count it in Locust's statistics."""
        if verification := self.results.verification:
            judged = verification.look(row._replace(name=unlabelled(row.name)), epoch_s=epoch_s)
            row = judged._replace(name=row.name)
        if row.failure is not None and row.answer is not None:
            self.evidence.add(error_of(row), row.answer)
        stats = self._environment.stats
        stats.log_request(row.method, row.name, row.response_ms, row.length)  # type: ignore[arg-type]  # floats do
        if row.failure is not None and row.status != RequestStatus.OK:
            stats.log_error(row.method, row.name, row.failure[2])
        return row

    def _on_extras(self, worker: str, told: dict[str, Any], rows: Rows, epoch_s: float) -> None:
        measured = self.metrics.measured_from_unix_s, self.seconds.counter.ended_unix_s
        self.workers.take(worker, told, rows.requests, epoch_s=epoch_s, measured=measured)
        if verification := self.results.verification:
            verification.follow(worker, told["workflows"], epoch_s)

    # What every second brings

    def add_second(self, second: Second) -> None:
        """Count and record a second that is over; end the run if a bound is missed."""
        self._tell_task_errors(second)
        rows = tuple(self.metrics.add(second))
        if self._record:
            self._record.add_second(second, rows)
        is_of_load = second.unix_s < self.seconds.counter.ended_unix_s
        if is_of_load and (missed := self.results.missed_bound()):
            self.stop(f"Ended early by --abort-on: {missed}.", ExitCode.BREACH)
        if time.monotonic() - self._written_s > _CHECKPOINT_EVERY_S:
            self.checkpoint()

    def _tell_task_errors(self, second: Second) -> None:
        for error in second.errors:
            if error.operation.startswith(TASK) and (error.operation, error.code) not in self._told_errors:
                self._told_errors.add((error.operation, error.code))
                sys.stderr.write(f"error: {error.operation}: {error.code}\n")

    def _tell_progress(self, descriptor: int) -> None:
        while True:  # in a thread: the command may read slowly
            gevent.get_hub().threadpool.apply(tell, (descriptor, self._progress()))
            gevent.sleep(_TELL_EVERY_S)

    def _progress(self, exit_code: ExitCode | None = None) -> ProgressMessage:
        folder = self._record.folder if self._record else None
        progress = self.results.progress(self.seconds.counter.not_taken(), folder=folder)
        return ProgressMessage(progress=progress, exit_code=exit_code)

    def checkpoint(self) -> None:
        """Write the metrics so far, in case this process is killed."""
        self._write(self.results.so_far())

    def doubt(self, sentence: str) -> None:
        """Add a reason why the measurement is not valid: the metrics do not show the target alone."""
        self.results.notes.append(sentence)
        self.results.doubts.append(sentence)

    # The end

    def stop(self, reason: str, exit_code: ExitCode | None) -> None:
        """End the run early; only the first call counts. Without an exit code, the metrics decide it."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._exit_code = exit_code
        self.results.notes.insert(0, reason)
        if self.options.started_by:  # requests in flight may take long to end
            sys.stderr.write(f"{reason}\n")
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
        if self._cleanup:
            self._cleanup.hurry.set()

    def discard(self) -> None:
        """Keep no record: the run cannot begin after all, and nothing was sent."""
        self._is_concluded = True
        if self._record:
            self._record.discard()

    def _on_test_stopping(self, **_: object) -> None:
        now_s, counter = now_unix_s(), self.seconds.counter
        self.metrics.end(now_s)
        counter.ended_unix_s = min(now_s, counter.ended_unix_s)
        self.shape.finish()
        self.workers.end()

    def _on_quitting(self, **_: object) -> None:
        self.workers.end()
        self.seconds.hand_out(everything=True)
        self.conclude()

    def conclude(self) -> None:
        """Write the final metrics and set Locust's exit code; only once, even if a signal comes."""
        with self._concluding:
            if not self._is_concluded:
                self._is_concluded = True
                self._conclude()

    def _conclude(self) -> None:
        whole_s = self.options.load_shape.duration_s - _ROUNDING_S
        was_cut_short = not self._is_stopped and self.metrics.elapsed_s < whole_s
        left, problems = self._clean_up(is_urgent=was_cut_short)
        if verification := self.results.verification:
            self.results.notes += verification.conclude(at_once=was_cut_short)
        self._conclude_costs()
        results = self.results.so_far()
        exit_code = self._exit_code or exit_code_of(results, was_interrupted=was_cut_short)
        if left:
            exit_code = exit_code or ExitCode.BREACH
        self._write(results)
        if record := self._record:
            note = "\n".join(self.results.notes)
            problems += _problem_of(lambda: record.finish(exit_code, note=note))
        for problem in problems:
            sys.stderr.write(f"error: the record is incomplete: {problem}\n")
        exit_code = ExitCode.USAGE if problems else exit_code
        self._environment.process_exit_code = int(exit_code)
        if self.options.progress_descriptor is not None:
            tell(self.options.progress_descriptor, self._progress(exit_code))
        if not self.options.started_by:
            sys.stderr.writelines(f"{line}\n" for line in exit_summary(results))

    def _conclude_costs(self) -> None:
        """Compare the charges with the limit; comes last, as a server may charge for any request."""
        health = self.workers.health()
        try:
            if self._limits and self._target:
                shown = self._limits.conclude(has_just_ended=health.runs > 0)
                if self._record and (health.runs or shown.credits):
                    run, target = self._record.run, self._target
                    note_usage(run, target, shown, counted_credits=health.spent_credits, runs=health.runs)
        except GuardStop as stop:
            self.stop(str(stop), ExitCode.GUARD)
        except HarnessError:
            return  # usage that cannot be read shows nothing

    def _write(self, results: LoadResults) -> None:
        self._written_s = time.monotonic()
        if self._record:
            self._record.write(results)

    def _clean_up(self, *, is_urgent: bool) -> tuple[list[str], list[str]]:
        """Delete what was created; return what is left, and why the ledger is incomplete."""
        cleanup, left = self._cleanup, list[str]()
        if cleanup is None:
            return [], []
        has_created = any(unlabelled(name) == "createWorkflow" for name, _ in self._environment.stats.entries)
        problems = _problem_of(
            lambda: left.extend(cleanup.remove(has_created=has_created, is_urgent=is_urgent))
        )
        if left:
            command = f"knouds-harness cleanup {self._record.folder if self._record else ''}"
            self.results.notes.append(f"{LEFT_BEHIND} ({command.strip()} tries again): {'; '.join(left)}")
        return left, problems


def _problem_of(write: Callable[[], object]) -> list[str]:
    try:
        write()
    except (HarnessError, OSError) as problem:
        return [str(problem)]
    return []


class WorkflowCleanup:
    """Keeps a ledger of the workflows that the load may create, and deletes them at the end."""

    def __init__(
        self, target: Target, *, write: Callable[[bytes], object] | None, yes_production: bool
    ) -> None:
        """Read which workflows there are; ``write`` takes the lines of the ledger."""
        self.created = CreatedWorkflows(target=target, ledger=Ledger(write=write))
        self.hurry = Event()  # once set, a target that throttles is not waited for
        self._yes_production = yes_production
        with self._client() as client:
            client.list_existing()

    def remove(self, *, has_created: bool, is_urgent: bool) -> Sequence[str]:
        """Delete what was created; return what is left, in words."""
        if not has_created:
            self.created.record.finish(left=0)
            return ()
        with self._client() as client:
            return client.remove_left(most_wait_s=0 if is_urgent else MOST_WAIT_S, wait=self._wait).left

    def _client(self) -> Client:
        guard = Guard(self.created.target, yes_production=self._yes_production)
        return Client(target=self.created.target, guard=guard, created=self.created)

    def _wait(self, seconds: float) -> None:
        until = datetime.now(UTC).astimezone() + timedelta(seconds=seconds)
        sys.stderr.write(f"waiting {seconds:.0f} s to delete workflows: throttled until {until:%H:%M:%S}\n")
        if self.hurry.wait(seconds):
            raise KeyboardInterrupt
