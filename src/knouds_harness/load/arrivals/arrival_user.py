"""Locust users that wait for arrivals instead of thinking, where there are arrivals."""

import random
import ssl
from typing import Any, Final

from locust.env import Environment
from locust.shape import LoadTestShape
from locust.user.task import LOCUST_STATE_STOPPING, TaskSet

from knouds_harness.load.arrivals.arrivals import Arrivals
from knouds_harness.load.collection.second import now_unix_s
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.users import KnoudsUser

_SPREAD_S: Final = 2.0
_TICKS_BEYOND: Final = 60
"""So many more ticks than seconds show that the clock stands: Locust sleeps for a second between them."""


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
        """Stop after the current task, or at once if idle; a second call changes nothing, unless forced."""
        if self._state == LOCUST_STATE_STOPPING and not force:  # of which Locust makes an exception
            return False
        return bool(super().stop(force=force or self._is_idle))

    def serve_one(self) -> None:
        """Run a task: in the open model for the next arrival, else at once."""
        if self.arrivals is not None:
            self._is_idle = True
            self.client.scheduled_at = self.arrivals.await_arrival()
            self._is_idle = False
            self.arrivals.in_flight += 1
        try:
            self._serve()
        finally:
            if self.arrivals is not None:
                self.arrivals.in_flight -= 1

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


class LoadShape(LoadTestShape):
    """Follows the shape that is asked for; in the open model all users wait for arrivals from the start."""

    def __init__(self, options: LoadOptions) -> None:
        super().__init__()
        self._options = options
        self.is_clock_standing = False
        self._ticks = 0
        self._ends_at_s = options.course.duration_s  # after the first tick
        self._is_over = False
        self._is_finishing = False

    def begin(self, start_unix_s: float) -> None:
        delay_s = start_unix_s - now_unix_s()
        self._ends_at_s = self.get_run_time() + delay_s + self._options.course.duration_s

    def end(self) -> None:
        self._is_over = True

    def finish(self) -> None:
        """Let requests in flight finish; a second end would cut that short."""
        self._is_finishing = True

    def tick(self) -> tuple[int, float] | None:
        """How many users, and how many of them to start per second; None at the end."""
        if self._is_finishing and self.runner is not None:
            return self.runner.shape_last_tick  # type: ignore[return-value]  # it was ours
        now_s = self.get_run_time()
        self._ticks += 1
        if self._ticks > self._ends_at_s + _TICKS_BEYOND:
            self.is_clock_standing = True
        if self._is_over or self.is_clock_standing or now_s >= self._ends_at_s:
            return None
        users = self._options.users
        if self._options.rate is not None:
            return users, float(users)
        level = max(1, round(self._options.course.level(now_s)))
        return level, max(1.0, users / _SPREAD_S)
