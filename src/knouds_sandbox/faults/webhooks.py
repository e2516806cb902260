"""Faults: webhook deliveries."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any, TypeAlias

from knouds_sandbox.fault_points import Edit, Point
from knouds_sandbox.faults.editing import Edits, at
from knouds_sandbox.faults.executions import cancelled_at_once
from knouds_sandbox.faults.fault_types import Subtle, Table
from knouds_sandbox.state.run_records import StoredRun
from knouds_sandbox.webhooks import Signing

FAULTS: Table = {
    "webhook.payload-shape": {
        "webhook-lacks-request-id": "A delivery has no requestId.",
        "webhook-names-the-key": Subtle("The userId of a delivery is the id of the key."),
        "webhook-names-no-model": "The modelIds of a delivery are empty.",
    },
    "webhook.event-fits-ending": {
        "webhook-event-always-completed": "Every event is execution.completed.",
        "webhook-cancelled-is-failed": Subtle("The event of a cancelled execution is execution.failed."),
    },
    "webhook.one-per-ended-execution": {
        "webhook-sent-twice": "Every delivery comes twice.",
        "webhook-under-a-second-id": Subtle("Every end is delivered again under an id that nobody knows."),
        "webhook-sent-for-each-cancel": Subtle("Of cancels at once, each sends a delivery."),
        "webhook-cancelled-sent-twice": Subtle("The delivery of a cancelled execution comes twice."),
    },
    "webhook.needs-receive-capability": {
        "webhook-without-capability": "A key without webhook:receive gets deliveries.",
    },
    "webhook.signature-header": {
        "webhook-signature-without-time": "The signature has no t.",
    },
    "webhook.signature-covers-raw-body": {
        "webhook-signs-other-spacing": Subtle("The signature covers the body with other spacing."),
        "webhook-retry-signs-nothing": Subtle("The signature of a second attempt covers no body."),
    },
    "webhook.timestamp-is-fresh": {
        "webhook-timestamp-is-old": "t is an hour ago.",
        "webhook-timestamp-in-ms": Subtle("t is in milliseconds."),
    },
    "webhook.agrees-with-poll": {
        "webhook-says-completed-for-failed": Subtle("A failed execution is delivered as completed."),
        "webhook-result-is-empty": Subtle("The result of a delivery has no members."),
    },
}

Payload: TypeAlias = dict[str, Any]


def _on_delivery(change: Callable[[StoredRun, Payload], object], *, status: str | None = None) -> Edit:
    """Change the payload of each delivery, or of those for one status."""

    def apply(run: StoredRun, payloads: list[Payload]) -> list[Payload]:
        for payload in payloads:
            if status in {None, payload["status"]}:
                change(run, payload)
        return payloads

    return at(Point.DELIVERY, "", apply)


def _with(members: Payload, *, status: str | None = None) -> Edit:
    return _on_delivery(lambda _, payload: payload.update(members), status=status)


def _twice(_: StoredRun, payloads: list[Payload]) -> list[Payload]:
    return payloads * 2


def _cancelled_twice(_: StoredRun, payloads: list[Payload]) -> list[Payload]:
    return payloads * (2 if payloads[0]["status"] == "cancelled" else 1)


def _under_a_second_id(_: StoredRun, payloads: list[Payload]) -> list[Payload]:
    return [*payloads, *(payload | {"executionId": str(uuid.uuid4())} for payload in payloads)]


def _sign_other_spacing(signing: Signing) -> None:
    signing.body = json.dumps(json.loads(signing.body)).encode()


def _sign_nothing_again(signing: Signing) -> None:
    if signing.attempt:
        signing.body = b""


def _sign_an_hour_ago(signing: Signing) -> None:
    signing.at_unix_s -= 3600


def _sign_in_ms(signing: Signing) -> None:
    signing.at_unix_s *= 1000


EDITS: Edits = {
    "webhook-lacks-request-id": _on_delivery(lambda _, payload: payload.pop("requestId")),
    "webhook-names-the-key": _on_delivery(lambda run, payload: payload.update(userId=f"key_{run.key_id}")),
    "webhook-names-no-model": _with({"modelIds": []}),
    "webhook-event-always-completed": _with({"event": "execution.completed"}),
    "webhook-cancelled-is-failed": _with({"event": "execution.failed"}, status="cancelled"),
    "webhook-sent-twice": at(Point.DELIVERY, "", _twice),
    "webhook-under-a-second-id": at(Point.DELIVERY, "", _under_a_second_id),
    "webhook-sent-for-each-cancel": cancelled_at_once(
        lambda call, run: call.services.engine.deliver(run, "cancelled")
    ),
    "webhook-cancelled-sent-twice": at(Point.DELIVERY, "", _cancelled_twice),
    "webhook-without-capability": at(Point.RECEIVER, "", lambda: True),
    "webhook-signature-without-time": at(Point.SIGNATURE, "", lambda signature: signature.partition(",")[2]),
    "webhook-signs-other-spacing": at(Point.SIGNING, "", _sign_other_spacing),
    "webhook-retry-signs-nothing": at(Point.SIGNING, "", _sign_nothing_again),
    "webhook-timestamp-is-old": at(Point.SIGNING, "", _sign_an_hour_ago),
    "webhook-timestamp-in-ms": at(Point.SIGNING, "", _sign_in_ms),
    "webhook-says-completed-for-failed": _with(
        {"event": "execution.completed", "status": "completed"}, status="failed"
    ),
    "webhook-result-is-empty": _with({"result": {}}, status="completed"),
}
