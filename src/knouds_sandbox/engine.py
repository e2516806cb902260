"""The background engine: ends each accepted execution when its provider is done or cancelled.

Due times are in the store, so an engine that opens the file of a killed process continues its executions.
"""

import asyncio
import heapq
import time
from dataclasses import dataclass, field

from knouds_sandbox.fault_points import ActiveEdits, Point
from knouds_sandbox.legal.points import Choices
from knouds_sandbox.state.run_records import StoredRun, end_run, find_run, request_cancel, runs_in_flight
from knouds_sandbox.state.store import Store
from knouds_sandbox.webhooks import Deliverer, queue_delivery


@dataclass(kw_only=True)
class Engine:
    """Ends executions while ``serve`` runs; one per sandbox.

    A provider takes a while to stop, before ``time_scale``; its result may come earlier.
    """

    store: Store
    deliverer: Deliverer
    time_scale: float
    edits: ActiveEdits
    choices: Choices
    _due: list[tuple[float, int]] = field(default_factory=list)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def _charges_failures(self) -> bool:
        return self.choices["failed"] == "charged"

    def watch(self, run: StoredRun) -> None:
        self._push(run.due_unix_s, run.id)

    def cancel(self, run: StoredRun) -> None:
        at_unix_s = time.time() + float(self.choices["stop"]) * self.time_scale
        request_cancel(self.store, run, at_unix_s=at_unix_s)
        self._push(at_unix_s, run.id)

    def deliver(self, run: StoredRun, status: str) -> bool:
        """Queue the delivery of an ended run, in the caller's transaction; return False if none is wanted."""
        is_queued = queue_delivery(self.store, run, status, edits=self.edits)
        if is_queued:
            self.deliverer.wake()
        return is_queued

    def forget(self) -> None:
        """Drop all executions and deliveries in flight, because the store is being emptied."""
        self._due.clear()
        self.deliverer.forget()

    async def serve(self) -> None:
        self._recover()
        while True:
            now = time.time()
            while self._due and self._due[0][0] <= now:
                self._end_if_due(heapq.heappop(self._due)[1], now)
            self._woken.clear()
            wait_s = max(0.0, self._due[0][0] - time.time()) if self._due else None
            try:
                await asyncio.wait_for(self._woken.wait(), wait_s)
            except TimeoutError:
                continue

    def _push(self, at_unix_s: float, run_id: int) -> None:
        heapq.heappush(self._due, (at_unix_s, run_id))
        if self._due[0][1] == run_id:
            self._woken.set()

    def _recover(self) -> None:
        """Recover the runs of a killed process: executions continue, synchronous runs fail."""
        for run in runs_in_flight(self.store):
            if run.execution_id is None:
                with self.store.transaction():
                    end_run(self.store, run, "failed", charges_failures=self._charges_failures)
                continue
            self._push(run.due_unix_s, run.id)
            if run.cancel_unix_s is not None:
                self._push(run.cancel_unix_s, run.id)

    def _end_if_due(self, run_id: int, now: float) -> None:
        run = find_run(self.store, run_id)
        if run is None or run.ended_unix_s is not None:
            return
        if run.cancel_unix_s is not None and run.cancel_unix_s <= min(now, run.due_unix_s):
            status = "cancelled"
        elif run.due_unix_s <= now:
            status = "failed" if run.is_failing else "completed"
        else:
            return
        with self.store.transaction():
            end_run(
                self.store,
                run,
                status,
                charged_credits=self.edits.changed(Point.END, "", run, status, value=None),
                charges_failures=self._charges_failures,
            )
            self.deliver(run, status)
