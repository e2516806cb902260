"""Hands each arrival to an idle user when it is due. If none is idle, it is dropped and counted, not delayed.

In the open model, an ``ArrivalUser`` waits for arrivals instead of ``wait_time``.
"""

import ctypes
import ctypes.util
import os
import random
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, takewhile
from typing import Any, Final, Protocol

import gevent
import gevent.hub
from gevent.hub import Waiter, get_hub
from locust.env import Environment
from locust.shape import LoadTestShape
from locust.user.task import LOCUST_STATE_STOPPING, TaskSet

from knouds_harness.load.arrivals.schedule import ArrivalSchedule, Share
from knouds_harness.load.collection.seconds import now_unix_s
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.users import KnoudsUser
from knouds_harness.measures.histograms import Histogram

_CLOCK_MONOTONIC: Final = 1  # what time.perf_counter reads on Linux
_NONBLOCK: Final = os.O_NONBLOCK
_ABSOLUTE: Final = 1
_NS_PER_S: Final = 1_000_000_000
_LONGEST_WAIT_S: Final = 0.1
"""The longest wait at a time, so that a stop is noticed between arrivals that are far apart."""
_SPREAD_S: Final = 2.0
_TICKS_BEYOND: Final = 60
"""Ticks beyond the duration that show that the clock stands still: Locust sleeps a second between ticks."""


class Timer(Protocol):
    """Waits for instants of ``time.perf_counter``, one greenlet at a time."""

    precision: str
    """What drives it, for the record: ``timerfd`` or ``event loop``."""

    def wait_until(self, instant_s: float) -> None:
        """Return at the instant, or at once if it is past; other greenlets run meanwhile."""


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class _TimerFd:
    """The kernel's timer as a file that the event loop watches: late by some 0.1 ms."""

    precision = "timerfd"

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._libc = libc
        self._file = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._hub = gevent.hub.get_hub()
        self._watcher = self._hub.loop.io(self._file, 1)

    def wait_until(self, instant_s: float) -> None:
        instant_ns = int(instant_s * _NS_PER_S)
        if instant_ns <= time.perf_counter_ns():
            return
        seconds, nanoseconds = divmod(instant_ns, _NS_PER_S)
        wanted = _TimerSpec(value=_TimeSpec(seconds, nanoseconds))
        self._libc.timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(wanted), None)
        self._hub.wait(self._watcher)
        with suppress(BlockingIOError):
            os.read(self._file, 8)

    def close(self) -> None:
        self._watcher.close()
        os.close(self._file)


class _EventLoopTimer:
    """The event loop's own timers, which are late by up to a millisecond."""

    precision = "event loop"

    def wait_until(self, instant_s: float) -> None:
        left_s = instant_s - time.perf_counter()
        if left_s > 0:
            gevent.sleep(left_s)


@contextmanager
def open_timer() -> Iterator[Timer]:
    """Yield the most precise timer that this platform has."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "timerfd_create"):
        yield _EventLoopTimer()
        return
    timer = _TimerFd(libc)
    try:
        yield timer
    finally:
        timer.close()


class Arrivals:
    """The arrivals of one process: its share of a schedule, and the users that wait for them.

    Arrivals that are due during the warm-up are served but not counted.

    Attributes:
        start_s: When the schedule starts or started, in seconds of ``time.perf_counter``.
        handed: Arrivals that a user took, to begin a task.
        lateness: From when an arrival was due until a user took it.
    """

    def __init__(self, schedule: ArrivalSchedule, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.start_s = self._counted_from_s = 0.0
        self.timer = ""
        self.are_over = False
        self.due = self.handed = self.dropped = self.in_flight = 0
        self.lateness = Histogram()
        self._stopped_s = 0.0
        self.schedule = schedule
        self._clock = clock
        self._idle: list[Waiter[float]] = []

    @property
    def idle(self) -> int:
        return len(self._idle)

    def begin(self, at_s: float, share: Share, *, counted_from_s: float = 0.0) -> None:
        """Hand over a share of the schedule, which starts at this time of ``time.perf_counter``."""
        self.start_s, self._counted_from_s = at_s, at_s + counted_from_s
        gevent.spawn(self._serve, share)

    def stop(self) -> None:
        self._stopped_s = self._clock()
        self.are_over = True

    def await_arrival(self) -> float:
        """Wait for an arrival in the greenlet that serves it; return when it was due (``perf_counter``)."""
        waiter: Waiter[float] = Waiter()
        self._idle.append(waiter)
        try:
            due_s: float = waiter.get()
        except BaseException:  # killed while idle: nothing must be handed to it
            with suppress(ValueError):
                self._idle.remove(waiter)
            raise
        if due_s >= self._counted_from_s:
            self.handed += 1
            self.lateness.record(self._clock() - due_s)
        return due_s

    def _serve(self, share: Share) -> None:
        with open_timer() as timer:
            self.timer = timer.precision
            self.hand_over((self.start_s + at_s for at_s in self.schedule.instants(share)), timer=timer)
        self.are_over = True

    def hand_over(self, instants: Iterable[float], *, timer: Timer) -> None:
        """Hand arrivals, due at these times of ``time.perf_counter``, to idle users, until told to stop."""
        later = get_hub().loop.run_callback
        instants = iter(instants)
        for due_s in instants:
            left_s = due_s - self._clock()
            while left_s > _LONGEST_WAIT_S and not self.are_over:
                timer.wait_until(self._clock() + _LONGEST_WAIT_S)
                left_s = due_s - self._clock()
            if self.are_over:
                missed = takewhile(lambda each_s: each_s < self._stopped_s, chain([due_s], instants))
                self.due += sum(each_s >= self._counted_from_s for each_s in missed)
                return
            if left_s > 0:
                timer.wait_until(due_s)
            else:
                gevent.sleep(0)  # behind schedule: let the users run that were handed an arrival
            is_counted = due_s >= self._counted_from_s
            self.due += is_counted
            if self._idle:
                later(self._idle.pop().switch, due_s)
            else:
                self.dropped += is_counted


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
    """The run of this process; None if the locustfile does not have the plugin."""

    chance: random.Random
    """Source of randomness, seeded by the run."""

    def __init__(self, environment: Environment) -> None:
        """Take what all users share from the run of this process, if there is one."""
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
        """Use the certificates that the target's profile names, if it names any."""
        of_target: ssl.SSLContext | None = self.load_run and self.load_run.tls
        return of_target or super().tls_context()

    def stop(self, force: bool = False) -> bool:  # noqa: FBT001, FBT002 - as Locust's own
        """Stop after the current task, or at once if idle; a second call changes nothing, unless forced."""
        if self._state == LOCUST_STATE_STOPPING and not force:  # Locust would raise
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
        """Prepare for a task; called before each."""


class LoadShape(LoadTestShape):
    """Follows the shape of the options; in the open model all users wait for arrivals from the start."""

    def __init__(self, options: LoadOptions) -> None:
        super().__init__()
        self._options = options
        self.is_clock_standing = False
        self._ticks = 0
        self._ends_at_s = options.load_shape.duration_s  # after the first tick
        self._is_over = False
        self._is_finishing = False

    def begin(self, start_unix_s: float) -> None:
        delay_s = start_unix_s - now_unix_s()
        self._ends_at_s = self.get_run_time() + delay_s + self._options.load_shape.duration_s

    def end(self) -> None:
        self._is_over = True

    def finish(self) -> None:
        """Let requests in flight finish; a second end would cut that short."""
        self._is_finishing = True

    def tick(self) -> tuple[int, float] | None:
        """Return how many users to run, and how many to start per second; None at the end."""
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
        level = max(1, round(self._options.load_shape.level(now_s)))
        return level, max(1.0, users / _SPREAD_S)
