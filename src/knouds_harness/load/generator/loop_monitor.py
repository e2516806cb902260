"""How late the event loop of this process is, from beats every five milliseconds, and what kept it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from knouds_harness.load.arrivals.timers import Timer, new_timer
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
        self._timer: Timer | None = None
        self._due_s = self._own_s = self._waited_s = 0.0

    def begin(self) -> None:
        if self._timer is None:
            self._queued_s = queued_clock()
            self._own_s, self._waited_s = time.thread_time(), self._queued_s()
            self._timer = new_timer()
            self._timer.start(self._beat)
            self._due_s = time.perf_counter() + BEAT_S
            self._timer.set(self._due_s)

    def take(self) -> list[tuple[float, float]]:
        taken, self._beats = self._beats, []
        return taken

    def take_stalls(self) -> list[tuple[float, float, float, float]]:
        """Return the stalls since the last call.

        Each has when a beat was due, how long the loop stood still, for how much of that this thread
        computed, and for how much it waited for a processor that other work had.
        """
        taken, self._stalls = self._stalls, []
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
