"""How late the event loop of this process is, from beats every five milliseconds."""

from __future__ import annotations

import time

import gevent

from knouds_harness.load.arrivals.timers import open_timer
from knouds_harness.measures.delay import BEAT_S


class LoopMonitor:
    """Notes each beat: when it was due, and how late it came."""

    def __init__(self) -> None:
        self._beats: list[tuple[float, float]] = []
        self._beating: gevent.Greenlet[..., None] | None = None

    def begin(self) -> None:
        if self._beating is None:
            self._beating = gevent.spawn(self._beat)

    def take(self) -> list[tuple[float, float]]:
        """Return the beats since the last call, on the clock of ``time.perf_counter``."""
        taken, self._beats = self._beats, []
        return taken

    def _beat(self) -> None:
        due_s = time.perf_counter()
        with open_timer() as timer:
            while True:
                due_s += BEAT_S  # those that were due while the loop stood still count, too
                timer.wait_until(due_s)
                self._beats.append((due_s, time.perf_counter() - due_s))
