"""Hands each arrival to an idle user when it is due; without one it is dropped and counted, never delayed."""

import ctypes
import ctypes.util
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, takewhile
from typing import Final, Protocol

import gevent
import gevent.hub
from gevent.hub import Waiter, get_hub

from knouds_harness.load.arrivals.schedule import ArrivalSchedule, Share
from knouds_harness.measures.histograms import Histogram

_CLOCK_MONOTONIC: Final = 1  # what time.perf_counter reads on Linux
_NONBLOCK: Final = os.O_NONBLOCK
_ABSOLUTE: Final = 1
_NS_PER_S: Final = 1_000_000_000
_LONGEST_WAIT_S: Final = 0.1
"""How soon a stop is noticed between arrivals that are far apart."""


class Timer(Protocol):
    """Waits for instants of ``time.perf_counter``, one greenlet at a time."""

    precision: str
    """What drives it, for the record: ``timerfd`` or ``event loop``."""

    def wait_until(self, instant_s: float) -> None:
        """Return at the instant, or at once where it is past; other greenlets run meanwhile."""


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
    """The most precise timer that this platform has."""
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

    Those due before the warm-up ended are served, and count in nothing.

    Attributes:
        start_s: When the schedule starts or started, in seconds of ``time.perf_counter``.
        timer: What drives it, for the record.
        due: Arrivals that were due until the end.
        handed: Those that a user took, to begin a task.
        dropped: Those for which no user was idle.
        lateness: From an arrival's instant until it was taken.
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
        """Wait for an arrival, as the greenlet that serves it; return when it was due (``perf_counter``)."""
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
                gevent.sleep(0)  # behind schedule: those who were handed an arrival have to run
            is_counted = due_s >= self._counted_from_s
            self.due += is_counted
            if self._idle:
                later(self._idle.pop().switch, due_s)
            else:
                self.dropped += is_counted
