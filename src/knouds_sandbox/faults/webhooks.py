"""Faults: webhook deliveries and their signatures."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from starlette.responses import Response

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.engine import Signing
from knouds_sandbox.fault_points import Edit, Point, fault, note_met
from knouds_sandbox.faults.editing import RUNS, Handler, at, cancelled_at_once, on_poll
from knouds_sandbox.state.accounts import find_key_by_name
from knouds_sandbox.state.run_records import StoredRun

Payload: TypeAlias = dict[str, Any]


def _on_delivery(change: Callable[[StoredRun, Payload], object], *, status: str | None = None) -> Edit:
    """Change the payload of each delivery; with ``status``, only of executions with this status."""

    def apply(run: StoredRun, payloads: list[Payload]) -> list[Payload]:
        for payload in payloads:
            if status in {None, payload["status"]}:
                change(run, payload)
        return payloads

    return at(Point.DELIVERY, "", apply)


def _with(members: Payload, *, status: str | None = None) -> Edit:
    return _on_delivery(lambda _, payload: payload.update(members), status=status)


@fault("webhook.payload-shape", _on_delivery(lambda _, payload: payload.pop("requestId")))
def webhook_lacks_request_id() -> None:
    """A delivery has no requestId."""


@fault("webhook.payload-shape", is_subtle=True)
def webhook_names_the_key() -> Edit:
    """The userId of a delivery is the id of the key."""
    return _on_delivery(lambda run, payload: payload.update(userId=f"key_{run.key_id}"))


@fault("webhook.event-fits-ending", _with({"event": "execution.failed"}, status="cancelled"), is_subtle=True)
def webhook_cancelled_is_failed() -> None:
    """The event of a cancelled execution is execution.failed."""


@fault("webhook.one-per-ended-execution", Point.DELIVERY)
def webhook_sent_twice(_: StoredRun, payloads: list[Payload]) -> list[Payload]:
    """Every delivery is sent twice."""
    return payloads * 2


@fault("webhook.one-per-ended-execution", is_subtle=True)
def webhook_sent_for_each_cancel() -> Edit:
    """Each of simultaneous cancels sends a delivery."""

    def deliver(call: HandlerCall, run: StoredRun) -> None:
        if call.services.engine.deliver(run, "cancelled"):
            note_met()

    return cancelled_at_once(deliver)


@fault("webhook.needs-receive-capability", at(Point.RECEIVER, "", lambda _: True))
def webhook_without_capability() -> None:
    """A key without webhook:receive gets deliveries."""


@fault("webhook.signature-header", at(Point.SIGNATURE, "", lambda signature: signature.partition(",")[2]))
def webhook_signature_without_time() -> None:
    """The signature has no time."""


@fault("webhook.signature-covers-raw-body", Point.SIGNING, is_subtle=True)
def webhook_signs_other_spacing(signing: Signing) -> None:
    """The signature covers the body with different whitespace."""
    signing.body = json.dumps(json.loads(signing.body)).encode()


@fault("webhook.signature-covers-raw-body", Point.SIGNING, is_subtle=True)
def webhook_retry_signs_nothing(signing: Signing) -> None:
    """The signature of a retry covers an empty body."""
    if signing.attempt:
        signing.body = b""


@fault("webhook.signature-covers-raw-body", is_subtle=True)
def webhook_signed_for_another_key() -> Edit:
    """Every delivery is signed with the secret of the first delivery."""
    first: list[str] = []

    def sign_as_first(signing: Signing) -> None:
        if not first:
            first.append(signing.secret)
        signing.secret = first[0]

    return at(Point.SIGNING, "", sign_as_first)


@fault("webhook.timestamp-is-fresh", Point.SIGNING)
def webhook_timestamp_is_old(signing: Signing) -> None:
    """The time in the signature is an hour old."""
    signing.at_unix_s -= 3600


@fault("webhook.agrees-with-poll", is_subtle=True)
def webhook_says_completed_for_failed() -> Edit:
    """A failed execution is delivered as completed."""
    return _with({"event": "execution.completed", "status": "completed"}, status="failed")


@fault("webhook.agrees-with-poll", partial(on_poll, status="completed"), is_subtle=True)
def webhook_comes_before_the_end(answer: OutgoingAnswer) -> None:
    """The first poll of a completed execution shows processing, even after its delivery."""
    polled = answer.services.noted.setdefault("polled", set())
    if answer.path_params["id"] not in polled:
        polled.add(answer.path_params["id"])
        answer.body["status"] = "processing"
        answer.body.pop("result", None)


@fault("webhook.one-per-ended-execution", Point.HANDLER, RUNS, is_subtle=True)
async def webhook_sent_for_the_account(call: HandlerCall, handle: Handler) -> Response:
    """Runs of a key without a webhook are delivered to another key of its account."""
    name = call.store.row(
        "SELECT name FROM keys WHERE account_id = ? AND capabilities LIKE '%webhook:receive%'"
        " ORDER BY webhook_url IS NULL, id = ? LIMIT 1",
        call.account.id,
        call.key.id,
    )
    receiver = find_key_by_name(call.store, name[0]) if name and call.is_async else None
    if receiver and receiver.webhook_url:
        note_met()
    return await handle(replace(call, key=receiver or call.key))
