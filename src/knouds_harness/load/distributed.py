"""A load run in several processes: which workers take part, what share each sends, what they report."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from knouds_harness.errors import ExitCode, GuardStop
from knouds_harness.load import final_reports as messages
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.collection.seconds import Second, now_unix_s
from knouds_harness.load.generator.leading_run import LeadingRun
from knouds_harness.load.generator.load_run import LoadRun, LoadSetup
from knouds_harness.load.generator.validity import Health, together
from knouds_harness.load.invariants.verification import open_verification
from knouds_harness.targets.budget import Budget, credits_of

_ASSEMBLE_WITHIN_S: Final = 15.0
_LARGEST_CLOCK_ERROR_S: Final = 0.5
_ANSWER_WITHIN_S: Final = 15.0
_LOOK_EVERY_S: Final = 0.5


class MasterRun(LeadingRun):
    """Divides arrivals, request rate and credits between workers; ends the run if it loses one."""

    _is_distributed = True

    def __init__(
        self, environment: Environment, setup: LoadSetup, *, clock: Callable[[], float] = now_unix_s
    ) -> None:
        runner = environment.runner
        assert isinstance(runner, MasterRunner)  # noqa: S101 - this is its role
        self._runner = runner
        self._health_by_worker: dict[str, Health] = {}
        super().__init__(environment, setup)
        final_reports = self.seconds.final_reports
        assert final_reports is not None  # noqa: S101 - a master's
        self._final_reports = final_reports
        self._clock = clock
        self._budget = Budget(self.limits.budget.left_credits if setup.target else 0.0)
        self._reserved: dict[str, int] = {}
        self._started: set[str] = set()
        self._sharing: set[str] = set()
        self._gone: set[str] = set()
        self._heard_unix_s: dict[str, float] = {}
        self._clock_error_s: dict[str, float] = {}
        self._are_workers_ended = False
        environment.events.worker_report.add_listener(self._on_report)
        runner.register_message(messages.ASK_CREDITS, self._on_ask_credits)
        runner.register_message(messages.STOP, self._on_stop)

    @property
    def workers(self) -> int:
        return max(1, len(self._health_by_worker))

    def health(self) -> Health:
        return together(self._health_by_worker.values())

    def _assemble(self) -> None:
        """Wait until all workers that were told to start have done so, or time is up."""
        clients = self._runner.clients
        deadline_s = time.monotonic() + _ASSEMBLE_WITHIN_S
        assembled: set[str] = set()
        while time.monotonic() < deadline_s:
            assembled.update(client.id for client in clients.running)
            if assembled and all(client.id in assembled for client in (*clients.ready, *clients.spawning)):
                break
            gevent.sleep(0.05)
        self._started |= assembled

    def _distribute(self, start_unix_s: float) -> None:
        """Give each worker its share, then watch the workers."""
        gevent.spawn(self._share_and_watch, start_unix_s)

    def _on_test_stopping(self, **_: object) -> None:
        super()._on_test_stopping()
        self.end_workers()

    def _on_quitting(self, **_: object) -> None:
        self.end_workers()
        super()._on_quitting()

    def end_workers(self) -> None:
        """Let the workers finish, wait for their final reports, and note what is missing."""
        if self._are_workers_ended:
            self._final_reports.await_all()
            return
        self._are_workers_ended = True
        self.look()
        self._final_reports.await_all()
        for worker in sorted(self._final_reports.missing):
            self.doubt(f"Worker {worker} sent no final report: {self._what_is_missing(worker)}.")
        for worker, error_s in sorted(self._clock_error_s.items()):
            if abs(error_s) > _LARGEST_CLOCK_ERROR_S:
                self.doubt(
                    f"The clock of worker {worker} differs by {-error_s:+.1f} s, so its arrivals and seconds "
                    "are shifted as much: synchronize the clocks of both machines (NTP)."
                )

    # Workers that come and go

    def on_test_start(self, **_: object) -> None:
        self._started |= {client.id for client in self._runner.clients.ready}
        super().on_test_start()

    def _share_and_watch(self, start_unix_s: float) -> None:
        self._assemble()
        self._sharing = self._present()
        for index, worker in enumerate(sorted(self._sharing)):
            share = {"start_unix_s": start_unix_s, "index": index, "workers": len(self._sharing)}
            self._runner.send_message(messages.SHARE, share, worker)
        while not self._are_workers_ended:
            self.look()
            gevent.sleep(_LOOK_EVERY_S)

    def look(self) -> None:
        """End the run if a worker is gone; note workers that joined too late."""
        present = self._present()
        if self._sharing:
            for worker in sorted(present - self._sharing):
                self.doubt(f"Worker {worker} joined after the start: it got no share of the load.")
            self._sharing |= present
        gone = self._started - present - self._gone
        self._gone |= gone
        lost = sorted(gone - self._final_reports.received)
        ended = sorted(gone & self._final_reports.received)
        for worker in lost:
            self.doubt(f"The run lost a worker, {worker}: {self._what_is_missing(worker)}.")
        if lost:
            self.stop(f"Ended early: lost a worker, {lost[0]}.", None)
        elif ended:
            self.stop(f"Ended early: worker {ended[0]} was ended.", ExitCode.INTERRUPTED)

    def _present(self) -> set[str]:
        clients = self._runner.clients
        self._started.update(client.id for client in (*clients.spawning, *clients.running))
        # While a worker prepares, its heartbeats may say that it has not been started yet.
        heard = (*clients.ready, *clients.spawning, *clients.running)
        return {client.id for client in heard if client.id in self._started}

    def _what_is_missing(self, worker: str) -> str:
        heard_unix_s, start_unix_s = self._heard_unix_s.get(worker), self.metrics.start_unix_s
        if heard_unix_s is None or start_unix_s is None:
            return "nothing of what it sent is counted"
        heard_s = max(0.0, heard_unix_s - start_unix_s)
        missing = f"what it sent after second {heard_s:.0f} is not counted"
        unsettled = credits_of(self._reserved.get(worker, 0)) - self._health_by_worker[worker].spent_credits
        return f"{missing}, and may have cost up to {unsettled:g} credits" if unsettled > 0 else missing

    # What workers say

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
            self.stop(str(stop), ExitCode.GUARD)
        else:
            self._reserved[worker] = self._reserved.get(worker, 0) + reserved
            granted = wanted
        self._runner.send_message(messages.CREDITS, {"granted": granted}, worker)

    def _on_report(self, client_id: str, data: Mapping[str, Any], **_: object) -> None:
        if messages.HEALTH not in data:
            return
        health = Health.unpacked(data[messages.HEALTH])
        self._health_by_worker[client_id] = health
        self._heard_unix_s[client_id] = self._clock()
        error_s = self._clock() - data[messages.SENT_AT]  # the least counts: messages take time too
        self._clock_error_s[client_id] = min(error_s, self._clock_error_s.get(client_id, error_s), key=abs)
        if data.get(messages.IS_FINAL) and client_id in self._reserved:
            self._budget.settle(self._reserved.pop(client_id), health.spent_credits)
        self.evidence.receive(data.get(messages.SAMPLES, []))
        if self.verification and messages.OBSERVATIONS in data:
            self.verification.receive(data[messages.OBSERVATIONS])

    def _on_stop(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        self.stop(msg.data["reason"], ExitCode(msg.data["exit_code"]))


class LeasedCredits:
    """A worker's credits, which the master grants in parts."""

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self.budget = Budget(0.0)
        self._answered: Event | None = None
        self._granted = 0.0
        runner.register_message(messages.CREDITS, self._on_credits)

    def ask_ahead(self) -> None:
        """Ask for more once half of the last grant is used, unless a request is open."""
        if self._answered is None and self.budget.left_credits <= self._granted / 2:
            self._ask(0.0, "")

    def get_credits(self, needed: float, *, what: str) -> bool:
        """Get more from the master, and wait for them; return whether to try again."""
        answered = self._answered
        if answered is not None:  # a request is open already
            return answered.wait(_ANSWER_WITHIN_S)
        return self._ask(needed, what).wait(_ANSWER_WITHIN_S) and self._granted > 0

    def _ask(self, needed: float, what: str) -> Event:
        self._answered = answered = Event()
        self._runner.send_message(messages.ASK_CREDITS, {"needed": needed, "what": what})
        return answered

    def _on_credits(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        self._granted = float(msg.data["granted"])
        self.budget.extend(self._granted)
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.set()


class WorkerRun(LoadRun):
    """Sends its share of the load, and reports to the master, which leads the run."""

    def __init__(
        self, environment: Environment, setup: LoadSetup, *, clock: Callable[[], float] = now_unix_s
    ) -> None:
        runner = environment.runner
        assert isinstance(runner, WorkerRunner)  # noqa: S101 - this is its role
        self._runner = runner
        index = runner.worker_index
        super().__init__(environment, setup, lease=LeasedCredits(runner), worker_index=index)
        self.verification = open_verification(setup.options, setup.target, self._scenarios, process=index)
        self._clock = clock
        self._heard_unix_s = clock()
        environment.events.report_to_master.add_listener(self._report)
        environment.events.heartbeat_received.add_listener(self._on_heartbeat)
        runner.register_message(messages.SHARE, self._on_share)
        gevent.spawn(self._watch_master)

    def stop(self, reason: str, exit_code: ExitCode) -> None:
        self._runner.send_message(messages.STOP, {"reason": reason, "exit_code": int(exit_code)})

    def add_second(self, second: Second) -> None:
        """Do nothing: the master counts what this process reports."""

    def _on_share(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        share = Share(index=msg.data["index"], workers=msg.data["workers"])
        self.take_share(msg.data["start_unix_s"], share)

    def _on_heartbeat(self, timestamp: float, **_: object) -> None:
        self._heard_unix_s = timestamp

    def _watch_master(self) -> None:
        while self._clock() - self._heard_unix_s <= messages.SILENCE_S:
            gevent.sleep(_LOOK_EVERY_S)
        silent = f"did not hear the master for {messages.SILENCE_S:.0f} s"
        reason = f"Ended early: worker {self._runner.client_id} {silent}."
        self.stop(reason, ExitCode.INVALID_MEASUREMENT)
        self._runner.quit()  # what it sends would not be counted

    def _report(self, data: dict[str, Any], **_: object) -> None:
        data[messages.HEALTH] = self.health().packed()
        if self.samples:
            data[messages.SAMPLES] = self.samples.packed()
        if self.verification:
            data[messages.OBSERVATIONS] = self.verification.take().packed()
        data[messages.SENT_AT] = self._clock()
