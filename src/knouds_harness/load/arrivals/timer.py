"""A timer that wakes a greenlet when it should, where the platform has one."""

import ctypes
import ctypes.util
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Protocol

import gevent
import gevent.hub

_CLOCK_MONOTONIC: Final = 1  # what time.perf_counter reads on Linux
_NONBLOCK: Final = os.O_NONBLOCK
_ABSOLUTE: Final = 1
_NS_PER_S: Final = 1_000_000_000


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
