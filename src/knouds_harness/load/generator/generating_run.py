"""A process of a load run that sends: what its users share, what it hands over to the one that leads."""

from __future__ import annotations

import gc
import logging
import os
import random
import ssl
import sysconfig
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import gevent
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import WorkerRunner
from locust.user.task import LOCUST_STATE_RUNNING, LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING, DefaultTaskSet
from locust.user.users import User

import knouds_harness
from knouds_harness.contract.operations import LIMIT_BY_TIER, RUN_OPERATIONS
from knouds_harness.errors import ExitCode
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.load import messages
from knouds_harness.load.arrivals.arrival_user import Arrivals
from knouds_harness.load.arrivals.schedule import ArrivalSchedule, Share
from knouds_harness.load.arrivals.timers import LoopMonitor
from knouds_harness.load.client.http_client import tls_context
from knouds_harness.load.client.response import Response
from knouds_harness.load.collection.metrics import CYCLE, SERVER, measured_from_unix_s
from knouds_harness.load.collection.seconds import REQUESTS_EPOCH_S, SecondsCollector, now_unix_s
from knouds_harness.load.invariants.verification import OBSERVED, verified_share
from knouds_harness.load.invariants.workflow_histories import WorkflowLog
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.workload.input_lines import InputSequence
from knouds_harness.load.workload.limits import LeasedCredits, LoadLimits
from knouds_harness.load.workload.preflight import LoadSetup
from knouds_harness.load.workload.workload import HasTasks, UserTasks, rates_of, scenarios_in
from knouds_harness.runs.operation_load import TASK, RequestStatus, labelled
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Persona

_MOST_MS: Final = 1e9
_LOOK_EVERY_S: Final = 0.5
_LAST_ANSWERS_S: Final = 2.0
_LAST_LOOK_EVERY_S: Final = 0.01
_NEVER: Final = 1_000_000_000
_MOST_FAILURES: Final = 5
"""A task that failed this often, and never completed, ends the run."""
_LONGEST_TEXT: Final = 160
_OWN_FOLDER: Final = str(Path(knouds_harness.__file__).parent)
_OTHERS_FOLDERS: Final = tuple({sysconfig.get_path(each) for each in ("stdlib", "platlib", "purelib")})
_LOGGERS: Final = ("locust.user.task", "locust.user.users", "locust.runners")
_REPEATED: Final = ("%s\n%s", "While stopping users, we encountered a user that didn't have proper args %s")
"""Locust's log messages of each exception, and of each user that an exception ended as it started."""


def core_of(share: Share) -> int | None:
    """Return the core for the process with this share, the last for the first; None if they are too few."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return cores[-1 - share.index] if share.workers < len(cores) else None


class GeneratingRun:
    """The state of a run in a process that sends a share of it; ``run_of`` finds it."""

    def __init__(self, environment: Environment, setup: LoadSetup) -> None:
        runner = environment.runner
        assert isinstance(runner, WorkerRunner)  # noqa: S101 - this is its role
        options, target, inputs = setup.options, setup.target, setup.inputs
        self.options = options
        self._environment = environment
        self._runner = runner
        self._setup = setup
        self._tasks: dict[type[HasTasks], UserTasks] = {}
        self._monitor = LoopMonitor()
        self._arrivals = {
            name: Arrivals(each) for name, each in schedules_of(options, environment.user_classes).items()
        }
        lease = LeasedCredits(runner)
        self._limits = LoadLimits(target, lease=lease, ahead=setup.ahead) if target else None
        self.created = CreatedWorkflows(target=target or Target(name="", base_url=""))
        self.input_turns = (
            InputSequence(inputs.lines, order=options.inputs_order, seed=options.seed) if inputs else None
        )
        self.passed: set[Any] = set()
        self.answer_within_s = target.limits.timeout_s if target else float("inf")
        self.tls = _tls_of(target) if target else None
        self.is_traced = target is not None and target.http.is_traced
        self._stop_users = runner.stop
        runner.stop = self._stop  # type: ignore[method-assign]  # nothing is told before Locust stops users
        messages.set_stop_timeout(environment, target)
        events = environment.events
        events.test_start.add_listener(self.on_test_start)
        self.seconds = SecondsCollector(environment, extras=self._extras)
        recorder = self.seconds.recorder
        scenarios = scenarios_in(environment.user_classes)
        share = verified_share(options, scenarios) if target else 0.0
        self._is_verified = target is not None and bool(share or scenarios)
        named = {labelled(label, each) for label in rates_of(scenarios) for each in OBSERVED}
        accounts = setup.workload.accounts if setup.workload else ()
        if share > 0 or any(each.tier in LIMIT_BY_TIER for each in accounts):  # else none is observed
            recorder.always_copied = OBSERVED | named
        recorder.copies_all = share > 0
        self.workflow_log = WorkflowLog(is_followed=share > 0)
        if target:
            recorder.hide([*{each.secret for each in target.personas.values()}, *target.http.secrets])
        self._safe: Callable[[str], str] = Redactor.for_target(target).safe if target else str
        self._failures: Counter[str] = Counter()
        self._text_by_place: dict[str, str] = {}
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(lambda record: record.msg not in _REPEATED)
        events.user_error.add_listener(self._on_user_error)
        events.heartbeat_received.add_listener(self._on_heartbeat)
        self._heard_unix_s = now_unix_s()
        runner.register_message(
            messages.SHARE,
            lambda msg, **_: self.take_share(msg.data["start_unix_s"], Share(**msg.data["share"])),
        )
        # All counting, Locust's own too, is left to the process that leads.
        for handler in [each for each in events.request._handlers if each.__module__ == "locust.runners"]:  # noqa: SLF001 - Locust has no other way
            events.request.remove_listener(handler)
        vars(environment)["load_run"] = self  # where ``run_of`` finds it
        gevent.spawn(self._watch_leader)

    def stop(self, reason: str, exit_code: ExitCode) -> None:
        """End the whole run early; ``reason`` is a sentence."""
        self._runner.send_message(messages.STOP, {"reason": reason, "exit_code": int(exit_code)})

    # What users need

    @property
    def limits(self) -> LoadLimits:
        """The limits of the target in this process."""
        assert self._limits is not None  # noqa: S101 - the plugin refuses a scenario without a target
        return self._limits

    def note_cycle(self, measure: str, value: float) -> None:
        """Note one figure of an asynchronous run."""
        self.seconds.recorder.record(CYCLE, RequestStatus.OK, measure, value)

    def tasks_of(self, scenario: type[HasTasks]) -> UserTasks:
        assert self._setup.workload is not None  # noqa: S101 - the same
        if scenario not in self._tasks:
            self._tasks[scenario] = UserTasks(scenario, self._setup.workload)
        return self._tasks[scenario]

    def arrivals_of(self, user_class: type[User]) -> Arrivals | None:
        """Return the arrivals that users of a class serve; None in the closed model."""
        return self._arrivals.get(user_class.__name__, self._arrivals.get(""))

    def observe(
        self, operation: str, response: Response, *, sender: Persona | None = None, label: str = ""
    ) -> None:
        """Have a response verified, and record its ``ms``; to be called before its event is fired."""
        if self._is_verified:
            response.sender = sender.name if sender else ""
        if response.status_code == 200 and operation in RUN_OPERATIONS:
            try:
                body = response.json()
            except ValueError:
                return
            took_ms = body.get("ms") if isinstance(body, dict) else None
            # isinstance would take bools, and be slower; the bounds refuse not-a-number.
            if (type(took_ms) is int or type(took_ms) is float) and 0 <= took_ms < _MOST_MS:
                self.seconds.recorder.record(label + operation, RequestStatus.OK, SERVER, took_ms)

    # What this process sends

    def take_share(self, start_unix_s: float, share: Share) -> None:
        delay_s = start_unix_s - now_unix_s()
        if self.input_turns:
            self.input_turns.take_share(share)
        counted_from_s = measured_from_unix_s(start_unix_s, self.options.warm_up_s) - start_unix_s
        for arrivals in self._arrivals.values():
            arrivals.begin(start_unix_s - REQUESTS_EPOCH_S, share, counted_from_s=counted_from_s)
        if self.options.pin and (core := core_of(share)) is not None:
            os.sched_setaffinity(0, {core})
        if self._limits:
            self._limits.pace(share, since=time.monotonic() + delay_s)
        self._monitor.begin()
        # What is here now stays until the end: no collection is to look at it again, and none at everything.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, _NEVER)

    def _extras(self) -> dict[str, Any]:
        arrivals = [*self._arrivals.values()]
        lags, stalls = self._monitor.take()
        return {
            "sent_unix_s": now_unix_s(),
            "cpu_s": time.process_time(),
            "lags": lags,
            "stalls": stalls,
            "waiting": self.seconds.recorder.waiting(),
            "arrivals": [sum(counts) for counts in zip(*(each.counts() for each in arrivals), strict=True)],
            "timer": arrivals[0].timer if arrivals else "",
            "spent_credits": self._limits.budget.spent_credits if self._limits else 0.0,
            "runs": self._limits.runs if self._limits else 0,
            "workflows": self.workflow_log.take(),
        }

    # What Locust tells

    def on_test_start(self, **_: object) -> None:
        self.chance = random.Random(f"{self.options.seed} {self._runner.worker_index}")

    def _stop(self) -> None:
        """Stop once requests in flight are answered: what Locust does then would delay them."""
        for arrivals in self._arrivals.values():
            arrivals.stop()
        greenlets = () if self._arrivals else self._runner.user_greenlets
        users = [each.args[0] for each in greenlets if each.args]  # one that has ended has none
        running, waiting = (
            _moved(users, state, LOCUST_STATE_STOPPING)  # they begin nothing more
            for state in (LOCUST_STATE_RUNNING, LOCUST_STATE_WAITING)
        )
        until_s = time.monotonic() + _LAST_ANSWERS_S
        while time.monotonic() < until_s and (
            any(each.in_flight for each in self._arrivals.values())
            or not all(each.greenlet.dead for each in running)
        ):
            gevent.sleep(_LAST_LOOK_EVERY_S)
        alive = [each for each in waiting if not each.greenlet.dead]
        _moved(alive, LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING)
        self._stop_users()

    def _on_user_error(
        self,
        *,
        user_instance: Any,  # noqa: ANN401 - a user, or a TaskSet of one
        exception: Exception,
        tb: TracebackType,
        **_: object,
    ) -> None:
        """Count an exception under its task; end the run if that fails often, and never completed."""
        is_nested = not isinstance(user_instance, User | DefaultTaskSet)
        user = user_instance if isinstance(user_instance, User) else user_instance.user
        task = type(user_instance) if is_nested else getattr(user, "task_at_hand", None)  # of our users
        name = task.__name__ if task else "on_start"
        place = place_of(tb)
        says = " ".join(str(exception).split())[:_LONGEST_TEXT]
        described = f"{type(exception).__name__}{says and f': {says}'} ({place})"
        text = self._text_by_place.setdefault(place, self._safe(described))
        self.seconds.recorder.count_error(TASK + name, text)
        self._failures[name] += 1
        is_often = self._failures[name] == min(_MOST_FAILURES, self.options.users)
        if is_often and not (is_nested or task in self.passed):
            self.stop(f"Ended early: {name} raised exceptions and never completed.", ExitCode.BREACH)
        if isinstance(user_instance, User):
            raise StopUser(text)  # it failed to start: Locust would show the exception for each user

    def _on_heartbeat(self, timestamp: float, **_: object) -> None:  # noqa: ARG002 - as Locust tells it
        self._heard_unix_s = now_unix_s()

    def _watch_leader(self) -> None:
        while now_unix_s() - self._heard_unix_s <= messages.SILENCE_S:
            gevent.sleep(_LOOK_EVERY_S)
        silent = f"did not hear the master for {messages.SILENCE_S:.0f} s"
        reason = f"Ended early: worker {self._runner.client_id} {silent}."
        self.stop(reason, ExitCode.INVALID_MEASUREMENT)
        self._runner.quit()  # what it sends would not be counted


def place_of(tb: TracebackType) -> str:
    """Return file and line of an exception: the last in the user's own code, or else in ours."""
    frames = traceback.extract_tb(tb)
    ours = [each for each in frames if each.filename.startswith(_OWN_FOLDER)]
    users = [each for each in frames if not each.filename.startswith((_OWN_FOLDER, *_OTHERS_FOLDERS))]
    frame = (users or ours or frames)[-1]
    path = Path(frame.filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{frame.lineno}"


def _moved(users: Iterable[User], before: str, after: str) -> list[User]:
    """Move the users that are in one of Locust's states to another; return them."""
    found = [each for each in users if each._state == before]  # noqa: SLF001 - Locust has no other way
    for user in found:
        user._state = after  # noqa: SLF001 - Locust has no other way
    return found


def schedules_of(options: LoadOptions, user_classes: Sequence[Any]) -> dict[str, ArrivalSchedule]:
    """Return the arrivals of each scenario with a rate of its own, or under no name those of all users."""
    whole, rates = options.schedule, rates_of(user_classes)
    if whole is None:
        return {}
    return {
        name: replace(
            whole, shape=whole.shape.scaled(rate / sum(rates.values())), seed=f"{whole.seed} {name}"
        )
        for name, rate in rates.items()
    } or {"": whole}


def _tls_of(target: Target) -> ssl.SSLContext | None:
    if target.http.ca_file is None and target.http.client_certificate is None:
        return None
    context = tls_context()
    target.http.configure(context)
    return context
