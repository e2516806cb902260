"""Timers for instants of ``time.perf_counter``: the kernel's where there is one."""

import ctypes
import ctypes.util
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import gevent.hub

_CLOCK_MONOTONIC: Final = 1  # what time.perf_counter reads on Linux
_NONBLOCK: Final = os.O_NONBLOCK
_ABSOLUTE: Final = 1
_NS_PER_S: Final = 1_000_000_000
_READ: Final = 1


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class _TimerFd:
    """The kernel's timer as a file that the event loop watches: late by some 0.1 ms."""

    precision = "timerfd"

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._settime = libc.timerfd_settime
        self._file = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._hub = gevent.hub.get_hub()
        self._watcher = self._hub.loop.io(self._file, _READ)
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
        self._hub = gevent.hub.get_hub()
        self._callback: Callable[[], object] = lambda: None
        self._waiting: Any = None

    def start(self, callback: Callable[[], object]) -> None:
        self._callback = callback

    def set(self, instant_s: float) -> None:
        self.close()
        self._waiting = self._hub.loop.timer(max(0.0, instant_s - time.perf_counter()))
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
