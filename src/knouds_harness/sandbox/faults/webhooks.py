"""Faults: webhook deliveries."""

from __future__ import annotations

from knouds_harness.sandbox.faults.table import Subtle, Table

FAULTS: Table = {
    "webhook.payload-shape": {
        "webhook-lacks-request-id": "A delivery has no requestId.",
    },
    "webhook.event-fits-ending": {
        "webhook-event-always-completed": "Every event is execution.completed.",
    },
    "webhook.one-per-ended-execution": {
        "webhook-sent-twice": "Every delivery comes twice.",
        "webhook-sent-for-each-cancel": Subtle("Of cancels at once, each sends a delivery."),
    },
    "webhook.needs-receive-capability": {
        "webhook-without-capability": "A key without webhook:receive gets deliveries.",
    },
    "webhook.signature-header": {
        "webhook-signature-without-time": "The signature has no t.",
    },
    "webhook.signature-covers-raw-body": {
        "webhook-signs-other-spacing": "The signature covers the body with other spacing.",
    },
    "webhook.timestamp-is-fresh": {
        "webhook-timestamp-is-old": "t is an hour ago.",
    },
    "webhook.agrees-with-poll": {
        "webhook-says-completed-for-failed": "A failed execution is delivered as completed.",
    },
}
