"""The processes of a run that send: which take part, what share each has, and what each is granted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import gevent
from locust.runners import MasterRunner

from knouds_harness.errors import ExitCode, GuardStop
from knouds_harness.load import messages
from knouds_harness.load.collection.seconds import now_unix_s
from knouds_harness.load.leader.health import Health, ProcessHealth, together
from knouds_harness.load.messages import FinalReports
from knouds_harness.targets.budget import Budget, credits_of

_ASSEMBLE_WITHIN_S: Final = 15.0
_LARGEST_CLOCK_ERROR_S: Final = 0.5
_LOOK_EVERY_S: Final = 0.5


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
        self._health_by_worker: dict[str, ProcessHealth] = {}
        self._reserved: dict[str, int] = {}
        self._started: set[str] = set()
        self._sharing: set[str] = set()
        self._gone: set[str] = set()
        self._heard_unix_s: dict[str, float] = {}
        self._clock_error_s: dict[str, float] = {}
        self._start_unix_s: float | None = None
        self._are_ended = False
        runner.register_message(messages.ASK_CREDITS, self._on_ask_credits)
        runner.register_message(messages.STOP, self._on_stop)
        runner.environment.events.worker_report.add_listener(self._on_report)
        runner.environment.events.test_start.add_listener(self._on_test_start)

    @property
    def count(self) -> int:
        return max(1, len(self._health_by_worker))

    def health(self) -> Health:
        return together(each.health for each in self._health_by_worker.values())

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
        """Count what a worker handed over."""
        health = self._health_by_worker.setdefault(worker, ProcessHealth())
        health.take(told, rows, epoch_s=epoch_s, measured=measured)
        now_s = self._clock()
        self._heard_unix_s[worker] = now_s
        error_s = now_s - told["sent_unix_s"]  # the least counts: messages take time too
        self._clock_error_s[worker] = min(error_s, self._clock_error_s.get(worker, error_s), key=abs)

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
        for worker, error_s in sorted(self._clock_error_s.items()):
            if abs(error_s) > _LARGEST_CLOCK_ERROR_S:
                self._doubt(
                    f"The clock of worker {worker} differs by {-error_s:+.1f} s, so its arrivals and seconds "
                    "are shifted as much: synchronize the clocks of both machines (NTP)."
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
            share = {"start_unix_s": start_unix_s, "index": index, "workers": len(self._sharing)}
            self._runner.send_message(messages.SHARE, share, worker)
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
        heard_unix_s, start_unix_s = self._heard_unix_s.get(worker), self._start_unix_s
        if heard_unix_s is None or start_unix_s is None:
            return "nothing of what it sent is counted"
        heard_s = max(0.0, heard_unix_s - start_unix_s)
        missing = f"what it sent after second {heard_s:.0f} is not counted"
        spent_credits = self._health_by_worker[worker].health.spent_credits
        unsettled = credits_of(self._reserved.get(worker, 0)) - spent_credits
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
            self._reserved[worker] = self._reserved.get(worker, 0) + reserved
            granted = wanted
        self._runner.send_message(messages.CREDITS, {"granted": granted}, worker)

    def _on_report(self, client_id: str, data: dict[str, Any], **_: object) -> None:
        if data.get(messages.IS_FINAL) and client_id in self._reserved:
            spent_credits = self._health_by_worker[client_id].health.spent_credits
            self._budget.settle(self._reserved.pop(client_id), spent_credits)

    def _on_stop(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        self._stop(msg.data["reason"], ExitCode(msg.data["exit_code"]))
