"""The background engine: ends each accepted execution when its provider is done or cancelled.

Due times are in the store, so an engine that opens the file of a killed process continues its executions.
"""

import asyncio
import heapq
import time

from knouds_sandbox.fault_points import ActiveEdits, Point
from knouds_sandbox.legal.points import OWN, Choices
from knouds_sandbox.state.run_records import StoredRun, end_run, find_run, request_cancel, runs_in_flight
from knouds_sandbox.state.store import Store
from knouds_sandbox.webhooks import Deliverer, queue_delivery


class Engine:
    """Ends executions; one per sandbox.

    A provider takes a while to stop, before ``time_scale``; its result may come earlier.
    """

    def __init__(
        self,
        *,
        store: Store,
        deliverer: Deliverer,
        time_scale: float,
        edits: ActiveEdits,
        choices: Choices = OWN,
    ) -> None:
        """Set up the engine; it does nothing until ``serve`` runs."""
        self._store = store
        self._deliverer = deliverer
        self._time_scale = time_scale
        self._edits = edits
        self._choices = choices
        self._due: list[tuple[float, int]] = []
        self._woken = asyncio.Event()

    @property
    def _charges_failures(self) -> bool:
        return self._choices["failed"] == "charged"

    def watch(self, run: StoredRun) -> None:
        self._push(run.due_unix_s, run.id)

    def cancel(self, run: StoredRun) -> None:
        at_unix_s = time.time() + float(self._choices["stop"]) * self._time_scale
        request_cancel(self._store, run, at_unix_s=at_unix_s)
        self._push(at_unix_s, run.id)

    def deliver(self, run: StoredRun, status: str) -> bool:
        """Queue the delivery of an ended run, in the caller's transaction; return False if none is wanted."""
        is_queued = queue_delivery(self._store, run, status, edits=self._edits)
        if is_queued:
            self._deliverer.wake()
        return is_queued

    def forget(self) -> None:
        """Drop all executions and deliveries in flight, because the store is being emptied."""
        self._due.clear()
        self._deliverer.forget()

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
        for run in runs_in_flight(self._store):
            if run.execution_id is None:
                with self._store.transaction():
                    end_run(self._store, run, "failed", charges_failures=self._charges_failures)
                continue
            self._push(run.due_unix_s, run.id)
            if run.cancel_unix_s is not None:
                self._push(run.cancel_unix_s, run.id)

    def _end_if_due(self, run_id: int, now: float) -> None:
        run = find_run(self._store, run_id)
        if run is None or run.ended_unix_s is not None:
            return
        if run.cancel_unix_s is not None and run.cancel_unix_s <= min(now, run.due_unix_s):
            status = "cancelled"
        elif run.due_unix_s <= now:
            status = "failed" if run.is_failing else "completed"
        else:
            return
        with self._store.transaction():
            end_run(
                self._store,
                run,
                status,
                charged_credits=self._edits.changed(Point.END, "", run, status, value=None),
                charges_failures=self._charges_failures,
            )
            self.deliver(run, status)
