"""Webhook deliveries, and the executions that they are about."""

from __future__ import annotations

from typing import Final

from knouds_harness.judging.checks import capabilities, schemas, webhooks
from knouds_harness.judging.checks import executions as checks
from knouds_harness.suite.outcomes.outcome import ProvokedOutcome
from knouds_harness.targets.needs.need import Need
from knouds_harness.targets.needs.runs import ASYNC_MODEL_RUN, CANCELLED_MODEL_RUN, FAILING_MODEL_RUN, once
from knouds_harness.targets.needs.webhooks import RECEIVING

_WEBHOOK_BY_ENDING: Final = {
    "completed": "receiveExecutionCompleted",
    "failed": "receiveExecutionFailed",
    "cancelled": "receiveExecutionCancelled",
}
_NEEDS: Final = (RECEIVING, ASYNC_MODEL_RUN)
_STORY: Final = "deliveries"
_RUNS: Final = once(RECEIVING, FAILING_MODEL_RUN, *[RECEIVING] * 3)
_OF_A_DELIVERY: Final = (
    webhooks.signature_header,
    webhooks.signature_fits,
    webhooks.fresh_timestamp,
    webhooks.payload,
)
_MORE: Final[dict[str, tuple[Need[object], ...]]] = {
    "completed": (),
    "failed": (FAILING_MODEL_RUN,),
    "cancelled": (CANCELLED_MODEL_RUN,),
}


def _of(ending: str) -> tuple[ProvokedOutcome, ...]:
    """The submit, the last poll and the delivery of one execution."""
    needs = (*_NEEDS, *_MORE[ending])
    return (
        ProvokedOutcome(
            operation="runModel",
            outcome=f"accepted-with-webhook-{ending}",
            says="A key with a webhook has a model run asynchronously.",
            statuses=(202, 200),
            needs=needs,
            provoke=lambda resources: resources.delivered(ending).submitted,
            checks=(capabilities.admitted, schemas.submitted, webhooks.announced),
            spends=_RUNS,
            story=_STORY,
        ),
        ProvokedOutcome(
            operation="getExecution",
            outcome=f"delivered-{ending}",
            says="An execution is polled of which the end is delivered.",
            statuses=(200,),
            needs=needs,
            provoke=lambda resources: resources.delivered(ending).last,
            checks=(capabilities.admitted, schemas.ended, checks.poll_url),
            spends=_RUNS,
            story=_STORY,
        ),
        ProvokedOutcome(
            operation=_WEBHOOK_BY_ENDING[ending],
            outcome="taken",
            says=f"An execution has ended as {ending}, and the receiver takes the delivery.",
            statuses=(204,),
            needs=needs,
            provoke=lambda resources: resources.delivery(ending),
            checks=(*_OF_A_DELIVERY, webhooks.event, webhooks.agrees),
            spends=_RUNS,
            story=_STORY,
        ),
    )


def _attempt(number: int, outcome: str, says: str, status: int) -> ProvokedOutcome:
    return ProvokedOutcome(
        operation="receiveExecutionCompleted",
        outcome=outcome,
        says=says,
        statuses=(status,),
        needs=_NEEDS,
        provoke=lambda resources: resources.attempt(number),
        checks=_OF_A_DELIVERY,
        spends=_RUNS,
        story=_STORY,
    )


OUTCOMES: Final = (
    *_of("completed"),
    *_of("failed"),
    *_of("cancelled"),
    _attempt(0, "refused", "The receiver refuses the delivery.", 503),
    _attempt(1, "retried", "The delivery that was refused comes again, and the receiver takes it.", 204),
)
