"""How late the event loop of this process is, from beats every five milliseconds, and what kept it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import gevent

from knouds_harness.load.arrivals.timers import open_timer
from knouds_harness.measures.delay import BEAT_S

_STALL_S: Final = 0.001
_QUEUED: Final = Path("/proc/thread-self/schedstat")
"""Linux: nanoseconds on a processor, nanoseconds ready and waiting for one, and turns."""


class LoopMonitor:
    """Notes each beat: when it was due, and how late it came. A delay of over a millisecond is a stall.

    All times are seconds, and instants those of ``time.perf_counter``.
    """

    def __init__(self) -> None:
        self._beats: list[tuple[float, float]] = []
        self._stalls: list[tuple[float, float, float, float]] = []
        self._beating: gevent.Greenlet[..., None] | None = None

    def begin(self) -> None:
        if self._beating is None:
            self._beating = gevent.spawn(self._beat, queued_clock())

    def take(self) -> list[tuple[float, float]]:
        """Return the beats since the last call."""
        taken, self._beats = self._beats, []
        return taken

    def take_stalls(self) -> list[tuple[float, float, float, float]]:
        """Return the stalls since the last call.

        Each has when a beat was due, how long the loop stood still, for how much of that this thread
        computed, and for how much it waited for a processor that other work had.
        """
        taken, self._stalls = self._stalls, []
        return taken

    def _beat(self, queued_s: Callable[[], float]) -> None:
        due_s = time.perf_counter()
        own_s, waited_s = time.thread_time(), queued_s()
        with open_timer() as timer:
            while True:
                due_s += BEAT_S  # those that were due while the loop stood still count, too
                is_first = time.perf_counter() < due_s
                timer.wait_until(due_s)
                late_s = time.perf_counter() - due_s
                self._beats.append((due_s, late_s))
                before_s, own_s = own_s, time.thread_time()
                earlier_s, waited_s = waited_s, queued_s()
                if is_first and late_s > _STALL_S:
                    in_queue_s = min(waited_s - earlier_s, late_s)
                    computing_s = min(own_s - before_s, late_s - in_queue_s)
                    self._stalls.append((due_s, late_s, computing_s, in_queue_s))


def queued_clock() -> Callable[[], float]:
    """Return a clock of how long this thread was ready and waited for a processor; 0 where none tells."""
    with suppress(OSError):
        file = os.open(_QUEUED, os.O_RDONLY)
        return lambda: int(os.pread(file, 100, 0).split()[1]) / 1e9
    return lambda: 0.0
