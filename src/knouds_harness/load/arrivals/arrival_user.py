"""Locust users that wait for arrivals instead of thinking, where there are arrivals."""

import random
import ssl
from collections.abc import Callable
from typing import Any

import gevent
from locust.env import Environment
from locust.user.task import TaskSet

from knouds_harness.load.arrivals.dispatcher import Dispatcher
from knouds_harness.load.arrivals.schedule import ArrivalSchedule, Share
from knouds_harness.load.arrivals.timer import open_timer
from knouds_harness.load.users import KnoudsUser


class Arrivals:
    """The arrivals of one process: its share of a schedule, handed to its idle users.

    Attributes:
        schedule: The whole.
        dispatcher: Hands them over.
        start_s: When the schedule starts or started, in seconds of ``time.perf_counter``.
        timer: What drives it, for the record.
        are_over: The schedule has ended, or was stopped.
    """

    def __init__(self, schedule: ArrivalSchedule, *, on_taken: Callable[[float], None]) -> None:
        """Serve nothing before ``begin``.

        Args:
            schedule: The whole.
            on_taken: Told for each arrival by how many seconds it was taken late.
        """
        self.schedule = schedule
        self.dispatcher = Dispatcher(on_taken=on_taken)
        self.start_s = 0.0
        self.timer = ""
        self.are_over = False

    def begin(self, at_s: float, share: Share) -> None:
        """Serve a share of the schedule.

        Args:
            at_s: When the schedule starts, in seconds of ``time.perf_counter``.
            share: Which arrivals of it.
        """
        self.start_s = at_s
        gevent.spawn(self._serve, share)

    def stop(self) -> None:
        """Hand over no more arrivals."""
        self.are_over = True

    def _serve(self, share: Share) -> None:
        with open_timer() as timer:
            self.timer = timer.precision
            self.dispatcher.serve(
                (self.start_s + instant_s for instant_s in self.schedule.instants(share)),
                timer=timer,
                is_stopped=lambda: self.are_over,
            )
        self.are_over = True


def run_of(environment: Environment) -> Any:  # noqa: ANN401 - a LoadRun, which imports this module
    """The run that the plugin leads or serves in this process; None without it, and before it has begun."""
    return vars(environment).get("load_run")


class ArrivalUser(KnoudsUser):
    """In the open model, serves one arrival at a time: waits for it, runs one task, waits for the next.

    Arrivals come on a schedule that answers do not change. The number of users is the most that can be in
    flight; an arrival that finds none idle is dropped and counted. The response time of a task's first
    request counts from the instant at which the arrival was due, so a server that stalls is charged for all
    that would have come meanwhile.

    Without arrivals it is a user of the closed model, who thinks for ``wait_time`` between tasks.

    Attributes:
        task_at_hand: What it does, or did last; None before its first task.
    """

    abstract = True

    arrivals: Arrivals | None = None
    """Those of this process, if a rate is asked for; from the run where the locustfile has the plugin."""

    load_run: Any
    """The run of this process; None where the locustfile does not have the plugin."""

    chance: random.Random
    """Draws what is up to chance, by the run's seed."""

    def __init__(self, environment: Environment) -> None:
        """Take from the run of this process, if there is one, what all of its users share."""
        self.load_run = run = run_of(environment)
        if run is not None:
            self.arrivals = run.arrivals
            self.network_timeout = min(self.network_timeout, run.answer_within_s)
            self.connection_timeout = min(self.connection_timeout, run.answer_within_s)
        self.chance = run.chance if run else random.Random()
        self._passed: set[Any] = run.passed if run else set()
        super().__init__(environment)
        self._own_tasks: list[Any] = self.tasks
        self._is_idle = False
        self.task_at_hand: Any = None
        if self._own_tasks:
            self.tasks = [type(self).serve_one]
        if self.arrivals is not None:
            self.wait_time = lambda: 0.0  # type: ignore[method-assign]  # Locust asks the instance

    def tls_context(self) -> ssl.SSLContext:
        """By the certificates that the target's profile names, if it names any."""
        of_target: ssl.SSLContext | None = self.load_run and self.load_run.tls
        return of_target or super().tls_context()

    def stop(self, force: bool = False) -> bool:  # noqa: FBT001, FBT002 - as Locust's own
        """Stop after the current task, or at once if idle."""
        return bool(super().stop(force=force or self._is_idle))

    def serve_one(self) -> None:
        """Run a task: in the open model for the next arrival, else at once."""
        if self.arrivals is not None:
            self._is_idle = True
            self.client.scheduled_at = self.arrivals.dispatcher.await_arrival()
            self._is_idle = False
            self.arrivals.dispatcher.in_flight += 1
        try:
            self._serve()
        finally:
            if self.arrivals is not None:
                self.arrivals.dispatcher.in_flight -= 1

    def _serve(self) -> None:
        task = self.task_at_hand = self.chance.choice(self._own_tasks)
        self.take_turn(task)
        if isinstance(task, type) and issubclass(task, TaskSet):
            task(self).run()
        else:
            task(self)
        self._passed.add(task)

    def take_turn(self, task: Any) -> None:  # noqa: ANN401 - a function, or a TaskSet of Locust's
        """Called before each task."""
