"""Timers for instants of ``time.perf_counter``, and how late the event loop of this process is."""

import ctypes
import ctypes.util
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import gevent.hub

from knouds_harness.measures.delay import BEAT_S

_ABSOLUTE: Final = 1
_NS_PER_S: Final = 1_000_000_000
_READ: Final = 1
_STALL_S: Final = 0.001
_QUEUED: Final = Path("/proc/thread-self/schedstat")
"""Linux: nanoseconds on a processor, nanoseconds ready and waiting for one, and turns."""


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class _TimerFd:
    """The kernel's timer as a file that the event loop watches: late by some 0.1 ms."""

    precision = "timerfd"

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._settime = libc.timerfd_settime
        self._file = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK)  # time.perf_counter's
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._watcher = gevent.hub.get_hub().loop.io(self._file, _READ)
        self._wanted = _TimerSpec()
        self._value = self._wanted.value
        self._reference = ctypes.byref(self._wanted)

    def start(self, callback: Callable[[], object]) -> None:
        self._watcher.start(callback)

    def set(self, instant_s: float) -> None:
        """Set the next instant; this also takes back that the last one has come, so nothing need be read."""
        value = self._value
        value.seconds, value.nanoseconds = divmod(max(int(instant_s * _NS_PER_S), 1), _NS_PER_S)
        self._settime(self._file, _ABSOLUTE, self._reference, None)

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        os.close(self._file)


class _EventLoopTimer:
    """The event loop's own timers, which are late by up to a millisecond."""

    precision = "event loop"

    def __init__(self) -> None:
        self._loop = gevent.hub.get_hub().loop
        self._callback: Callable[[], object] = lambda: None
        self._waiting: Any = None

    def start(self, callback: Callable[[], object]) -> None:
        self._callback = callback

    def set(self, instant_s: float) -> None:
        self.close()
        self._waiting = self._loop.timer(max(0.0, instant_s - time.perf_counter()))
        self._waiting.start(self._callback)

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None


Timer = _TimerFd | _EventLoopTimer
"""Calls back in the loop at each instant that ``set`` is given; one that is past comes at its next turn."""


def new_timer() -> Timer:
    """Return the most precise timer that this platform has; close it at the end."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "timerfd_create"):
        return _EventLoopTimer()
    return _TimerFd(libc)


class LoopMonitor:
    """Notes each beat: when it was due, and how late it came. A delay of over a millisecond is a stall.

    All times are seconds, and instants those of ``time.perf_counter``.
    """

    def __init__(self) -> None:
        self._beats: list[tuple[float, float]] = []
        self._stalls: list[tuple[float, float, float, float]] = []
        self._timer: Timer | None = None
        self._due_s = self._own_s = self._waited_s = 0.0

    def begin(self) -> None:
        self._queued_s = queued_clock()
        self._own_s, self._waited_s = time.thread_time(), self._queued_s()
        self._timer = new_timer()
        self._timer.start(self._beat)
        self._due_s = time.perf_counter() + BEAT_S
        self._timer.set(self._due_s)

    def take(self) -> tuple[list[tuple[float, float]], list[tuple[float, float, float, float]]]:
        """Return the beats and the stalls since the last call.

        A stall has when a beat was due, how long the loop stood still, for how much of that this thread
        computed, and for how much it waited for a processor that other work had.
        """
        taken = self._beats, self._stalls
        self._beats, self._stalls = [], []
        return taken

    def _beat(self) -> None:
        first_s, now_s = self._due_s, time.perf_counter()
        while self._due_s <= now_s:  # those that were due while the loop stood still count, too
            self._beats.append((self._due_s, now_s - self._due_s))
            self._due_s += BEAT_S
        before_s, self._own_s = self._own_s, time.thread_time()
        earlier_s, self._waited_s = self._waited_s, self._queued_s()
        late_s = now_s - first_s
        if late_s > _STALL_S:
            in_queue_s = min(self._waited_s - earlier_s, late_s)
            computing_s = min(self._own_s - before_s, late_s - in_queue_s)
            self._stalls.append((first_s, late_s, computing_s, in_queue_s))
        if self._timer is not None:
            self._timer.set(self._due_s)


def queued_clock() -> Callable[[], float]:
    """Return a clock of how long this thread was ready and waited for a processor; 0 where none tells."""
    with suppress(OSError):
        file = os.open(_QUEUED, os.O_RDONLY)
        return lambda: int(os.pread(file, 100, 0).split()[1]) / 1e9
    return lambda: 0.0
