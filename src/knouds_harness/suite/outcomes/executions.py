"""Executions from submit to after the end; the recordings of one story are about one execution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.execution_status import status_in, statuses_in
from knouds_harness.judging.checks import capabilities, schemas
from knouds_harness.judging.checks import executions as checks
from knouds_harness.judging.checks.envelopes import refusals
from knouds_harness.judging.claim import Check, answer
from knouds_harness.suite.outcomes.outcome import MAY_READ, ProvokedOutcome
from knouds_harness.suite.outcomes.resources import MOST_TRIES, OutcomeResources
from knouds_harness.suite.support.call import Call
from knouds_harness.suite.support.execution_traces import ExecutionTrace, is_cancel
from knouds_harness.suite.support.subjects import NO_SUCH_EXECUTION
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.keys import EXECUTION_CANCELLER, EXECUTION_READER
from knouds_harness.targets.needs.need import Need
from knouds_harness.targets.needs.runs import (
    ASYNC_MODEL_RUN,
    ASYNC_WORKFLOW_RUN,
    CANCELLED_MODEL_RUN,
    FAILING_MODEL_RUN,
    once,
)
from knouds_harness.targets.needs.strangers import and_stranger, stranger_of

_READER: Final = stranger_of(and_stranger(ASYNC_MODEL_RUN, "execution:read"))
_CANCELLER: Final = stranger_of(and_stranger(ASYNC_MODEL_RUN, "execution:cancel"))
_COMPLETED: Final = "completed-run"
_CANCELLED: Final = "cancelled-run"


def _step(
    story: str,
    operation: str,
    outcome: str,
    says: str,
    pick: Callable[[OutcomeResources], Exchange],
    *checks: Check[...],
    of: Need[Any],
    statuses: tuple[int, ...] = (200,),
    needs: tuple[Need[Any], ...] = (),
) -> ProvokedOutcome:
    return ProvokedOutcome(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=statuses,
        needs=(of, *needs),
        provoke=pick,
        checks=checks,
        spends=once(*[of] * (MOST_TRIES if story in (_COMPLETED, _CANCELLED) else 1)),
        story=story,
    )


def _poll(trace: ExecutionTrace, status: str) -> Exchange:
    """The first poll that shows a status."""
    polls = (each for each in trace.exchanges[1:] if not is_cancel(each) and status_in(each) == status)
    found = next(polls, None)
    if found is None:
        shown = ", ".join(dict.fromkeys(statuses_in(trace.exchanges[1:]))) or answer(trace.last)
        raise Untested(f"a poll that shows {status}; what came was {shown}")
    return found


def _on(
    execution_id: Callable[[OutcomeResources], str], operation: str, key: Need[Any]
) -> Callable[[OutcomeResources], Exchange]:
    return lambda resources: resources.send(operation, key, Call(path_values={"id": execution_id(resources)}))


def _after_late_cancel(resources: OutcomeResources) -> Exchange:
    _ = resources.cancel_after_end
    return resources.executions.polled(resources.completed).last


_SUBMIT: Final = (capabilities.admitted, schemas.submitted)
_POLL: Final = (capabilities.admitted, schemas.ended, checks.poll_url, checks.edges)

OUTCOMES: Final = (
    _step(
        _COMPLETED,
        "runModel",
        "accepted",
        "A model is to run asynchronously.",
        lambda resources: resources.completed.submitted,
        *_SUBMIT,
        of=ASYNC_MODEL_RUN,
        statuses=(202, 200),
    ),
    _step(
        _COMPLETED,
        "getExecution",
        "processing",
        "The execution is polled at once.",
        lambda resources: _poll(resources.completed, "processing"),
        *_POLL,
        of=ASYNC_MODEL_RUN,
    ),
    _step(
        _COMPLETED,
        "getExecution",
        "completed",
        "The execution is polled until it has ended.",
        lambda resources: _poll(resources.completed, "completed"),
        *_POLL,
        of=ASYNC_MODEL_RUN,
    ),
    _step(
        _COMPLETED,
        "cancelExecution",
        "ended",
        "The execution is cancelled after its end.",
        lambda resources: resources.cancel_after_end,
        checks.cancel_after_end,
        of=ASYNC_MODEL_RUN,
        statuses=(409, 400, 200),
        needs=(CANCELLED_MODEL_RUN,),
    ),
    _step(
        _COMPLETED,
        "getExecution",
        "still-completed",
        "The execution is polled after a cancel that came too late.",
        _after_late_cancel,
        *_POLL,
        checks.end_stands,
        of=ASYNC_MODEL_RUN,
        needs=(CANCELLED_MODEL_RUN,),
    ),
    _step(
        _COMPLETED,
        "getExecution",
        "foreign",
        "Someone else polls the execution.",
        _on(lambda resources: resources.id_of(resources.completed), "getExecution", _READER),
        refusals.FOREIGN_EXECUTION,
        of=ASYNC_MODEL_RUN,
        statuses=(404,),
        needs=(_READER,),
    ),
    _step(
        _COMPLETED,
        "cancelExecution",
        "foreign",
        "Someone else cancels the execution.",
        _on(lambda resources: resources.id_of(resources.completed), "cancelExecution", _CANCELLER),
        refusals.FOREIGN_EXECUTION,
        of=ASYNC_MODEL_RUN,
        statuses=(404,),
        needs=(_CANCELLER,),
    ),
    _step(
        "completed-workflow-run",
        "runWorkflow",
        "accepted",
        "A workflow is to run asynchronously.",
        lambda resources: resources.completed_workflow.submitted,
        *_SUBMIT,
        checks.workflow_submit,
        of=ASYNC_WORKFLOW_RUN,
        statuses=(202, 200),
    ),
    _step(
        "completed-workflow-run",
        "getExecution",
        "workflow-completed",
        "The execution of a workflow is polled until it has ended.",
        lambda resources: _poll(resources.completed_workflow, "completed"),
        *_POLL,
        of=ASYNC_WORKFLOW_RUN,
    ),
    _step(
        "failed-run",
        "runModel",
        "accepted-to-fail",
        "A model that fails is to run asynchronously.",
        lambda resources: resources.failed.submitted,
        *_SUBMIT,
        of=FAILING_MODEL_RUN,
        statuses=(202, 200),
    ),
    _step(
        "failed-run",
        "getExecution",
        "failed",
        "An execution that fails is polled until it has ended.",
        lambda resources: _poll(resources.failed, "failed"),
        *_POLL,
        of=FAILING_MODEL_RUN,
    ),
    _step(
        _CANCELLED,
        "runModel",
        "accepted-to-cancel",
        "A model is to run asynchronously, and will be cancelled.",
        lambda resources: resources.cancelled.submitted,
        *_SUBMIT,
        of=ASYNC_MODEL_RUN,
        statuses=(202, 200),
        needs=(CANCELLED_MODEL_RUN,),
    ),
    _step(
        _CANCELLED,
        "cancelExecution",
        "in-flight",
        "The execution is cancelled in flight.",
        lambda resources: resources.cancelled.exchanges[1],
        capabilities.admitted,
        checks.cancel_in_flight,
        of=ASYNC_MODEL_RUN,
        statuses=(200, 202),
        needs=(CANCELLED_MODEL_RUN,),
    ),
    _step(
        _CANCELLED,
        "getExecution",
        "cancelled",
        "The cancelled execution is polled until it has ended.",
        lambda resources: _poll(resources.cancelled, "cancelled"),
        *_POLL,
        of=ASYNC_MODEL_RUN,
        needs=(CANCELLED_MODEL_RUN,),
    ),
    ProvokedOutcome(
        operation="getExecution",
        outcome="unknown",
        says="There is no execution of this id.",
        statuses=(404,),
        code="NOT_FOUND",
        needs=(MAY_READ, EXECUTION_READER),
        provoke=_on(lambda _: NO_SUCH_EXECUTION, "getExecution", EXECUTION_READER),
        checks=(refusals.UNKNOWN_EXECUTION,),
    ),
    ProvokedOutcome(
        operation="getExecution",
        outcome="bad-id",
        says="The id is no uuid.",
        statuses=(404, 400),
        needs=(MAY_READ, EXECUTION_READER),
        provoke=_on(lambda _: "no-uuid", "getExecution", EXECUTION_READER),
    ),
    ProvokedOutcome(
        operation="cancelExecution",
        outcome="unknown",
        says="There is no execution of this id.",
        statuses=(404,),
        code="NOT_FOUND",
        needs=(EXECUTION_CANCELLER,),
        provoke=_on(lambda _: NO_SUCH_EXECUTION, "cancelExecution", EXECUTION_CANCELLER),
        checks=(refusals.UNKNOWN_EXECUTION,),
    ),
)
