"""Webhook deliveries, and the executions that they are about."""

from __future__ import annotations

from typing import Final

from knouds_harness.conformance.checks import capabilities, schemas, webhooks
from knouds_harness.conformance.checks import executions as checks
from knouds_harness.conformance.needs import (
    FAILING_POLLED_MODEL,
    FULL_KEY,
    MAY_CANCEL,
    MAY_RUN,
    POLLED_MODEL,
    REACHABLE_RECEIVER,
    RECEIVING_KEY,
    Need,
    once,
)
from knouds_harness.conformance.recipes import Recipe

_WEBHOOK_BY_ENDING: Final = {
    "completed": "receiveExecutionCompleted",
    "failed": "receiveExecutionFailed",
    "cancelled": "receiveExecutionCancelled",
}
_NEEDS: Final = (FULL_KEY, MAY_RUN, POLLED_MODEL, REACHABLE_RECEIVER, RECEIVING_KEY)
_STORY: Final = "deliveries"
_RUNS: Final = once(POLLED_MODEL, FAILING_POLLED_MODEL, *[POLLED_MODEL] * 3)
_OF_A_DELIVERY: Final = (
    webhooks.signature_header,
    webhooks.signature_fits,
    webhooks.fresh_timestamp,
    webhooks.payload,
)
_MORE: Final[dict[str, tuple[Need[object], ...]]] = {
    "completed": (),
    "failed": (FAILING_POLLED_MODEL,),
    "cancelled": (MAY_CANCEL,),
}


def _of(ending: str) -> tuple[Recipe, ...]:
    """The submit, the last poll and the delivery of one execution."""
    needs = (*_NEEDS, *_MORE[ending])
    return (
        Recipe(
            operation="runModel",
            outcome=f"accepted-with-webhook-{ending}",
            says="A key with a webhook has a model run asynchronously.",
            statuses=(202, 200),
            needs=needs,
            provoke=lambda stage: stage.delivered(ending).submitted,
            checks=(capabilities.admitted, schemas.submitted, webhooks.announced),
            spends=_RUNS,
            story=_STORY,
        ),
        Recipe(
            operation="getExecution",
            outcome=f"delivered-{ending}",
            says="An execution is polled of which the end is delivered.",
            statuses=(200,),
            needs=needs,
            provoke=lambda stage: stage.delivered(ending).last,
            checks=(capabilities.admitted, schemas.ended, checks.poll_url),
            spends=_RUNS,
            story=_STORY,
        ),
        Recipe(
            operation=_WEBHOOK_BY_ENDING[ending],
            outcome="taken",
            says=f"An execution has ended as {ending}, and the receiver takes the delivery.",
            statuses=(204,),
            needs=needs,
            provoke=lambda stage: stage.delivery(ending),
            checks=(*_OF_A_DELIVERY, webhooks.event, webhooks.agrees),
            spends=_RUNS,
            story=_STORY,
        ),
    )


def _attempt(number: int, outcome: str, says: str, status: int) -> Recipe:
    return Recipe(
        operation="receiveExecutionCompleted",
        outcome=outcome,
        says=says,
        statuses=(status,),
        needs=_NEEDS,
        provoke=lambda stage: stage.attempt(number),
        checks=_OF_A_DELIVERY,
        spends=_RUNS,
        story=_STORY,
    )


RECIPES: Final = (
    *_of("completed"),
    *_of("failed"),
    *_of("cancelled"),
    _attempt(0, "refused", "The receiver refuses the delivery.", 503),
    _attempt(1, "retried", "The delivery that was refused comes again, and the receiver takes it.", 204),
)
