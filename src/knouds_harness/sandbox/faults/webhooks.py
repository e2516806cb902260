"""Faults: webhook deliveries."""

from __future__ import annotations

from knouds_harness.sandbox.faults.table import Subtle, Table

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
