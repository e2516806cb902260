"""Ends each accepted execution when its provider is done or cancelled.

Due times are in the store, so an engine that opens the file of a killed process continues its executions.
"""

import asyncio
import time
from dataclasses import dataclass

from knouds_sandbox.fault_points import ActiveEdits
from knouds_sandbox.legal.points import Choices
from knouds_sandbox.state.run_records import StoredRun, end_run, find_run, request_cancel, runs_in_flight
from knouds_sandbox.state.store import Store
from knouds_sandbox.webhooks import Deliverer, queue_deliveries


@dataclass(kw_only=True)
class Engine:
    """Ends executions by timers of the event loop, once it has started; one per sandbox.

    A provider takes a while to stop, before ``time_scale``; its result may come earlier.
    """

    store: Store
    deliverer: Deliverer
    time_scale: float
    edits: ActiveEdits
    choices: Choices
    _loop: asyncio.AbstractEventLoop | None = None

    def watch(self, run: StoredRun) -> None:
        self._end_at(run.due_unix_s, run.id)

    def cancel(self, run: StoredRun) -> None:
        at_unix_s = time.time() + float(self.choices["stop"]) * self.time_scale
        request_cancel(self.store, run, at_unix_s=at_unix_s)
        self._end_at(at_unix_s, run.id)

    def deliver(self, run: StoredRun, status: str) -> bool:
        """Queue the delivery of an ended run, in the caller's transaction; return False if none is wanted."""
        delivery_ids = queue_deliveries(self.store, run, status, edits=self.edits)
        for each in delivery_ids:
            self.deliverer.start(each)
        return bool(delivery_ids)

    def start(self) -> None:
        """Recover the runs of a killed process: executions continue, synchronous runs fail."""
        self._loop = asyncio.get_running_loop()
        for run in runs_in_flight(self.store):
            if run.execution_id is None:
                with self.store.transaction():
                    end_run(self.store, run, "failed", self.choices)
                continue
            self._end_at(run.due_unix_s, run.id)
            if run.cancel_unix_s is not None:
                self._end_at(run.cancel_unix_s, run.id)

    def stop(self) -> None:
        """End nothing more: the store is about to be closed."""
        self._loop = None

    def _end_at(self, at_unix_s: float, run_id: int) -> None:
        if self._loop is not None:
            self._loop.call_later(at_unix_s - time.time(), self._end_if_due, run_id, at_unix_s)

    def _end_if_due(self, run_id: int, now: float) -> None:
        """End a run that is in flight and due by then; the state may have been reset meanwhile."""
        if self._loop is None:
            return
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
            end_run(self.store, run, status, self.choices)
            self.deliver(run, status)
