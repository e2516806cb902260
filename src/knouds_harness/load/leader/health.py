"""What the processes that send told of themselves: how late they were, and what they sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from knouds_harness.measures.histograms import Histogram

_SUMS: Final = ("stalled_s", "own_s", "queued_s", "due", "handed", "dropped", "spent_credits", "in_flight")


@dataclass(kw_only=True)
class Health:
    """What one process, or all together, measured since the warm-up.

    Attributes:
        lateness: From when an arrival was due until its first request was sent.
        loop_lag: How late heartbeats of the event loop came.
        stalled_s: How long it stood still, over a millisecond at a time.
        own_s: For how much of that the process computed.
        queued_s: For how much of that other work of the machine kept it from a processor.
        due: Arrivals that were due.
        handed: Arrivals that a user took.
        spent_credits: What was charged, or may have been, since the process began.
    """

    lateness: Histogram = field(default_factory=Histogram)
    loop_lag: Histogram = field(default_factory=Histogram)
    stalled_s: float = 0.0
    own_s: float = 0.0
    queued_s: float = 0.0
    due: int = 0
    handed: int = 0
    dropped: int = 0
    cpu_share: float = 0.0
    spent_credits: float = 0.0
    in_flight: int = 0
    timer: str = ""

    def since(self, earlier: Health) -> Health:
        """Return what was added since ``earlier``; what does not add up stays as it is."""
        sums = {name: getattr(self, name) - getattr(earlier, name) for name in _SUMS}
        lateness, loop_lag = self.lateness.since(earlier.lateness), self.loop_lag.since(earlier.loop_lag)
        return replace(self, lateness=lateness, loop_lag=loop_lag, **sums)


def together(processes: Iterable[Health]) -> Health:
    """Add up the health of all processes; of their CPU shares, take the highest."""
    whole = Health()
    for each in processes:
        whole.lateness.add(each.lateness)
        whole.loop_lag.add(each.loop_lag)
        for name in _SUMS:
            setattr(whole, name, getattr(whole, name) + getattr(each, name))
        whole.cpu_share = max(whole.cpu_share, each.cpu_share)
        whole.timer = whole.timer or each.timer
    return whole


class ProcessHealth:
    """Adds up what one process hands over."""

    def __init__(self) -> None:
        self.health = Health()
        self._first: tuple[float, float] | None = None

    def take(
        self,
        told: Mapping[str, Any],
        rows: Sequence[Sequence[Any]],
        epoch_s: float,
        measured: tuple[float, float],
    ) -> None:
        """Count what came at a time; what was due before or after the ``measured`` time is left out."""
        health = self.health
        from_s, until_s = (each_unix_s - epoch_s - 1e-4 for each_unix_s in measured)
        for _, _, _, response_ms, service_ms, ended_s, *_ in rows:
            if (
                response_ms is not None
                and response_ms != service_ms
                and ended_s - response_ms / 1e3 >= from_s
            ):
                health.lateness.record((response_ms - service_ms) / 1e3)
        for due_s, lag_s in told["lags"]:
            if from_s <= due_s < until_s:
                health.loop_lag.record(lag_s)
        stalls = [each for due_s, *each in told["stalls"] if from_s <= due_s < until_s]
        for stalled_s, own_s, queued_s in stalls:
            health.stalled_s += stalled_s
            health.own_s += own_s
            health.queued_s += queued_s
        if told["arrivals"]:
            health.due, health.handed, health.dropped, health.in_flight = told["arrivals"]
        health.spent_credits, health.timer = told["spent_credits"], told["timer"]
        sent_unix_s, cpu_s = told["sent_unix_s"], told["cpu_s"]
        if not measured[0] <= sent_unix_s <= measured[1]:
            return
        if self._first is None:
            self._first = sent_unix_s, cpu_s
        elif sent_unix_s > self._first[0]:
            health.cpu_share = (cpu_s - self._first[1]) / (sent_unix_s - self._first[0])
