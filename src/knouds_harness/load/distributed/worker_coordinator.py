"""The workers of a distributed run, as their master sees them: who is there, and what each of them gets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import gevent
from locust.runners import MasterRunner

from knouds_harness.errors import ExitCode, GuardStop
from knouds_harness.load.distributed.final_reports import FinalReports
from knouds_harness.load.distributed.messages import (
    ASK_CREDITS,
    CREDITS,
    HEALTH,
    IS_FINAL,
    SENT_AT,
    SHARE,
    STOP,
)
from knouds_harness.load.generator.health import Health
from knouds_harness.load.steady_clock import now_unix_s
from knouds_harness.targets.budget import Budget, credits_of

_ASSEMBLE_WITHIN_S: Final = 15.0
_LOOK_EVERY_S: Final = 0.5
_LARGEST_CLOCK_ERROR_S: Final = 0.5


class CoordinatedRun(Protocol):
    """What a worker coordinator needs of the master's run."""

    def note(self, sentence: str) -> object:
        """Tell readers of the figures."""

    def doubt(self, sentence: str) -> object:
        """Tell them why the figures are not the target's alone."""

    def stop(self, reason: str, exit_code: ExitCode | None) -> object:
        """End the run early; without an exit code the figures say what it ends with."""

    def take_report(self, worker: str, health: Health, report: Mapping[str, Any]) -> object:
        """A worker reported."""


class WorkerCoordinator:
    """Divides arrivals, pace and credits between workers, and ends the run where one of them goes."""

    def __init__(
        self,
        runner: MasterRunner,
        run: CoordinatedRun,
        final_reports: FinalReports,
        *,
        most_credits: float,
        clock: Callable[[], float] = now_unix_s,
    ) -> None:
        """Listen to workers.

        Args:
            runner: Locust's, of the master.
            run: The master's run.
            final_reports: Of these workers.
            most_credits: What all may spend together.
            clock: Seconds since the epoch.
        """
        self._clock = clock
        self._runner = runner
        self._run = run
        self._final_reports = final_reports
        self._budget = Budget(most_credits)
        self._reserved: dict[str, int] = {}
        self._spent_credits: dict[str, float] = {}
        self._started: set[str] = set()
        self._sharing: set[str] = set()
        self._gone: set[str] = set()
        self._heard_unix_s: dict[str, float] = {}
        self._clock_error_s: dict[str, float] = {}
        self._start_unix_s = 0.0
        self._is_over = False
        runner.environment.events.worker_report.add_listener(self._on_report)
        runner.environment.events.test_start.add_listener(self._on_test_start)
        runner.register_message(ASK_CREDITS, self._on_ask_credits)
        runner.register_message(STOP, self._on_stop)

    def assemble(self) -> None:
        """Wait until all workers that were told to start have done so, within reason."""
        clients = self._runner.clients
        deadline_s = time.monotonic() + _ASSEMBLE_WITHIN_S
        assembled: set[str] = set()
        while time.monotonic() < deadline_s:
            assembled.update(client.id for client in clients.running)
            if assembled and all(client.id in assembled for client in (*clients.ready, *clients.spawning)):
                break
            gevent.sleep(0.05)
        self._started |= assembled

    def begin(self, start_unix_s: float) -> None:
        """Load begins at this instant: give each worker its share, and watch them from now on."""
        self._start_unix_s = start_unix_s
        gevent.spawn(self._share_and_watch)

    def end(self) -> None:
        """Have the workers finish, wait for their final reports, and say what is missing."""
        if self._is_over:
            self._final_reports.await_all()
            return
        self._is_over = True
        self.look()
        self._final_reports.await_all()
        for worker in sorted(self._final_reports.missing):
            self._run.doubt(f"Worker {worker} sent no final report: {self._what_is_missing(worker)}.")
        for worker, error_s in sorted(self._clock_error_s.items()):
            if abs(error_s) > _LARGEST_CLOCK_ERROR_S:
                self._run.doubt(
                    f"The clock of worker {worker} differs by {-error_s:+.1f} s, and so do the instants of "
                    "its arrivals and its seconds: have both set by NTP."
                )

    # Workers that come and go

    def _on_test_start(self, **_: object) -> None:
        self._started |= {client.id for client in self._runner.clients.ready}

    def _share_and_watch(self) -> None:
        self.assemble()
        self._sharing = self._present()
        for index, worker in enumerate(sorted(self._sharing)):
            share = {"start_unix_s": self._start_unix_s, "index": index, "workers": len(self._sharing)}
            self._runner.send_message(SHARE, share, worker)
        while not self._is_over:
            self.look()
            gevent.sleep(_LOOK_EVERY_S)

    def look(self) -> None:
        """End the run where a worker has gone, and say where one came too late."""
        present = self._present()
        if self._sharing:
            for worker in sorted(present - self._sharing):
                self._run.doubt(f"Worker {worker} joined after the start: it got no share of the load.")
            self._sharing |= present
        gone = self._started - present - self._gone
        self._gone |= gone
        lost = sorted(gone - self._final_reports.received)
        ended = sorted(gone & self._final_reports.received)
        for worker in lost:
            self._run.doubt(f"The run lost a worker, {worker}: {self._what_is_missing(worker)}.")
        if lost:
            self._run.stop(f"Ended early: lost a worker, {lost[0]}.", None)
        elif ended:
            self._run.stop(f"Ended early: worker {ended[0]} was ended.", ExitCode.INTERRUPTED)

    def _present(self) -> set[str]:
        clients = self._runner.clients
        self._started.update(client.id for client in (*clients.spawning, *clients.running))
        # While a worker prepares, its heartbeats may say that it has not been started yet.
        heard = (*clients.ready, *clients.spawning, *clients.running)
        return {client.id for client in heard if client.id in self._started}

    def _what_is_missing(self, worker: str) -> str:
        heard_unix_s = self._heard_unix_s.get(worker)
        if heard_unix_s is None:
            return "nothing of what it sent is counted"
        heard_s = max(0.0, heard_unix_s - self._start_unix_s)
        missing = f"what it sent after second {heard_s:.0f} is not counted"
        unsettled = credits_of(self._reserved.get(worker, 0)) - self._spent_credits.get(worker, 0.0)
        return f"{missing}, and may have cost up to {unsettled:g} credits" if unsettled > 0 else missing

    # What workers say

    def _on_ask_credits(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        """Hand credits out, the fewer at a time the fewer are left, so that few lie idle with some worker.

        What a worker was granted is reserved until it has left in order; then what it did not spend comes
        back. Of a lost worker nothing does: so the whole is never overspent.
        """
        worker, needed, what = msg.node_id, float(msg.data["needed"]), str(msg.data["what"])
        part = self._budget.left_credits / (2 * max(1, len(self._present())))
        wanted = max(needed, int(part * 100) / 100)
        granted = 0.0
        try:
            reserved = self._budget.reserve(wanted, what=what)
        except GuardStop as stop:
            self._run.stop(str(stop), ExitCode.GUARD)
        else:
            self._reserved[worker] = self._reserved.get(worker, 0) + reserved
            granted = wanted
        self._runner.send_message(CREDITS, {"granted": granted}, worker)

    def _on_report(self, client_id: str, data: Mapping[str, Any], **_: object) -> None:
        if HEALTH not in data:
            return
        health = Health.unpacked(data[HEALTH])
        self._spent_credits[client_id] = health.spent_credits
        self._heard_unix_s[client_id] = self._clock()
        error_s = self._clock() - data[SENT_AT]  # the least counts, as messages take some time too
        self._clock_error_s[client_id] = min(error_s, self._clock_error_s.get(client_id, error_s), key=abs)
        if data.get(IS_FINAL) and client_id in self._reserved:
            self._budget.settle(self._reserved.pop(client_id), health.spent_credits)
        self._run.take_report(client_id, health, data)

    def _on_stop(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        self._run.stop(msg.data["reason"], ExitCode(msg.data["exit_code"]))
