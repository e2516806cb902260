"""Webhooks: one signed POST per ended execution, retried until the receiver accepts it.

A delivery is stored in the transaction that ends the execution, so none is lost. After a crash it may be sent
twice, so receivers have to deduplicate. Source: docs, webhooks. The schedule of retries is assumed.
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import time
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from knouds_sandbox.access.keys import meets
from knouds_sandbox.access.network import ReceiverRefused, ReceiverRules
from knouds_sandbox.bodies import as_json
from knouds_sandbox.fault_points import ActiveEdits, Point
from knouds_sandbox.legal.points import Choices
from knouds_sandbox.state.run_records import StoredRun
from knouds_sandbox.state.store import Store

RETRY_AFTER_S = {"slow": (1, 4, 15, 60, 240), "quick": (0.5, 0.5, 1, 1, 2, 2), "two": (2, 10), "none": ()}
"""Pauses between attempts, before ``time_scale``; after the last attempt, a delivery is given up."""

_TIMEOUT_S = 5
_BATCH = 100
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


def queue_delivery(store: Store, run: StoredRun, status: str, *, edits: ActiveEdits) -> bool:
    """Store the delivery of an ended run in the caller's transaction; return False if none is wanted."""
    key = store.row("SELECT webhook_url, webhook_secret, capabilities FROM keys WHERE id = ?", run.key_id)
    if key is None or key[0] is None:
        return False
    if not edits.changed(Point.RECEIVER, "", value=meets(key[2].split(), "webhook:receive")):
        return False
    for payload in edits.changed(Point.DELIVERY, "", run, value=[_payload(run, status)], shown=repr):
        store.write(
            "INSERT INTO deliveries (run_id, url, secret, body, next_unix_s) VALUES (?, ?, ?, ?, ?)",
            (run.id, key[0], key[1], as_json(payload), time.time()),
        )
    return True


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
class Deliverer:
    """Sends queued deliveries; one per sandbox."""

    store: Store
    time_scale: float
    edits: ActiveEdits
    rules: ReceiverRules
    choices: Choices
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _task_by_delivery: dict[int, asyncio.Task[None]] = field(default_factory=dict)

    def wake(self) -> None:
        self._woken.set()

    def forget(self) -> None:
        """Stop all deliveries, because the store is being emptied."""
        for task in self._task_by_delivery.values():
            task.cancel()
        self._task_by_delivery.clear()

    async def serve(self) -> None:
        async with (
            httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client,
            asyncio.TaskGroup() as tasks,
        ):
            while True:
                self._woken.clear()
                now, next_unix_s = time.time(), None
                for delivery_id, at_unix_s in self._waiting():
                    if at_unix_s > now:
                        next_unix_s = at_unix_s
                        break
                    self._task_by_delivery[delivery_id] = tasks.create_task(
                        self._attempt(client, delivery_id)
                    )
                await self._sleep_until(next_unix_s)

    def _waiting(self) -> list[tuple[int, float]]:
        waiting = self.store.rows(
            "SELECT id, next_unix_s FROM deliveries WHERE next_unix_s IS NOT NULL"
            " ORDER BY next_unix_s LIMIT ?",
            _BATCH + len(self._task_by_delivery),
        )
        return [delivery for delivery in waiting if delivery[0] not in self._task_by_delivery][:_BATCH]

    async def _sleep_until(self, at_unix_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(
                self._woken.wait(), None if at_unix_s is None else max(0.0, at_unix_s - time.time())
            )

    async def _attempt(self, client: httpx.AsyncClient, delivery_id: int) -> None:
        url, secret, body, attempts = self.store.row(
            "SELECT url, secret, body, attempts FROM deliveries WHERE id = ?", delivery_id
        )
        signing = Signing(body=body, secret=secret, at_unix_s=int(time.time()), attempt=attempts)
        for edit in self.edits.at(Point.SIGNING, "", lambda: replace(signing)):
            edit(signing)
        signature = sign(signing.body, secret=signing.secret, at_unix_s=signing.at_unix_s)
        signature = self.edits.changed(Point.SIGNATURE, "", value=signature)
        headers = {"Content-Type": "application/json", "X-Knouds-Signature": signature}
        answer = await self._send(client, httpx.URL(url), body, headers)
        is_taken = answer.startswith("2")
        _LOG.info("delivery %d, attempt %d: %s", delivery_id, attempts + 1, answer)
        pauses_s = RETRY_AFTER_S[self.choices["retries"]]
        is_last = is_taken or attempts >= len(pauses_s)
        next_unix_s = None if is_last else time.time() + pauses_s[attempts] * self.time_scale
        self.store.write(
            "UPDATE deliveries SET attempts = attempts + 1, next_unix_s = ? WHERE id = ?",
            (next_unix_s, delivery_id),
        )
        self._task_by_delivery.pop(delivery_id, None)
        self._woken.set()

    async def _send(
        self, client: httpx.AsyncClient, url: httpx.URL, body: bytes, headers: dict[str, str]
    ) -> str:
        """Post to the first reachable address of the receiver; return the status, or why there is none."""
        extensions = {"sni_hostname": url.raw_host.decode("ascii")}
        headers = headers | {"Host": url.netloc.decode("ascii")}
        if url.scheme == "https":  # connections are pooled by address, which names can share
            headers["Connection"] = "close"
        try:
            for address in await self.rules.addresses(str(url)):
                with contextlib.suppress(httpx.ConnectError):
                    there = url.copy_with(host=address)
                    request = client.build_request(
                        "POST", there, content=body, headers=headers, extensions=extensions
                    )
                    return str((await client.send(request)).status_code)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ReceiverRefused) as problem:
            return f"{type(problem).__name__}: {problem}"
        return "not reached"
