"""Ends each accepted execution when its provider is done or cancelled, and delivers its end to a webhook.

Due times are in the store, so an engine that opens the file of a killed process continues its executions. A
delivery is one signed POST, retried until the receiver accepts it. It is stored in the transaction that ends
the execution, so none is lost. After a crash it may be sent twice, so receivers have to deduplicate.
Source: docs, async executions and webhooks. The schedule of retries is assumed.
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from knouds_sandbox.access.keys import meets
from knouds_sandbox.access.network import ReceiverRefused, ReceiverRules
from knouds_sandbox.bodies import as_json
from knouds_sandbox.fault_points import ActiveEdits, Point
from knouds_sandbox.legal.points import Choices
from knouds_sandbox.state.run_records import StoredRun, end_run, find_run, request_cancel, runs_in_flight
from knouds_sandbox.state.store import Store

RETRY_AFTER_S = {"slow": (1, 4, 15, 60, 240), "quick": (0.5, 0.5, 1, 1, 2, 2), "two": (2, 10), "none": ()}
"""Pauses between attempts, before ``time_scale``; after the last attempt, a delivery is given up."""

_TIMEOUT_S = 5
_LOG = logging.getLogger(__name__)


def sign(body: bytes, *, secret: str, at_unix_s: int) -> str:
    """Return the value of X-Knouds-Signature: HMAC-SHA256 over ``<t>.<raw body>``."""
    digest = hmac.new(secret.encode(), f"{at_unix_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_unix_s},v1={digest}"


@dataclass(kw_only=True, slots=True)
class Signing:
    """What is signed, with which secret, when, and in which attempt (counted from 0)."""

    body: bytes
    secret: str
    at_unix_s: int
    attempt: int


def _payload(run: StoredRun, status: str) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "event": f"execution.{status}",
        "executionId": run.execution_id,
        "requestId": run.request_id,
        "userId": run.account_id,
        "workflowSlug": run.workflow_slug,
        "modelIds": list(run.model_ids),
        "status": status,
    }
    return payload if status == "cancelled" else payload | run.outcome


@dataclass(kw_only=True)
class Engine:
    """Ends executions by timers of the event loop, and delivers each in a task; one per sandbox.

    It does nothing before and after ``serving``. A provider takes a while to stop, before ``time_scale``; its
    result may come earlier.
    """

    store: Store
    time_scale: float
    edits: ActiveEdits
    choices: Choices
    receivers: ReceiverRules
    _client: httpx.AsyncClient | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Also end and deliver what a killed process has left; its synchronous runs fail."""
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            self._client = client
            for (delivery_id,) in self.store.rows("SELECT id FROM deliveries WHERE next_unix_s IS NOT NULL"):
                self._start(delivery_id)
            for run in runs_in_flight(self.store):
                if run.execution_id is None:
                    with self.store.transaction():
                        end_run(self.store, run, "failed", self.choices)
                    continue
                self.watch(run)
                if run.cancel_unix_s is not None:
                    self._end_at(run.cancel_unix_s, run.id)
            try:
                yield
            finally:
                self._client = None
                self.forget()

    def watch(self, run: StoredRun) -> None:
        self._end_at(run.due_unix_s, run.id)

    def cancel(self, run: StoredRun) -> None:
        at_unix_s = time.time() + float(self.choices["stop"]) * self.time_scale
        request_cancel(self.store, run, at_unix_s=at_unix_s)
        self._end_at(at_unix_s, run.id)

    def deliver(self, run: StoredRun, status: str) -> bool:
        """Deliver an ended run, in the caller's transaction; return False if its key wants no delivery."""
        select = "SELECT webhook_url, webhook_secret, capabilities FROM keys WHERE id = ?"
        url, secret, capabilities = self.store.row(select, run.key_id) or (None, None, "")
        may_receive = meets(capabilities.split(), "webhook:receive")
        if url is None or not self.edits.changed(Point.RECEIVER, "", value=may_receive):
            return False
        for payload in self.edits.changed(Point.DELIVERY, "", run, value=[_payload(run, status)], shown=repr):
            due = {"run_id": run.id, "url": url, "secret": secret, "next_unix_s": time.time()}
            self._start(self.store.insert("deliveries", body=as_json(payload), **due))
        return True

    def forget(self) -> None:
        """Deliver nothing of what has ended."""
        for task in self._tasks:
            task.cancel()

    def _end_at(self, at_unix_s: float, run_id: int) -> None:
        if self._client is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(at_unix_s - time.time(), self._end_if_due, run_id, at_unix_s)

    def _end_if_due(self, run_id: int, now: float) -> None:
        """End a run that is in flight and due by then; the state may have been reset meanwhile."""
        if self._client is None:
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

    def _start(self, delivery_id: int) -> None:
        if self._client is not None:
            task = asyncio.create_task(self._deliver(self._client, delivery_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, client: httpx.AsyncClient, delivery_id: int) -> None:
        select = "SELECT url, secret, body, attempts, next_unix_s FROM deliveries WHERE id = ?"
        while True:
            url, secret, body, attempts, next_unix_s = self.store.row(select, delivery_id)
            if next_unix_s is None:
                return
            await asyncio.sleep(next_unix_s - time.time())
            signing = Signing(body=body, secret=secret, at_unix_s=int(time.time()), attempt=attempts)
            answer = await self._send(client, httpx.URL(url), body, self._signature(signing))
            _LOG.info("delivery %d, attempt %d: %s", delivery_id, attempts + 1, answer)
            pauses_s = RETRY_AFTER_S[self.choices["retries"]]
            is_last = answer.startswith("2") or attempts >= len(pauses_s)
            self.store.write(
                "UPDATE deliveries SET attempts = attempts + 1, next_unix_s = ? WHERE id = ?",
                (None if is_last else time.time() + pauses_s[attempts] * self.time_scale, delivery_id),
            )

    def _signature(self, signing: Signing) -> str:
        for edit in self.edits.at(Point.SIGNING, "", lambda: replace(signing)):
            edit(signing)
        signature = sign(signing.body, secret=signing.secret, at_unix_s=signing.at_unix_s)
        return self.edits.changed(Point.SIGNATURE, "", value=signature)

    async def _send(self, client: httpx.AsyncClient, url: httpx.URL, body: bytes, signature: str) -> str:
        """Post to the first reachable address of the receiver; return the status, or why there is none."""
        extensions = {"sni_hostname": url.raw_host.decode("ascii")}
        headers = {"Content-Type": "application/json", "X-Knouds-Signature": signature}
        headers["Host"] = url.netloc.decode("ascii")
        if url.scheme == "https":  # connections are pooled by address, which names can share
            headers["Connection"] = "close"
        try:
            for address in await self.receivers.addresses(str(url)):
                with contextlib.suppress(httpx.ConnectError):
                    there = url.copy_with(host=address)
                    request = client.build_request(
                        "POST", there, content=body, headers=headers, extensions=extensions
                    )
                    return str((await client.send(request)).status_code)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ReceiverRefused) as problem:
            return f"{type(problem).__name__}: {problem}"
        return "not reached"
