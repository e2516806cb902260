"""The workers of a distributed run, as their master sees them: who is there, and what each of them gets."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import gevent
from gevent.event import Event
from locust.runners import STATE_RUNNING, MasterRunner

from knouds_harness.errors import ExitCode, GuardStop
from knouds_harness.load.health import Health
from knouds_harness.load.leader import Leader
from knouds_harness.load.messages import (
    ASK_CREDITS,
    ASK_SHARE,
    CREDITS,
    END,
    HEALTH,
    IS_LAST,
    SENT_AT,
    SHARE,
    STOP,
    TAKE_OVER_S,
)
from knouds_harness.target.budget import Budget, credits_of

_ASSEMBLE_WITHIN_S: Final = 15.0
_LOOK_EVERY_S: Final = 0.5
_LAST_REPORTS_WITHIN_S: Final = 5.0
"""Besides Locust's stop timeout."""
_LARGEST_CLOCK_ERROR_S: Final = 0.5


class Crew:
    """Divides arrivals, pace and credits between workers, whoever comes and goes; hears their last word."""

    def __init__(
        self,
        runner: MasterRunner,
        leader: Leader,
        *,
        most_credits: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Listen to workers.

        Args:
            runner: Locust's, of the master.
            leader: Told what readers of the figures have to know.
            most_credits: What all may spend together.
            clock: Seconds since the epoch.
        """
        self._clock = clock
        self._runner = runner
        self._leader = leader
        self._budget = Budget(most_credits)
        self._granted: dict[str, int] = {}
        self._started: set[str] = set()
        self._known: set[str] = set()
        self._heard_unix_s: dict[str, float] = {}
        self._clock_error_s: dict[str, float] = {}
        self._last_heard: set[str] = set()
        self._start_unix_s = 0.0
        self._ended: Event | None = None
        runner.environment.events.worker_report.add_listener(self._on_report)
        runner.register_message(ASK_SHARE, self._on_ask_share)
        runner.register_message(ASK_CREDITS, self._on_ask_credits)
        runner.register_message(STOP, self._on_stop)

    def assemble(self) -> None:
        """Wait until all workers that were told to start have done so, within reason."""
        clients = self._runner.clients
        deadline_s = time.monotonic() + _ASSEMBLE_WITHIN_S
        assembled: set[str] = set()
        while time.monotonic() < deadline_s:
            assembled.update(client.id for client in clients.running)
            if all(client.id in assembled for client in (*clients.ready, *clients.spawning)):
                break
            gevent.sleep(0.05)
        self._started |= assembled

    def begin(self, start_unix_s: float) -> None:
        """Load begins at this instant: keep shares, from now on."""
        self._start_unix_s = start_unix_s
        gevent.spawn(self._keep_shares)

    def end(self) -> None:
        """Have the workers finish what is in flight, and hear their last reports; later callers wait too."""
        if self._ended is not None:
            self._ended.wait()
            return
        self._ended = Event()
        try:
            self._end()
        finally:
            self._ended.set()

    def _end(self) -> None:
        present = self._present()
        self._tell_lost(present, "")
        awaited = present - self._last_heard
        for worker in awaited:
            self._runner.send_message(END, None, worker)
        within_s = (self._runner.environment.stop_timeout or 0.0) + _LAST_REPORTS_WITHIN_S
        deadline_s = time.monotonic() + within_s
        while (missing := (awaited & self._present()) - self._last_heard) and time.monotonic() < deadline_s:
            gevent.sleep(0.02)
        for worker in sorted(missing):
            self._leader.doubt(f"Worker {worker} sent no last report: {self._what_is_missing(worker)}.")
        for worker, error_s in sorted(self._clock_error_s.items()):
            if abs(error_s) > _LARGEST_CLOCK_ERROR_S:
                self._leader.doubt(
                    f"The clock of worker {worker} differs by {-error_s:+.1f} s, and so do the instants of "
                    "its arrivals and its seconds: have both set by NTP."
                )

    def _present(self) -> set[str]:
        clients = self._runner.clients
        self._started.update(client.id for client in (*clients.spawning, *clients.running))
        # While a worker prepares, its heartbeats may say that it has not been started yet.
        heard = (*clients.ready, *clients.spawning, *clients.running)
        return {client.id for client in heard if client.id in self._started}

    # Shares

    def _keep_shares(self) -> None:
        while self._ended is None:
            self.look()
            gevent.sleep(_LOOK_EVERY_S)

    def look(self) -> None:
        """Give each worker a share, and new ones where some came or went."""
        present = self._present()
        if present == self._known:
            return
        from_s = 0.0
        if self._known:
            from_s = max(0.0, self._clock() - self._start_unix_s + TAKE_OVER_S)
            since = f"from second {from_s:.0f}"
            for worker in sorted(self._known - present & self._last_heard):
                self._leader.note(f"Worker {worker} left: {len(present)} went on {since}.")
            self._tell_lost(present, f" Its share went to the {len(present)} others {since}.")
            for worker in sorted(present - self._known):
                came = "is back" if worker in self._heard_unix_s else "joined"
                self._leader.note(f"Worker {worker} {came}: {len(present)} share the load {since}.")
        if self._known - present:
            self._start_users_elsewhere()
        self._known = present
        self._share(present, from_s)

    def _start_users_elsewhere(self) -> None:
        """Those of a lost worker; Locust itself does so with ``--enable-rebalancing``, or a minute later."""
        runner = self._runner
        if runner.state == STATE_RUNNING and not runner.rebalancing_enabled():
            gevent.spawn(runner.start, runner.target_user_count, runner.spawn_rate)

    def _share(self, present: Collection[str], from_s: float) -> None:
        for index, worker in enumerate(sorted(present)):
            share = {"from_s": from_s, "index": index, "workers": len(present)}
            self._runner.send_message(SHARE, {"start_unix_s": self._start_unix_s, **share}, worker)

    def _tell_lost(self, present: Collection[str], what_then: str) -> None:
        for worker in sorted(self._known.difference(present, self._last_heard)):
            self._leader.doubt(f"Worker {worker} was lost: {self._what_is_missing(worker)}.{what_then}")
        if self._started and not present:
            if self._started <= self._last_heard:
                self._leader.stop("All workers were ended.", ExitCode.INTERRUPTED)
            else:
                self._leader.stop("No worker was left.", ExitCode.INVALID_MEASUREMENT)

    def _what_is_missing(self, worker: str) -> str:
        heard_unix_s = self._heard_unix_s.get(worker)
        if heard_unix_s is None:
            return "nothing of what it sent is counted"
        heard_s = max(0.0, heard_unix_s - self._start_unix_s)
        missing = f"what it sent after second {heard_s:.0f} is not counted"
        unsettled = credits_of(self._granted.get(worker, 0)) - self._spent(worker)
        return f"{missing}, and may have cost up to {unsettled:g} credits" if unsettled > 0 else missing

    def _on_ask_share(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        self._known.discard(msg.node_id)

    # Credits

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
            self._leader.stop(str(stop), ExitCode.GUARD)
        else:
            self._granted[worker] = self._granted.get(worker, 0) + reserved
            granted = wanted
        self._runner.send_message(CREDITS, {"granted": granted}, worker)

    def _spent(self, worker: str) -> float:
        health = self._leader.health_by_worker.get(worker)
        return health.spent_credits if health else 0.0

    def _settle(self, worker: str) -> None:
        if worker in self._granted:
            self._budget.settle(self._granted.pop(worker), self._spent(worker))

    # What workers say

    def _on_report(self, client_id: str, data: Mapping[str, Any], **_: object) -> None:
        if HEALTH not in data:
            return
        self._leader.health_by_worker[client_id] = Health.unpacked(data[HEALTH])
        self._heard_unix_s[client_id] = self._clock()
        self._compare_clocks(client_id, self._clock() - data[SENT_AT])
        if data[IS_LAST]:
            self._settle(client_id)
            self._last_heard.add(client_id)

    def _compare_clocks(self, worker: str, error_s: float) -> None:
        """Keep the least, as messages take some time too."""
        error_s = min(error_s, self._clock_error_s.get(worker, error_s), key=abs)
        self._clock_error_s[worker] = error_s

    def _on_stop(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        self._leader.stop(msg.data["reason"], ExitCode(msg.data["exit_code"]))
