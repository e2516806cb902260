"""Hands each arrival to an idle user when it is due. If none is idle, it is dropped and counted, not delayed.

In the open model, an ``ArrivalUser`` waits for arrivals instead of ``wait_time``.
"""

import math
import random
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, islice, repeat
from typing import Any, Final

from gevent.event import Event
from gevent.hub import get_hub
from greenlet import getcurrent, greenlet
from locust.dispatch import UsersDispatcher
from locust.env import Environment
from locust.shape import LoadTestShape
from locust.user.task import LOCUST_STATE_STOPPING, TaskSet

from knouds_harness.load.arrivals.schedule import ArrivalSchedule, Share
from knouds_harness.load.arrivals.timers import Timer, new_timer
from knouds_harness.load.collection.seconds import ROUNDING_S, now_unix_s
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.users import KnoudsUser

_AT_ONCE: Final = 16
_SPREAD_S: Final = 2.0
_BETWEEN_TICKS_S: Final = 1.0
"""How long Locust sleeps between ticks of a shape."""
_EARLY_S: Final = 0.01
"""How much too early a timer of the loop may come: a load that ended before its time counts as cut short."""


class Arrivals:
    """The arrivals of one process: its share of a schedule, and the users that wait for them.

    Arrivals that are due during the warm-up are served but not counted.
    """

    def __init__(self, schedule: ArrivalSchedule, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._start_s = self._counted_from_s = 0.0
        self.timer = ""
        self.are_over = False
        self.due = self.handed = self.dropped = self.in_flight = 0
        self.schedule = schedule
        self._clock = clock
        self._idle: list[greenlet] = []
        self._instants: Iterator[float] = iter(())
        self._due_s = math.inf
        self._timer: Timer | None = None
        self._switch = get_hub().switch

    def begin(
        self, at_s: float, share: Share, *, counted_from_s: float = 0.0, timer: Timer | None = None
    ) -> None:
        """Hand over a share of the schedule, which starts at this time of ``time.perf_counter``."""
        self._start_s, self._counted_from_s = at_s, at_s + counted_from_s - ROUNDING_S
        instants = self.schedule.instants(share)
        self._instants = chain.from_iterable(iter(lambda: [*islice(instants, _AT_ONCE)], []))
        self._timer = timer or new_timer()
        self.timer = self._timer.precision
        self._timer.start(self.hand_over)
        self._due_s = at_s + next(self._instants, math.inf)
        self._set()

    def counts(self) -> tuple[int, int, int, int]:
        return self.due, self.handed, self.dropped, self.in_flight

    def stop(self) -> None:
        """Hand over nothing more; at the end of the schedule, what was due and not handed over stays due.

        Before it, the load ends early, and what would be handed over next is not due any more.
        """
        if self.are_over:
            return
        is_whole = self._clock() >= self._start_s + self.schedule.shape.duration_s
        while is_whole and self._due_s < math.inf:
            self.due += self._due_s >= self._counted_from_s
            self._due_s = self._start_s + next(self._instants, math.inf)
        self._end()

    def await_arrival(self) -> float:
        """Wait for an arrival in the greenlet that serves it; return when it was due (``perf_counter``)."""
        waiting = getcurrent()
        self._idle.append(waiting)
        try:
            due_s: float = self._switch()
        except BaseException:  # killed while idle: nothing must be handed to it
            with suppress(ValueError):
                self._idle.remove(waiting)
            raise
        return due_s

    def hand_over(self) -> None:
        """Hand what is due to idle users, in the loop's callback, and set the timer for the next.

        After some at once the loop takes its turn, so that a process that is behind still reads answers.
        """
        clock, idle = self._clock, self._idle
        for _ in range(_AT_ONCE):
            due_s = self._due_s
            if due_s > clock():
                break
            is_counted = due_s >= self._counted_from_s
            self.due += is_counted
            self._due_s = self._start_s + next(self._instants, math.inf)
            if idle:
                self.handed += is_counted
                idle.pop().switch(due_s)  # the last one, whose connection is open
            else:
                self.dropped += is_counted
        self._set()

    def _set(self) -> None:
        if self._due_s == math.inf:
            self._end()
        elif self._timer is not None:
            self._timer.set(self._due_s)

    def _end(self) -> None:
        self.are_over = True
        if self._timer is not None:
            self._timer.close()
            self._timer = None


def run_of(environment: Environment) -> Any:  # noqa: ANN401 - a LoadRun, which imports this module
    """Return the plugin's run in this process; None without the plugin, or before the run is set up."""
    return vars(environment).get("load_run")


class ArrivalUser(KnoudsUser):
    """In the open model, serves one arrival at a time: waits for it, runs one task, waits for the next.

    Arrivals come on a schedule that responses do not change. The number of users is the most that can be in
    flight; an arrival that finds no idle user is dropped and counted. The response time of a task's first
    request counts from when the arrival was due, so a stall of the server shows in all requests that were due
    meanwhile.

    In the closed model it waits ``wait_time`` between tasks.
    """

    abstract = True

    arrivals: Arrivals | None = None
    """The arrivals of this process (open model); set by the run if the locustfile has the plugin."""

    load_run: Any
    """The run of this process, a ``GeneratingRun``; None if the locustfile does not have the plugin."""

    chance: random.Random
    """Source of randomness, seeded by the run."""

    def __init__(self, environment: Environment) -> None:
        self.load_run = run = run_of(environment)
        if run is not None:
            self.arrivals = run.arrivals_of(type(self))
            self.network_timeout = min(self.network_timeout, run.answer_within_s)
            self.connection_timeout = min(self.connection_timeout, run.answer_within_s)
        self.chance = run.chance if run else random.Random()
        self._passed: set[Any] = run.passed if run else set()
        super().__init__(environment)
        if run is not None:
            self.client.recorder = run.seconds.recorder
            self.client.in_flight = run.seconds.recorder.in_flight
        self._own_tasks: list[Any] = self.tasks
        self._is_idle = False
        self.task_at_hand: Any = None
        if self._own_tasks:
            self.tasks = [type(self).serve_one]
        if self.arrivals is not None:
            self.wait_time = lambda: 0.0  # type: ignore[method-assign]  # Locust asks the instance

    def tls_context(self) -> ssl.SSLContext:
        of_target: ssl.SSLContext | None = self.load_run and self.load_run.tls
        return of_target or super().tls_context()

    def stop(self, force: bool = False) -> bool:  # noqa: FBT001, FBT002 - as Locust's own
        """Stop after the current task, or at once if idle; a second call changes nothing, unless forced."""
        if self._state == LOCUST_STATE_STOPPING and not force:  # Locust would raise
            return False
        return bool(super().stop(force=force or self._is_idle))

    def serve_one(self) -> None:
        """Run a task; in the open model, one for each arrival until the user is stopped."""
        arrivals = self.arrivals
        if arrivals is None:
            self._serve()
            return
        client = self.client
        while self._state != LOCUST_STATE_STOPPING:
            self._is_idle = True
            client.scheduled_at = arrivals.await_arrival()
            self._is_idle = False
            arrivals.in_flight += 1
            try:
                self._serve()
            finally:
                arrivals.in_flight -= 1

    def _serve(self) -> None:
        tasks = self._own_tasks
        task = self.task_at_hand = tasks[0] if len(tasks) == 1 else self.chance.choice(tasks)
        self.take_turn(task)
        if isinstance(task, type) and issubclass(task, TaskSet):
            task(self).run()
        else:
            task(self)
        self._passed.add(task)

    def take_turn(self, task: Any) -> None:  # noqa: ANN401 - a function, or a TaskSet of Locust's
        """Prepare for a task; called before each."""


class SpreadingDispatcher(UsersDispatcher):
    """Gives each process users of each class: Locust's own gives two processes one of two classes each."""

    def _user_gen(self) -> Iterator[str | None]:
        for name in super()._user_gen():
            yield from repeat(name, len(self._worker_nodes))


class LoadShape(LoadTestShape):
    """Follows the shape of the options; in the open model all users wait for arrivals from the start."""

    def __init__(self, options: LoadOptions) -> None:
        super().__init__()
        self._options = options
        self._ends_at_s = options.load_shape.duration_s  # after the first tick
        self._is_over = Event()
        self._has_begun = self._is_finishing = False

    def begin(self, start_unix_s: float) -> None:
        self._has_begun = True
        delay_s = start_unix_s - now_unix_s()
        self._ends_at_s = self.get_run_time() + delay_s + self._options.load_shape.duration_s

    def end(self) -> None:
        self._is_over.set()

    def finish(self) -> None:
        """Let requests in flight finish; a second end would cut that short."""
        self._is_finishing = True

    def tick(self) -> tuple[int, float] | None:
        if self._is_finishing and self.runner is not None:
            return self.runner.shape_last_tick  # type: ignore[return-value]  # it was ours
        now_s = self.get_run_time()
        left_s = self._ends_at_s - now_s
        if self._is_over.is_set() or left_s <= 0:
            return None
        if self._has_begun and left_s < _BETWEEN_TICKS_S:  # Locust would ask again only after the end
            self._is_over.wait(left_s + _EARLY_S)
            return None
        users = self._options.users
        if self._options.rate is not None:
            return users, float(users)
        level = max(1, round(self._options.load_shape.level(now_s)))
        return level, max(1.0, users / _SPREAD_S)
