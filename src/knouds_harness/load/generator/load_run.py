"""One load run in one process of Locust: it owns what users need, and begins and ends with the test."""

from __future__ import annotations

import math
import random
import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

import gevent
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from knouds_harness.contract.operations import RUN_OPERATIONS
from knouds_harness.errors import ExitCode, GuardStop, HarnessError, UsageError
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.load.arrivals.arrival_user import Arrivals
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.client.http_client import tls_context
from knouds_harness.load.client.response import Response
from knouds_harness.load.collection.cycles import CycleLog
from knouds_harness.load.collection.evidence_samples import Samples
from knouds_harness.load.collection.seconds import SecondsCollector
from knouds_harness.load.collection.summary import SERVER
from knouds_harness.load.distributed.messages import HEALTH, OBSERVATIONS, SAMPLES
from knouds_harness.load.distributed.worker_client import WorkerClient
from knouds_harness.load.distributed.worker_coordinator import WorkerCoordinator
from knouds_harness.load.generator.observers import Observers, open_observers
from knouds_harness.load.generator.process_load import NO_TARGET, ProcessLoad
from knouds_harness.load.generator.run_controller import RunController
from knouds_harness.load.generator.task_errors import TaskErrors
from knouds_harness.load.invariants.verification import open_verification
from knouds_harness.load.invariants.webhook_waiter import WebhookWaiter
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.steady_clock import now_unix_s
from knouds_harness.load.workload.input_lines import InputFile, InputTurns
from knouds_harness.load.workload.limits import LoadLimits
from knouds_harness.load.workload.preflight import NOT_LOOKED, LookedAhead
from knouds_harness.load.workload.workload import Scenario, UserTasks, Workload, scenarios_in
from knouds_harness.runs.load_results import RequestStatus
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.profile import Target

_AHEAD_S: Final = 0.5
"""Between the last user's start and the first arrival: for the message to reach every worker."""
_FINISH_WITHIN_S: Final = 10.0
"""For what is in flight at the end, which would not be counted, where there is no ``--stop-timeout``."""
_MOST_MS: Final = 1e9


class LoadRun:
    """Owns what the process of a run has; users find it as ``load_run``.

    Attributes:
        options: What is asked for.
        load: What this process sends.
        created: The workflows that it has created.
        input_turns: Says what each run is run with; None to run what the profile says.
        chance: Draws what is up to chance.
        passed: Tasks that came to their end at least once in this process.
        answer_within_s: The longest that a user may wait for an answer.
        tls: What connections to the target are made with; None where its profile names no certificates.
        controller: In the local or master process: leads the run.
        recording: Counts this process's requests.
    """

    def __init__(
        self,
        environment: Environment,
        options: LoadOptions,
        target: Target | None,
        *,
        workload: Workload | None,
        inputs: InputFile | None = None,
        ahead: LookedAhead = NOT_LOOKED,
    ) -> None:
        """Make ready, and listen to Locust.

        Args:
            environment: Has its runner.
            options: What is asked for.
            target: The profile, if one was named.
            workload: Who sends; None without a target.
            inputs: The file that says what runs are run with.
            ahead: What was learnt of the target before.

        Raises:
            HarnessError: The record, an objective, or the target is not usable.
        """
        self.options = options
        self._environment = environment
        self._workload = workload
        self.input_turns = (
            InputTurns(inputs.lines, order=options.inputs_order, seed=options.seed) if inputs else None
        )
        self._tasks: dict[type[Scenario], UserTasks] = {}
        self.tls = _tls_of(target) if target else None
        self.passed: set[Any] = set()
        self._is_prepared = False
        self.answer_within_s = target.limits.timeout_s if target else math.inf
        environment.stop_timeout = environment.stop_timeout or _FINISH_WITHIN_S
        events, runner = environment.events, environment.runner
        self._worker_index = runner.worker_index if isinstance(runner, WorkerRunner) else 0
        self._worker_client = WorkerClient(runner, self) if isinstance(runner, WorkerRunner) else None
        self._draw_anew()
        self.created = CreatedWorkflows(target=target or Target(name="", base_url=""))
        self.load = ProcessLoad(runner, options, target, lease=self._worker_client, ahead=ahead)
        scenarios = scenarios_in(environment.user_classes)
        self.controller: RunController | None = None
        if self._worker_client:
            self._observers = Observers(
                verification=open_verification(options, target, scenarios, process=self._worker_index)
            )
        else:
            self.controller = RunController(
                environment,
                options,
                target,
                own_health=self.load.health,
                timer=lambda: self.load.timer,
                inputs=inputs,
                open_observers=lambda: open_observers(
                    options, target, workload, scenarios, is_distributed=isinstance(runner, MasterRunner)
                ),
            )
            self._observers = self.controller.observers
        on_sample = self.controller.samples.add if self.controller else None
        self._samples = Samples(target, on_sample=on_sample) if target else None
        events.test_start.add_listener(self.on_test_start)
        events.test_stopping.add_listener(self._on_test_stopping)  # before the recording's, which may wait
        self.recording = SecondsCollector(
            environment,
            on_second=self.controller.add_second if self.controller else lambda _: None,
            on_not_kept=self._samples.add if self._samples else None,
            redactor=Redactor.for_target(target) if target else None,
        )
        TaskErrors(
            environment,
            self.recording.recorder,
            users=options.users,
            passed=self.passed,
            on_always=lambda reason: self.stop(reason, ExitCode.BREACH),
        )
        self._coordinator: WorkerCoordinator | None = None
        if self.controller:
            final_reports = self.recording.final_reports
            if isinstance(runner, MasterRunner) and final_reports:
                most_credits = self.load.limits.budget.left_credits if target else 0.0
                self._coordinator = WorkerCoordinator(
                    runner, self.controller, final_reports, most_credits=most_credits
                )
            events.spawning_complete.add_listener(self._on_spawning_complete)
            events.quitting.add_listener(self._on_quitting)
        vars(environment)["load_run"] = self  # where run_of finds it

    # What users need

    @property
    def arrivals(self) -> Arrivals | None:
        """Of the open model; None in the closed one."""
        return self.load.arrivals

    @property
    def limits(self) -> LoadLimits:
        """What this process may still do to the target."""
        return self.load.limits

    @property
    def webhook_waiter(self) -> WebhookWaiter | None:
        """Gets deliveries; None where ends of runs are polled for."""
        return self._observers.webhook_waiter

    @cached_property
    def cycles(self) -> CycleLog:
        """Where asynchronous runs are recorded."""
        return CycleLog(self.recording.recorder)

    def tasks_of(self, scenario: type[Scenario]) -> UserTasks:
        """What the users of a scenario do in this process, and by whose keys.

        Raises:
            HarnessError: Nothing can be done.
        """
        if self._workload is None:
            raise UsageError(NO_TARGET)
        if scenario not in self._tasks:
            waiter = self.webhook_waiter
            workload = self._workload.with_receivers(waiter.receivers) if waiter else self._workload
            self._tasks[scenario] = UserTasks(scenario, workload)
        return self._tasks[scenario]

    def observe(self, operation: str, response: Response, *, sender: Persona | None = None) -> None:
        """An answer came: keep the server's own ``ms`` where it says them, and verify it where asked to.

        Args:
            operation: What statistics call the request.
            response: The answer, within its ``catch_response`` block.
            sender: Whose key it was sent with, if anybody's.
        """
        body = None
        if response.status_code == 200 and operation in RUN_OPERATIONS:
            with suppress(ValueError):
                body = response.json()
            took_ms = body.get("ms") if isinstance(body, dict) else None
            # A bool is an int to isinstance, and slower; no number is within no bounds.
            if (type(took_ms) is int or type(took_ms) is float) and 0 <= took_ms < _MOST_MS:
                self.recording.recorder.record(operation, RequestStatus.KEPT, SERVER, took_ms)
        if self._observers.verification is not None:
            self._observers.verification.look(operation, response, sender, body)

    def observe_create(self, slug: str, *, is_own: bool) -> None:
        """A create was answered with a slug, of the workflow that it made or of another."""
        if self._observers.verification is not None:
            self._observers.verification.look_at_create(slug, is_own=is_own)

    def stop(self, reason: str, exit_code: ExitCode) -> None:
        """End the whole run early, from whichever process.

        Args:
            reason: For people.
            exit_code: What the command is to end with.
        """
        if self.controller:
            self.controller.stop(reason, exit_code)
        elif self._worker_client:
            self._worker_client.stop(reason, exit_code)

    # What Locust tells

    def on_test_start(self, **_: object) -> None:
        """Users are about to start."""
        self._draw_anew()
        if self.load.arrivals is None:
            self._begin(now_unix_s())

    def _draw_anew(self) -> None:
        self.chance = random.Random(f"{self.options.seed} {self._worker_index}")

    def _on_spawning_complete(self, **_: object) -> None:
        if self.load.arrivals is None or self._is_prepared:
            return
        self._is_prepared = True
        if self._coordinator:
            self._coordinator.assemble()
        self._begin(float(math.ceil(now_unix_s() + _AHEAD_S)))  # whole, as the seconds of the figures are

    def _begin(self, start_unix_s: float) -> None:
        if self.controller:
            self.controller.begin(start_unix_s)
            if self._coordinator:
                self._coordinator.begin(start_unix_s)
            else:
                self.take_share(start_unix_s, Share())

    def _on_test_stopping(self, **_: object) -> None:
        self.load.stop()
        if self.controller:
            self.controller.shape.finish()
        if self.webhook_waiter:
            gevent.spawn_later(self._environment.stop_timeout / 2, self.webhook_waiter.end_waits)
        if self._coordinator:
            self._coordinator.end()

    def _on_quitting(self, **_: object) -> None:
        if self._coordinator:
            self._coordinator.end()
        self.recording.hand_out(everything=True)
        if self.controller:
            with suppress(HarnessError):  # usage that cannot be read shows nothing
                try:
                    self.load.conclude()
                except GuardStop as stop:
                    self.stop(str(stop), ExitCode.GUARD)
            self.controller.conclude()

    # What a worker is told, and tells

    def take_share(self, start_unix_s: float, share: Share) -> None:
        """Send a share of what begins at this Unix time."""
        if self.input_turns:
            self.input_turns.take_share(share)
        self.load.begin(start_unix_s, share)

    def report(self) -> Mapping[str, Any]:
        """What this worker has to report since the last time."""
        report: dict[str, Any] = {HEALTH: self.load.health().packed()}
        if self._samples:
            report[SAMPLES] = self._samples.packed()
        if self._observers.verification:
            report[OBSERVATIONS] = self._observers.verification.take().packed()
        return report


def _tls_of(target: Target) -> ssl.SSLContext | None:
    if target.http.ca_file is None and target.http.client_certificate is None:
        return None
    context = tls_context()
    target.http.configure(context)
    return context
