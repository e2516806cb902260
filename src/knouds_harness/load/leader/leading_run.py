"""The process that leads a load run: metrics, record, end, verdict."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Final

import gevent
from gevent.event import Event
from gevent.lock import RLock
from locust.env import Environment
from locust.runners import MasterRunner

from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, GuardStop, HarnessError, UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.exchange.usage import ShownCharges
from knouds_harness.exchange.workflow_ledger import Ledger
from knouds_harness.exchange.workflow_removal import MOST_WAIT_S
from knouds_harness.load import messages
from knouds_harness.load.arrivals.arrival_user import LoadShape
from knouds_harness.load.collection.cycles import cycles
from knouds_harness.load.collection.evidence_samples import SampleWriter
from knouds_harness.load.collection.metrics import RunMetrics, ok_times, operations_of
from knouds_harness.load.collection.rows import RequestRow, Rows
from knouds_harness.load.collection.seconds import Second, SecondsCollector, error_of, now_unix_s
from knouds_harness.load.invariants.verification import LoadVerification, open_verification
from knouds_harness.load.leader.progress import ProgressTeller
from knouds_harness.load.leader.record_writer import LoadRecordWriter, fingerprint, plan_of, scenario_name
from knouds_harness.load.leader.validity import (
    exit_code_of,
    exit_summary,
    missed_bound,
    validity_of,
    with_doubts,
)
from knouds_harness.load.leader.workers import Health, Workers
from knouds_harness.load.messages import FINISH_WITHIN_S
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.workload.deliveries import Deliveries, open_deliveries
from knouds_harness.load.workload.limits import LoadLimits
from knouds_harness.load.workload.preflight import NO_TARGET, LoadSetup
from knouds_harness.load.workload.workload import has_runs, may_take, scenarios_in
from knouds_harness.measures.delay import Delay
from knouds_harness.measures.objectives import (
    Objective,
    judge_objectives,
    load_objectives,
    observed,
    parse_bounds,
    parse_objectives,
    with_stated,
)
from knouds_harness.runs.findings import LEFT_BEHIND
from knouds_harness.runs.load_results import JudgedObjective, LoadResults
from knouds_harness.runs.operation_load import TASK, RequestStatus, unlabelled
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.needs.need import MAY_WRITE

_AHEAD_S: Final = 0.25
"""From the last user's start to the first arrival, so that the message reaches every worker."""
_CHECKPOINT_EVERY_S: Final = 5.0
_ROUNDING_S: Final = 1e-3
_TELL_EVERY_S: Final = 1.0
_CLOCK_STANDS: Final = "Ended early: the clock of this machine stands still."


def objectives_of(options: LoadOptions, scenario: str) -> tuple[Objective, ...]:
    """Return the objectives of command line, file and contract; raise ``UsageError`` if one is unreadable."""
    found = parse_objectives(options.objective)
    return with_stated(found + (load_objectives(options.objectives, scenario) if options.objectives else ()))


class LeadingRun:
    """Leads a run: it sends no load, and all that is counted, judged and written is so here.

    Attributes:
        metrics: The sums of all seconds.
        shape: How many users Locust runs, and when the load ends.
        workers: The processes that send.
    """

    def __init__(self, environment: Environment, setup: LoadSetup) -> None:
        runner = environment.runner
        assert isinstance(runner, MasterRunner)  # noqa: S101 - this is its role
        options, target, inputs = setup.options, setup.target, setup.inputs
        scenario = scenario_name(environment)
        self.options = options
        self._environment, self._runner = environment, runner
        self._target = target
        self._workload = setup.workload
        self._scenarios = scenarios_in(environment.user_classes)
        environment.stop_timeout = environment.stop_timeout or FINISH_WITHIN_S
        self._limits = LoadLimits(target, ahead=setup.ahead) if target else None
        self._objectives = objectives_of(options, scenario)
        self._abort_bounds = parse_bounds(options.abort_on)
        self._aborted_for: tuple[JudgedObjective, ...] = ()
        self._inputs = inputs.described(options.inputs_order) if inputs else ""
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
        self._of_deliveries: dict[str, tuple[int, int]] = {}
        self._listen()
        self._record = (
            LoadRecordWriter(options.record, target, options, scenario=scenario)
            if options.record is not None and target is not None
            else None
        )
        runs = self._workload.run_requests(self._scenarios) if self._workload else []
        self.evidence = SampleWriter(
            target,
            self._record.add_exchange if self._record else lambda _: None,
            cost_credits_by_path={each.path: each.cost_credits for each in runs},
        )
        self.verification: LoadVerification | None = None
        self.deliveries: Deliveries | None = None
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
        self._announce_creates()

    def _listen(self) -> None:
        """Take what Locust and the processes that send tell."""
        environment = self._environment
        self._redactor = Redactor.for_target(self._target) if self._target else Redactor()
        events = environment.events
        events.test_start.add_listener(self.on_test_start)
        events.test_stopping.add_listener(self._on_test_stopping)
        self.seconds = SecondsCollector(
            environment,
            on_second=self.add_second,
            on_row=self._on_row,
            on_extras=self._on_extras,
            redactor=self._redactor,
        )
        assert self.seconds.final_reports is not None  # noqa: S101 - a master's
        self.workers = Workers(
            self._runner,
            self.seconds.final_reports,
            most_credits=self._limits.budget.left_credits if self._limits else 0.0,
            doubt=self.doubt,
            stop=self.stop,
        )
        events.spawning_complete.add_listener(self._on_spawning_complete)
        events.quitting.add_listener(self._on_quitting)

    def _announce_creates(self) -> None:
        """Keep a ledger of the workflows that the load may create."""
        target = self._target
        if (
            target
            and Action.WRITE in target.limits.allow
            and any(may_take(each, MAY_WRITE) for each in self._scenarios)
        ):
            ledger = Ledger(write=self._record.add_created if self._record else None)
            self._all_created = CreatedWorkflows(target=target, ledger=ledger)
            with self._client(self._all_created) as client:
                client.list_existing()

    def attach(self) -> None:
        vars(self._environment)["load_run"] = self

    def health(self) -> Health:
        return self.workers.health()

    # The beginning

    def on_test_start(self, **_: object) -> None:
        """Begin the load of the closed model: it begins when users start."""
        if self.options.rate is None:
            self.begin(now_unix_s())

    def begin(self, start_unix_s: float) -> None:
        if self._all_created:
            self._all_created.announce_all(self.options.name_token)
        self.metrics.begin(start_unix_s)
        self.seconds.counter.begin(start_unix_s, self.metrics.measured_from_unix_s)
        stages = self.options.load_shape.stages
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

    def _open_observers(self) -> None:
        """Start the usage and webhook observers that the options ask for."""
        options, target, scenarios = self.options, self._target, self._scenarios
        if options.finish == "webhook" and scenarios and not any(map(has_runs, scenarios)):
            raise UsageError(
                "--finish webhook has no effect: no task of this scenario runs anything\n  Leave it out."
            )
        accounts = self._workload.accounts_of(scenarios) if self._workload else []
        self.verification = open_verification(options, target, scenarios, accounts=accounts)
        if options.finish != "webhook":
            return
        if target is None:
            raise UsageError(NO_TARGET)
        self.deliveries, reason = open_deliveries(
            target,
            accounts,
            receiver=self.verification.receiver if self.verification else None,
            forward=self._forward_delivery,
        )
        if self.deliveries is None:
            self.note(f"Completion was detected by polling instead of webhook: {reason}.")
            return
        if self.verification:
            self.verification.introduce(self.deliveries.keys)
            if self.verification.share and self.verification.receiver is None:
                self.verification.count_deliveries(self.deliveries.receiver, self.deliveries.webhook)

    def _forward_delivery(self, *delivery: object) -> None:
        told: Any = delivery
        self._runner.send_message(messages.DELIVERED, told)

    # What the processes that send hand over

    def _on_row(self, row: RequestRow, epoch_s: float) -> RequestRow:
        """Judge the answer to a request, keep it as evidence, and count it in Locust's statistics."""
        if self.verification:
            judged = self.verification.look(row._replace(name=unlabelled(row.name)), epoch_s=epoch_s)
            row = judged._replace(name=row.name)
        if row.failure is not None and row.answer is not None:
            self.evidence.add(error_of(row), row.answer)
        stats = self._environment.stats
        stats.log_request(row.method, row.name, row.response_ms, row.length)  # type: ignore[arg-type]  # floats do
        if row.failure is not None and row.status != RequestStatus.OK:
            stats.log_error(row.method, row.name, row.failure[2])
        return row

    def _on_extras(self, worker: str, told: dict[str, Any], rows: Rows, epoch_s: float) -> None:
        until_unix_s = (self.metrics.start_unix_s or 0.0) + self.options.load_shape.duration_s
        measured = self.metrics.measured_from_unix_s, until_unix_s
        self.workers.take(worker, told, rows.requests, epoch_s=epoch_s, measured=measured)
        self._of_deliveries[worker] = told["deliveries"]
        if self.verification:
            self.verification.follow(worker, told["workflows"], epoch_s)

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
            bound = f"{missed.measure}={missed.bound:g}"
            self.stop(f"Ended early: {missed.operation} missed --abort-on {bound}.", ExitCode.BREACH)
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
        options, metrics, verification = self.options, self.metrics, self.verification
        health, measured_s = self.health(), metrics.measured_s(options.load_shape.duration_s)
        ok, delay = ok_times(metrics.measured), Delay(health.loop_lag)
        doubts_by_operation = {each.operation: delay.doubts_ms(each) for each in ok}
        operations = tuple(
            replace(each, doubts_ms=doubts_by_operation.get(each.operation, {}))
            for each in self.evidence.named_in(operations_of(metrics.measured, measured_s))
        )
        is_level = options.load_shape.ends_level
        is_steady, steady_from_s = metrics.steadiness.from_s() if is_level else (None, None)
        invariants = verification.invariants() if verification else ()  # adds up what the next calls read
        verified_answers, answers = verification.verified_answers() if verification else (0, 0)
        plan = plan_of(
            self._environment,
            options,
            inputs=self._inputs,
            workers=self.workers.count,
            verified_share=verification.share if verification else 0.0,
        )
        results = LoadResults(
            plan=plan,
            fingerprint=fingerprint(health.timer),
            validity=validity_of(options, metrics, health, measured_s, ok=ok, missing=self._doubts),
            operations=operations,
            task_errors=metrics.task_errors(),
            stages=metrics.stages(plan.stages),
            objectives=(),
            cycles=cycles(metrics.measured.histograms),
            overall=metrics.overall(),
            overall_by_label=metrics.overall_by_label(),
            is_steady=is_steady,
            steady_from_s=steady_from_s,
            slow_seconds=metrics.steadiness.slow_seconds() if is_level else (),
            invariants=invariants,
            answers=answers,
            verified_answers=verified_answers,
            windows=verification.windows() if verification else (),
            begun_unix_s=metrics.start_unix_s,
            cost_credits=health.spent_credits,
            note="\n".join(self._notes),
        )
        measured = [*operations, *results.totals]
        judged = judge_objectives(self._objectives, measured, stages=results.stages)
        ok += metrics.ok_times_by_stage()
        judged = with_doubts(judged, results.validity, ok=ok, delay=delay)
        aborted = [
            replace(each, observed_in_all=observed(each.measure, load))
            for each in self._aborted_for
            for load in measured
            if load.operation == each.operation
        ]
        return self._redactor.safe(replace(results, objectives=(*aborted, *judged)))

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
        self.metrics.end(now_unix_s())
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
        if self.shape.is_clock_standing:
            self.stop(_CLOCK_STANDS, ExitCode.INVALID_MEASUREMENT)
        whole_s = self.options.load_shape.duration_s - _ROUNDING_S
        was_cut_short = not self._is_stopped and self.metrics.elapsed_s < whole_s
        is_whole = self._is_kept(lambda: self._clean_up(is_urgent=was_cut_short))
        if self.deliveries:
            unconfigured, refused = map(sum, zip((0, 0), *self._of_deliveries.values(), strict=True))
            self._notes += self.deliveries.notes(unconfigured=unconfigured, refused=refused)
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
                    self._note_usage(
                        self._limits.conclude(has_just_ended=any(map(has_runs, self._scenarios)))
                    )
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
        if all(unlabelled(name) != "createWorkflow" for name, _ in self._environment.stats.entries):
            self._all_created.record.finish(left=0)
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
