"""Faults: asynchronous runs, from submit to after the end."""

from __future__ import annotations

from knouds_harness.sandbox.faults.table import Subtle, Table

FAULTS: Table = {
    "async.submit-shape": {
        "async-lacks-marker": "A submit has no _async.",
        "async-lacks-request-id": "A submit has no requestId.",
    },
    "async.submit-is-processing": {
        "async-status-is-queued": "A submitted execution is queued.",
    },
    "async.execution-id-is-uuid": {
        "async-execution-id-is-short": "executionId is eight characters.",
    },
    "async.execution-id-is-fresh": {
        "async-execution-id-repeats": "Every submit gets the same executionId.",
    },
    "async.workflow-submit-names-slug": {
        "async-lacks-workflow-slug": "A workflow's submit has no workflowSlug.",
    },
    "async.poll-url-leads-to-execution": {
        "async-poll-url-elsewhere": "pollUrl leads to /api/runs.",
        "async-poll-url-of-the-one-before": Subtle("pollUrl leads to the account's execution before."),
    },
    "async.webhook-delivery-shape": {
        "async-webhook-configured-as-text": "configured is a text.",
        "async-webhook-lacks-configured": "webhookDelivery is empty.",
    },
    "async.submit-under-500-ms": {
        "async-submit-is-slow": "A submit takes 700 ms.",
    },
    "execution.poll-shape": {
        "execution-names-the-latest": Subtle("A poll names the latest execution, whichever was asked for."),
        "execution-lacks-id": "A poll has no executionId.",
    },
    "execution.status-closed": {
        "execution-status-is-done": "A completed execution is done.",
    },
    "execution.completed-has-result": {
        "execution-lacks-result": "A completed execution has no result.",
        "execution-result-comes-late": Subtle("A completed execution has no result for its first 300 ms."),
    },
    "execution.failed-has-error": {
        "execution-error-as-text": "A failed execution's error is a text.",
        "execution-error-lacks-code": "A failed execution's error has no code.",
        "execution-failed-shows-completed": Subtle("A failed execution is shown as completed."),
    },
    "execution.unknown-is-404": {
        "execution-unknown-is-400": "An unknown execution is a 400.",
    },
    "execution.foreign-is-404": {
        "execution-shown-to-strangers": "Anyone may poll and cancel an execution.",
        "execution-shown-to-strangers-when-ended": Subtle("Anyone may poll an execution that has ended."),
        "execution-cancelled-by-strangers": Subtle("Anyone may cancel an execution."),
        "execution-foreign-cancel-happens": Subtle(
            "A refused cancel of someone else's execution cancels it."
        ),
    },
    "execution.final-is-absorbing": {
        "execution-final-flips": Subtle("An ended execution shows another end half a second later."),
        "execution-cancel-reopens-the-end": Subtle(
            "Of cancels at once, the first ends the execution and the next reopens it."
        ),
        "execution-forgotten-after-its-end": Subtle("An execution is a 404 from a second after its end on."),
        "execution-regresses-now-and-then": Subtle("Each tenth poll of ended executions shows processing."),
    },
    "execution.edges": {
        "execution-cancel-request-not-shown": Subtle(
            "An execution whose cancelling was accepted shows processing."
        ),
    },
    "execution.cancel-in-flight": {
        "execution-cancel-refused": "An execution in flight cannot be cancelled.",
        "execution-second-cancel-is-404": Subtle("Cancelling is a 404 while an earlier cancel is under way."),
        "execution-cancelled-shows-failed": Subtle("A cancelled execution shows that it failed."),
        "execution-cancel-does-nothing": Subtle("Cancelling is accepted and ignored."),
    },
    "execution.cancelled-is-charged": {
        "execution-cancel-refunds": Subtle("A cancelled run is not charged."),
        "execution-cancel-refunds-half": Subtle("Half of what a cancelled run costs is given back."),
        "execution-cancels-charge-each": Subtle("Of cancels at once, each charges the run."),
    },
    "execution.cancel-after-end-changes-nothing": {
        "execution-cancel-rewrites-the-end": Subtle("Cancelling an ended execution makes it cancelled."),
        "execution-cancel-rewrites-failed": Subtle(
            "Cancelling a failed execution is refused and makes it cancelled."
        ),
    },
}
