"""How the generator itself does: late arrivals, a late event loop, a busy processor."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import gevent

from knouds_harness.load.arrivals.arrivals import open_timer
from knouds_harness.measures.delay import BEAT_S, lag_class
from knouds_harness.measures.histograms import Histogram, merged


@dataclass(kw_only=True)
class Health:
    """What one process saw of itself since the warm-up.

    Attributes:
        lateness: From an arrival's instant until it was taken.
        lags: How late heartbeats of the event loop came, by ``lag_class``.
        due: Arrivals that were due.
        handed: Those that a user took.
        dropped: Those for which no user was idle.
        spent_credits: What was charged, or may have been, since the process began.
    """

    lateness: Histogram = field(default_factory=Histogram)
    lags: defaultdict[int, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    due: int = 0
    handed: int = 0
    dropped: int = 0
    cpu_share: float = 0.0
    spent_credits: float = 0.0
    in_flight: int = 0

    @property
    def loop_lag(self) -> Histogram:
        return merged(self.lags.values())

    def packed(self) -> dict[str, Any]:
        lags = {missed: lags.counts for missed, lags in self.lags.items()}
        return vars(self) | {"lateness": self.lateness.counts, "lags": lags}

    @classmethod
    def unpacked(cls, message: Mapping[str, Any]) -> Self:
        lags = {missed: Histogram(counts) for missed, counts in message["lags"].items()}
        lateness = Histogram(message["lateness"])
        return cls(**{**message, "lateness": lateness, "lags": defaultdict(Histogram, lags)})


def together(processes: Iterable[Health]) -> Health:
    """All processes as one; the busiest processor counts."""
    whole = Health()
    for each in processes:
        whole.lateness.add(each.lateness)
        for missed, lags in each.lags.items():
            whole.lags[missed].add(lags)
        whole.due += each.due
        whole.handed += each.handed
        whole.dropped += each.dropped
        whole.cpu_share = max(whole.cpu_share, each.cpu_share)
        whole.spent_credits += each.spent_credits
        whole.in_flight += each.in_flight
    return whole


class Watch:
    """Watches this process; begin it when load begins, and again when the warm-up is over."""

    def __init__(self) -> None:
        self._health = Health()
        self._began_s = self._cpu_began_s = 0.0
        self._beating: gevent.Greenlet[..., None] | None = None

    def begin(self) -> None:
        """Forget what was, and watch from now."""
        self._health = Health()
        self._began_s, self._cpu_began_s = time.perf_counter(), time.process_time()
        if self._beating is None:
            self._beating = gevent.spawn(self._beat)

    def health(self) -> Health:
        """What was seen since ``begin``; arrivals count themselves."""
        health = self._health
        elapsed_s = time.perf_counter() - self._began_s
        health.cpu_share = (time.process_time() - self._cpu_began_s) / elapsed_s if elapsed_s > 0 else 0.0
        return health

    def _beat(self) -> None:
        due_s, missed = time.perf_counter(), 0
        with open_timer() as timer:
            while True:
                due_s += BEAT_S
                # Those that were due while the loop stood still count, too: answers came then as well.
                missed = 0 if due_s > time.perf_counter() else missed + 1
                timer.wait_until(due_s)
                self._health.lags[lag_class(missed)].record(time.perf_counter() - due_s)
