"""The processes of a run that send: which take part, what share each has, is granted, and tells of itself."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import gevent
import psutil
from locust.runners import STATE_INIT, MasterRunner

from knouds_harness.errors import ExitCode, GuardStop
from knouds_harness.load import messages
from knouds_harness.load.collection.rows import Waiting
from knouds_harness.load.collection.seconds import ROUNDING_S, now_unix_s
from knouds_harness.load.messages import FinalReports
from knouds_harness.measures.delay import EARLY_S
from knouds_harness.measures.histograms import Histogram
from knouds_harness.targets.budget import Budget, credits_of

_CONNECT_WITHIN_S: Final = 2.0
_ASSEMBLE_WITHIN_S: Final = 15.0
_LARGEST_CLOCK_ERROR_S: Final = 0.5
_LOOK_EVERY_S: Final = 0.5


@dataclass(kw_only=True)
class Health:
    """What one process, or all together, measured since the warm-up.

    Attributes:
        lateness: From when an arrival was due until its first request was sent.
        loop_lag: How late heartbeats of the event loop came.
        stalled_s: How long it stood still, over a millisecond at a time.
        own_s: For how much of that the process computed.
        queued_s: For how much of that other work of the machine kept it from a processor.
        early_s: How much of it was in the first seconds of the load, in which code runs for the first time.
        runs: How many runs it has sent since it began.
        spent_credits: What was charged, or may have been, since the process began.
        waiting: Requests that have been in flight for long.
    """

    lateness: Histogram = field(default_factory=Histogram)
    loop_lag: Histogram = field(default_factory=Histogram)
    stalled_s: float = 0.0
    own_s: float = 0.0
    queued_s: float = 0.0
    early_s: float = 0.0
    due: int = 0
    handed: int = 0
    dropped: int = 0
    cpu_share: float = 0.0
    runs: int = 0
    spent_credits: float = 0.0
    in_flight: int = 0
    waiting: tuple[Waiting, ...] = ()
    timer: str = ""

    def since(self, earlier: Health) -> Health:
        """Return what was added since ``earlier``; what does not add up stays as it is."""
        sums = {name: getattr(self, name) - getattr(earlier, name) for name in _SUMS}
        lateness, loop_lag = self.lateness.since(earlier.lateness), self.loop_lag.since(earlier.loop_lag)
        return replace(self, lateness=lateness, loop_lag=loop_lag, **sums)


_SUMS: Final = tuple(each.name for each in fields(Health) if each.default == 0 and each.name != "cpu_share")


def together(processes: Iterable[Health]) -> Health:
    """Add up the health of all processes; of their CPU shares, take the highest."""
    whole = Health()
    for each in processes:
        whole.lateness.add(each.lateness)
        whole.loop_lag.add(each.loop_lag)
        for name in _SUMS:
            setattr(whole, name, getattr(whole, name) + getattr(each, name))
        whole.waiting += each.waiting
        whole.cpu_share = max(whole.cpu_share, each.cpu_share)
        whole.timer = whole.timer or each.timer
    return whole


@dataclass(kw_only=True)
class _Worker:
    """What the leading process knows of one that sends.

    Attributes:
        reserved: Credits that it was granted and has not settled.
        clock_error_s: How far its clock is behind ours, at most.
    """

    health: Health = field(default_factory=Health)
    reserved: int = 0
    heard_unix_s: float | None = None
    clock_error_s: float = 0.0
    first_cpu: tuple[float, float] | None = None


class Workers:
    """Divides arrivals, request rate and credits between workers; ends the run if it loses one."""

    def __init__(
        self,
        runner: MasterRunner,
        final_reports: FinalReports,
        *,
        most_credits: float,
        doubt: Callable[[str], object],
        stop: Callable[[str, ExitCode | None], object],
        clock: Callable[[], float] = now_unix_s,
    ) -> None:
        self._runner, self._final_reports = runner, final_reports
        self._doubt, self._stop, self._clock = doubt, stop, clock
        self._budget = Budget(most_credits)
        self._by_id: defaultdict[str, _Worker] = defaultdict(_Worker)
        self._started: set[str] = set()
        self._sharing: set[str] = set()
        self._gone: set[str] = set()
        self._start_unix_s: float | None = None
        self._are_ended = False
        runner.register_message(messages.ASK_CREDITS, self._on_ask_credits)
        runner.register_message(
            messages.STOP, lambda msg, **_: stop(msg.data["reason"], ExitCode(msg.data["exit_code"]))
        )
        runner.environment.events.worker_report.add_listener(self._on_report)
        runner.environment.events.test_start.add_listener(self._on_test_start)

    @property
    def count(self) -> int:
        """Of those that were heard."""
        return max(1, sum(each.heard_unix_s is not None for each in self._by_id.values()))

    def health(self) -> Health:
        return together(each.health for each in self._by_id.values())

    def await_processes(self, count: int) -> None:
        """Wait for the processes that Locust has started: it would look for them only once a second."""
        deadline_s = time.monotonic() + _CONNECT_WITHIN_S
        while len(self._runner.clients.ready) < count and time.monotonic() < deadline_s:
            gevent.sleep(0.01)  # what is amiss is found out later

    def watch_processes(self, count: int) -> None:
        """End the run if one of them ends before load begins: Locust would wait for it forever."""
        while self._runner.state == STATE_INIT:
            running = [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
            if len(running) < count:
                reason = "Ended early: a worker process ended before load began."
                self._stop(reason, ExitCode.INVALID_MEASUREMENT)
                return
            gevent.sleep(_LOOK_EVERY_S)

    def assemble(self) -> None:
        """Wait until all workers that were told to start have done so, or time is up."""
        clients = self._runner.clients
        deadline_s = time.monotonic() + _ASSEMBLE_WITHIN_S
        assembled: set[str] = set()
        while time.monotonic() < deadline_s:
            assembled.update(client.id for client in clients.running)
            if assembled and all(client.id in assembled for client in (*clients.ready, *clients.spawning)):
                break
            gevent.sleep(0.02)
        self._started |= assembled

    def share(self, start_unix_s: float) -> None:
        """Give each worker its share, then watch the workers."""
        self._start_unix_s = start_unix_s
        gevent.spawn(self._share_and_watch, start_unix_s)

    def take(
        self,
        worker: str,
        told: Mapping[str, Any],
        rows: Sequence[Sequence[Any]],
        *,
        epoch_s: float,
        measured: tuple[float, float],
    ) -> None:
        """Count what came; what was due before or after the ``measured`` time is left out."""
        known, now_s = self._by_id[worker], self._clock()
        sent_unix_s, cpu_s = told["sent_unix_s"], told["cpu_s"]
        health, early_until_unix_s = known.health, (self._start_unix_s or 0.0) + EARLY_S
        error_s = now_s - sent_unix_s  # the least counts: messages take time too
        is_first = known.heard_unix_s is None
        known.clock_error_s = error_s if is_first else min(error_s, known.clock_error_s, key=abs)
        known.heard_unix_s = now_s
        from_s, until_s = (each_unix_s - epoch_s - ROUNDING_S for each_unix_s in measured)
        for _, _, _, response_ms, service_ms, ended_s, *_ in rows:
            is_scheduled = response_ms is not None and response_ms != service_ms
            if is_scheduled and ended_s - response_ms / 1e3 >= from_s:
                health.lateness.record((response_ms - service_ms) / 1e3)
        for due_s, lag_s in told["lags"]:
            if from_s <= due_s < until_s:
                health.loop_lag.record(lag_s)
        for due_s, stalled_s, own_s, queued_s in told["stalls"]:
            if from_s <= due_s < until_s:
                health.stalled_s += stalled_s
                health.own_s += own_s
                health.queued_s += queued_s
                health.early_s += stalled_s if due_s + epoch_s < early_until_unix_s else 0.0
        health.waiting = tuple(Waiting._make(each) for each in told["waiting"])
        if told["arrivals"]:
            health.due, health.handed, health.dropped, health.in_flight = told["arrivals"]
        health.runs, health.spent_credits, health.timer = told["runs"], told["spent_credits"], told["timer"]
        if measured[0] <= sent_unix_s <= measured[1]:
            first_unix_s, first_cpu_s = known.first_cpu = known.first_cpu or (sent_unix_s, cpu_s)
            if sent_unix_s > first_unix_s:
                health.cpu_share = (cpu_s - first_cpu_s) / (sent_unix_s - first_unix_s)

    def end(self) -> None:
        """Let the workers finish, wait for their final reports, and note what is missing."""
        if self._are_ended:
            self._final_reports.await_all()
            return
        self._are_ended = True
        self.look()
        self._final_reports.await_all()
        for worker in sorted(self._final_reports.missing):
            self._doubt(f"Worker {worker} sent no final report: {self._what_is_missing(worker)}.")
        for worker, known in sorted(self._by_id.items()):
            if abs(known.clock_error_s) > _LARGEST_CLOCK_ERROR_S:
                self._doubt(
                    f"The clock of worker {worker} differs by {-known.clock_error_s:+.1f} s, so its arrivals "
                    "and seconds are shifted as much: synchronize the clocks of both machines (NTP)."
                )

    def look(self) -> None:
        """End the run if a worker is gone; note workers that joined too late."""
        present = self._present()
        if self._sharing:
            for worker in sorted(present - self._sharing):
                self._doubt(f"Worker {worker} joined after the start: it got no share of the load.")
            self._sharing |= present
        gone = self._started - present - self._gone
        self._gone |= gone
        lost = sorted(gone - self._final_reports.received)
        ended = sorted(gone & self._final_reports.received)
        for worker in lost:
            self._doubt(f"The run lost a worker, {worker}: {self._what_is_missing(worker)}.")
        if lost:
            self._stop(f"Ended early: lost a worker, {lost[0]}.", None)
        elif ended:
            self._stop(f"Ended early: worker {ended[0]} was ended.", ExitCode.INTERRUPTED)

    def _share_and_watch(self, start_unix_s: float) -> None:
        self.assemble()
        self._sharing = self._present()
        for index, worker in enumerate(sorted(self._sharing)):
            told = {"start_unix_s": start_unix_s, "share": {"index": index, "workers": len(self._sharing)}}
            self._runner.send_message(messages.SHARE, told, worker)
        while not self._are_ended:
            self.look()
            gevent.sleep(_LOOK_EVERY_S)

    def _present(self) -> set[str]:
        clients = self._runner.clients
        self._started.update(client.id for client in (*clients.spawning, *clients.running))
        # While a worker prepares, its heartbeats may say that it has not been started yet.
        heard = (*clients.ready, *clients.spawning, *clients.running)
        return {client.id for client in heard if client.id in self._started}

    def _what_is_missing(self, worker: str) -> str:
        known, start_unix_s = self._by_id[worker], self._start_unix_s
        if known.heard_unix_s is None or start_unix_s is None:
            return "nothing of what it sent is counted"
        heard_s = max(0.0, known.heard_unix_s - start_unix_s)
        missing = f"what it sent after second {heard_s:.0f} is not counted"
        unsettled = credits_of(known.reserved) - known.health.spent_credits
        return f"{missing}, and may have cost up to {unsettled:g} credits" if unsettled > 0 else missing

    def _on_test_start(self, **_: object) -> None:
        self._started |= {client.id for client in self._runner.clients.ready}

    def _on_ask_credits(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        """Grant credits; the fewer are left, the fewer at a time, so that few lie unused with a worker.

        A grant stays reserved until the worker's final report; then what it did not spend comes back. Nothing
        comes back from a lost worker, so the budget is never overspent.
        """
        worker, needed, what = msg.node_id, float(msg.data["needed"]), str(msg.data["what"])
        part = self._budget.left_credits / (2 * max(1, len(self._present())))
        wanted = max(needed, int(part * 100) / 100)
        granted = 0.0
        try:
            reserved = self._budget.reserve(wanted, what=what)
        except GuardStop as stop:
            self._stop(str(stop), ExitCode.GUARD)
        else:
            self._by_id[worker].reserved += reserved
            granted = wanted
        self._runner.send_message(messages.CREDITS, {"granted": granted}, worker)

    def _on_report(self, client_id: str, data: dict[str, Any], **_: object) -> None:
        known = self._by_id[client_id]
        if data.get(messages.IS_FINAL) and known.reserved:
            self._budget.settle(known.reserved, known.health.spent_credits)
            known.reserved = 0
