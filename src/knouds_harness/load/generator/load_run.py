"""One process of a load run: what its users share, what it sends and what it counts."""

from __future__ import annotations

import logging
import random
import ssl
import sysconfig
import time
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import gevent
from locust.env import Environment
from locust.exception import StopUser
from locust.user.task import DefaultTaskSet
from locust.user.users import User

import knouds_harness
from knouds_harness.contract.operations import RUN_OPERATIONS
from knouds_harness.errors import ExitCode, UsageError
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.load.arrivals.arrival_user import Arrivals
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.client.http_client import tls_context
from knouds_harness.load.client.response import Response
from knouds_harness.load.collection.evidence_samples import Samples
from knouds_harness.load.collection.metrics import SERVER, CycleLog, measured_from_unix_s
from knouds_harness.load.collection.seconds import Second, SecondsCollector, SecondsRecorder, now_unix_s
from knouds_harness.load.generator.validity import Health, HealthMonitor
from knouds_harness.load.invariants.verification import LoadVerification
from knouds_harness.load.invariants.webhook_waiter import WebhookWaiter
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.workload.input_lines import InputFile, InputSequence
from knouds_harness.load.workload.limits import CreditLease, LoadLimits
from knouds_harness.load.workload.preflight import NOT_LOOKED, Preflight
from knouds_harness.load.workload.workload import HasTasks, UserTasks, Workload, scenarios_in
from knouds_harness.runs.operation_load import TASK, RequestStatus
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.profile import Target

NO_TARGET: Final = "name a target: --target sandbox, or another profile in targets/"
_FINISH_WITHIN_S: Final = 10.0
"""Default of ``--stop-timeout``: time to finish requests in flight at the end, so that they are counted."""
_MOST_MS: Final = 1e9
_MOST_FAILURES: Final = 5
"""A task that failed this often, and never completed, ends the run."""
_LONGEST_TEXT: Final = 160
_OWN_FOLDER: Final = str(Path(knouds_harness.__file__).parent)
_OTHERS_FOLDERS: Final = tuple({sysconfig.get_path(each) for each in ("stdlib", "platlib", "purelib")})
_LOGGERS: Final = ("locust.user.task", "locust.user.users", "locust.runners")
_REPEATED: Final = ("%s\n%s", "While stopping users, we encountered a user that didn't have proper args %s")
"""Locust's log messages of each exception, and of each user that an exception ended as it started."""


@dataclass(frozen=True, kw_only=True)
class LoadSetup:
    """What a run is made from; without a target there is no workload."""

    options: LoadOptions
    target: Target | None = None
    workload: Workload | None = None
    inputs: InputFile | None = None
    ahead: Preflight = NOT_LOOKED


class LoadRun(ABC):
    """The state of a run in one process; ``run_of`` finds it.

    A ``LeadingRun`` leads a run, and sends all of it in one process. A ``MasterRun`` leads and sends nothing;
    each ``WorkerRun`` sends a share.

    Attributes:
        arrivals: None in the closed model.
        input_turns: Chooses the inputs of each run; None to use those of the profile.
        passed: Tasks that completed at least once in this process.
        samples: Exchanges that show errors, until they are taken; None without a target.
    """

    verification: LoadVerification | None = None
    webhook_waiter: WebhookWaiter | None = None

    def __init__(
        self,
        environment: Environment,
        setup: LoadSetup,
        *,
        lease: CreditLease | None = None,
        worker_index: int = 0,
    ) -> None:
        options, target, inputs = setup.options, setup.target, setup.inputs
        self.options = options
        self._environment = environment
        self._target = target
        self._workload = setup.workload
        self._worker_index = worker_index
        self._scenarios = scenarios_in(environment.user_classes)
        self._tasks: dict[type[HasTasks], UserTasks] = {}
        self._watch = HealthMonitor()
        self.arrivals = Arrivals(options.schedule) if options.schedule else None
        self._limits = LoadLimits(target, lease=lease, ahead=setup.ahead) if target else None
        self.created = CreatedWorkflows(target=target or Target(name="", base_url=""))
        self.input_turns = (
            InputSequence(inputs.lines, order=options.inputs_order, seed=options.seed) if inputs else None
        )
        self.passed: set[Any] = set()
        self.answer_within_s = target.limits.timeout_s if target else float("inf")
        self.tls = _tls_of(target) if target else None
        self.is_traced = target is not None and target.http.is_traced
        self._draw_anew()
        environment.stop_timeout = environment.stop_timeout or _FINISH_WITHIN_S
        events = environment.events
        events.test_start.add_listener(self.on_test_start)
        events.test_stopping.add_listener(self._on_test_stopping)  # before that of self.seconds: it may wait
        self.samples = Samples(target) if target else None
        self.seconds = SecondsCollector(
            environment,
            on_second=self.add_second,
            on_not_kept=self.samples.add if self.samples else None,
            redactor=Redactor.for_target(target) if target else None,
        )
        self._task_errors = TaskErrors(self.seconds.recorder, users=options.users, passed=self.passed)
        events.user_error.add_listener(self._on_user_error)

    @abstractmethod
    def stop(self, reason: str, exit_code: ExitCode) -> None:
        """End the whole run early, from any process; ``reason`` is a sentence."""

    @abstractmethod
    def add_second(self, second: Second) -> None:
        """Take the counts of a second that is over."""

    def attach(self) -> None:
        vars(self._environment)["load_run"] = self

    # What users need

    @property
    def limits(self) -> LoadLimits:
        """The limits of the target in this process; raises ``UsageError`` without a target."""
        if self._limits is None:
            raise UsageError(NO_TARGET)
        return self._limits

    @cached_property
    def cycles(self) -> CycleLog:
        return CycleLog(self.seconds.recorder)

    def tasks_of(self, scenario: type[HasTasks]) -> UserTasks:
        """Return the tasks of a scenario's users in this process, and whose keys they use."""
        if self._workload is None:
            raise UsageError(NO_TARGET)
        if scenario not in self._tasks:
            waiter = self.webhook_waiter
            workload = (
                self._workload.on(self._workload.target, receivers=waiter.receivers)
                if waiter
                else self._workload
            )
            self._tasks[scenario] = UserTasks(scenario, workload)
        return self._tasks[scenario]

    def observe(self, operation: str, response: Response, *, sender: Persona | None = None) -> None:
        """Verify a response, and record its ``ms``; to be called within the ``catch_response`` block."""
        body = None
        if response.status_code == 200 and operation in RUN_OPERATIONS:
            with suppress(ValueError):
                body = response.json()
            took_ms = body.get("ms") if isinstance(body, dict) else None
            # isinstance would take bools, and be slower; the bounds refuse not-a-number.
            if (type(took_ms) is int or type(took_ms) is float) and 0 <= took_ms < _MOST_MS:
                self.seconds.recorder.record(operation, RequestStatus.KEPT, SERVER, took_ms)
        if self.verification is not None:
            self.verification.look(operation, response, sender, body)

    # What this process sends

    def take_share(self, start_unix_s: float, share: Share) -> None:
        """Send a share of a load that begins at this Unix time."""
        delay_s = start_unix_s - now_unix_s()
        if self.input_turns:
            self.input_turns.take_share(share)
        if self.arrivals:
            counted_from_s = measured_from_unix_s(start_unix_s, self.options.warm_up_s) - start_unix_s
            self.arrivals.begin(time.perf_counter() + delay_s, share, counted_from_s=counted_from_s)
        if self._limits:
            self._limits.pace(share, since=time.monotonic() + delay_s)
        self._watch.begin()
        if self.options.warm_up_s:
            gevent.spawn_later(max(0.0, delay_s + self.options.warm_up_s), self._watch.begin)

    def health(self) -> Health:
        health = self._watch.health()
        health.spent_credits = self._limits.budget.spent_credits if self._limits else 0.0
        if arrivals := self.arrivals:
            health.due, health.handed, health.dropped = arrivals.due, arrivals.handed, arrivals.dropped
            health.in_flight, health.lateness = arrivals.in_flight, arrivals.lateness
        return health

    def _draw_anew(self) -> None:
        self.chance = random.Random(f"{self.options.seed} {self._worker_index}")

    # What Locust tells

    def on_test_start(self, **_: object) -> None:
        self._draw_anew()

    def _on_test_stopping(self, **_: object) -> None:
        if self.arrivals:
            self.arrivals.stop()

    def _on_user_error(
        self,
        *,
        user_instance: Any,  # noqa: ANN401 - a user, or a TaskSet of one
        exception: Exception,
        tb: TracebackType,
        **_: object,
    ) -> None:
        failed = self._task_errors.count(user_instance, exception, tb)
        if failed.never_completes:
            self.stop(f"Ended early: {failed.task} raised exceptions and never completed.", ExitCode.BREACH)
        if isinstance(user_instance, User):
            raise StopUser(failed.text)  # it failed to start: Locust would show the exception for each user


def _tls_of(target: Target) -> ssl.SSLContext | None:
    if target.http.ca_file is None and target.http.client_certificate is None:
        return None
    context = tls_context()
    target.http.configure(context)
    return context


@dataclass(frozen=True, kw_only=True)
class TaskError:
    """An exception in a task; ``never_completes`` if the task has failed often and never completed."""

    task: str
    text: str
    never_completes: bool


class TaskErrors:
    """Counts exceptions in tasks of one process; they reach the leading process like other errors."""

    def __init__(self, recorder: SecondsRecorder, *, users: int, passed: Collection[Any]) -> None:
        """Stop Locust from logging each of them."""
        self._recorder = recorder
        self._most_failures = min(_MOST_FAILURES, users)
        self._passed = passed
        self._counts: Counter[str] = Counter()
        self._text_by_place: dict[str, str] = {}
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_is_not_repeated)

    def count(
        self,
        user_instance: Any,  # noqa: ANN401 - a user, or a TaskSet of one
        exception: Exception,
        tb: TracebackType,
    ) -> TaskError:
        is_nested = not isinstance(user_instance, User | DefaultTaskSet)
        user = user_instance if isinstance(user_instance, User) else user_instance.user
        task = type(user_instance) if is_nested else getattr(user, "task_at_hand", None)  # of our users
        name = task.__name__ if task else "on_start"
        place = place_of(tb)
        says = " ".join(str(exception).split())[:_LONGEST_TEXT]
        described = f"{type(exception).__name__}{says and f': {says}'} ({place})"
        text = self._text_by_place.setdefault(place, self._recorder.safe(described))
        self._recorder.count_error(TASK + name, RequestStatus.FAILED, text)
        self._counts[name] += 1
        return TaskError(
            task=name,
            text=text,
            never_completes=self._counts[name] == self._most_failures
            and not (is_nested or task in self._passed),
        )


def place_of(tb: TracebackType) -> str:
    """Return file and line of an exception: the last frame outside Python and other packages."""
    frames = traceback.extract_tb(tb)
    own = [
        frame
        for frame in frames
        if frame.filename.startswith(_OWN_FOLDER) or not frame.filename.startswith(_OTHERS_FOLDERS)
    ]
    frame = (own or frames)[-1]
    path = Path(frame.filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{frame.lineno}"


def _is_not_repeated(record: logging.LogRecord) -> bool:
    return record.msg not in _REPEATED
