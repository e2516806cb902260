"""Executions from submit to after the end; the recordings of one story are about one execution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from knouds_harness.conformance.checks import capabilities, refusals, schemas
from knouds_harness.conformance.checks import executions as checks
from knouds_harness.conformance.claims import Check, answer
from knouds_harness.conformance.needs import (
    FAILING_POLLED_MODEL,
    FULL_KEY,
    MAY_CANCEL,
    MAY_RUN,
    OWN_POLLED_WORKFLOW,
    POLLED_MODEL,
    STRANGER_KEY,
    Need,
    once,
)
from knouds_harness.conformance.probe import UNTESTED, Call
from knouds_harness.conformance.recipes import MAY_READ, Recipe
from knouds_harness.conformance.stage import MOST_TRIES, Stage
from knouds_harness.conformance.statuses import status_in, statuses_in
from knouds_harness.conformance.subjects import NO_SUCH_EXECUTION
from knouds_harness.conformance.trails import Trail, is_cancel
from knouds_harness.exchange.evidence import Exchange

_COMPLETED: Final = "completed-run"
_CANCELLED: Final = "cancelled-run"


def _step(
    story: str,
    operation: str,
    outcome: str,
    says: str,
    pick: Callable[[Stage], Exchange],
    *checks: Check[...],
    of: Need[Any],
    statuses: tuple[int, ...] = (200,),
    needs: tuple[Need[Any], ...] = (),
) -> Recipe:
    return Recipe(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=statuses,
        needs=(MAY_RUN, FULL_KEY, of, *needs),
        provoke=pick,
        checks=checks,
        spends=once(*[of] * (MOST_TRIES if story in (_COMPLETED, _CANCELLED) else 1)),
        story=story,
    )


def _poll(trail: Trail, status: str) -> Exchange:
    """The first poll that shows a status."""
    polls = (each for each in trail.exchanges[1:] if not is_cancel(each) and status_in(each) == status)
    found = next(polls, None)
    if found is None:
        shown = ", ".join(dict.fromkeys(statuses_in(trail.exchanges[1:]))) or answer(trail.last)
        pytest.skip(f"{UNTESTED}a poll that shows {status}; what came was {shown}")
    return found


def _on(execution_id: Callable[[Stage], str], operation: str, key: Need[Any]) -> Callable[[Stage], Exchange]:
    return lambda stage: stage.send(operation, key, Call(path_values={"id": execution_id(stage)}))


def _after_late_cancel(stage: Stage) -> Exchange:
    _ = stage.cancel_after_end
    return stage.executions.polled(stage.completed).last


_SUBMIT: Final = (capabilities.admitted, schemas.submitted)
_POLL: Final = (capabilities.admitted, schemas.ended, checks.poll_url, checks.edges)

RECIPES: Final = (
    _step(
        _COMPLETED,
        "runModel",
        "accepted",
        "A model is to run asynchronously.",
        lambda stage: stage.completed.submitted,
        *_SUBMIT,
        of=POLLED_MODEL,
        statuses=(202, 200),
    ),
    _step(
        _COMPLETED,
        "getExecution",
        "processing",
        "The execution is polled at once.",
        lambda stage: _poll(stage.completed, "processing"),
        *_POLL,
        of=POLLED_MODEL,
    ),
    _step(
        _COMPLETED,
        "getExecution",
        "completed",
        "The execution is polled until it has ended.",
        lambda stage: _poll(stage.completed, "completed"),
        *_POLL,
        of=POLLED_MODEL,
    ),
    _step(
        _COMPLETED,
        "cancelExecution",
        "ended",
        "The execution is cancelled after its end.",
        lambda stage: stage.cancel_after_end,
        checks.cancel_after_end,
        of=POLLED_MODEL,
        statuses=(409, 400, 200),
        needs=(MAY_CANCEL,),
    ),
    _step(
        _COMPLETED,
        "getExecution",
        "still-completed",
        "The execution is polled after a cancel that came too late.",
        _after_late_cancel,
        *_POLL,
        checks.end_stands,
        of=POLLED_MODEL,
        needs=(MAY_CANCEL,),
    ),
    _step(
        _COMPLETED,
        "getExecution",
        "foreign",
        "Someone else polls the execution.",
        _on(lambda stage: stage.id_of(stage.completed), "getExecution", STRANGER_KEY),
        refusals.FOREIGN_EXECUTION,
        of=POLLED_MODEL,
        statuses=(404,),
        needs=(STRANGER_KEY,),
    ),
    _step(
        _COMPLETED,
        "cancelExecution",
        "foreign",
        "Someone else cancels the execution.",
        _on(lambda stage: stage.id_of(stage.completed), "cancelExecution", STRANGER_KEY),
        refusals.FOREIGN_EXECUTION,
        of=POLLED_MODEL,
        statuses=(404,),
        needs=(STRANGER_KEY, MAY_CANCEL),
    ),
    _step(
        "completed-workflow-run",
        "runWorkflow",
        "accepted",
        "A workflow is to run asynchronously.",
        lambda stage: stage.completed_workflow.submitted,
        *_SUBMIT,
        checks.workflow_submit,
        of=OWN_POLLED_WORKFLOW,
        statuses=(202, 200),
    ),
    _step(
        "completed-workflow-run",
        "getExecution",
        "workflow-completed",
        "The execution of a workflow is polled until it has ended.",
        lambda stage: _poll(stage.completed_workflow, "completed"),
        *_POLL,
        of=OWN_POLLED_WORKFLOW,
    ),
    _step(
        "failed-run",
        "runModel",
        "accepted-to-fail",
        "A model that fails is to run asynchronously.",
        lambda stage: stage.failed.submitted,
        *_SUBMIT,
        of=FAILING_POLLED_MODEL,
        statuses=(202, 200),
    ),
    _step(
        "failed-run",
        "getExecution",
        "failed",
        "An execution that fails is polled until it has ended.",
        lambda stage: _poll(stage.failed, "failed"),
        *_POLL,
        of=FAILING_POLLED_MODEL,
    ),
    _step(
        _CANCELLED,
        "runModel",
        "accepted-to-cancel",
        "A model is to run asynchronously, and will be cancelled.",
        lambda stage: stage.cancelled.submitted,
        *_SUBMIT,
        of=POLLED_MODEL,
        statuses=(202, 200),
        needs=(MAY_CANCEL,),
    ),
    _step(
        _CANCELLED,
        "cancelExecution",
        "in-flight",
        "The execution is cancelled in flight.",
        lambda stage: stage.cancelled.exchanges[1],
        capabilities.admitted,
        checks.cancel_in_flight,
        of=POLLED_MODEL,
        statuses=(200, 202),
        needs=(MAY_CANCEL,),
    ),
    _step(
        _CANCELLED,
        "getExecution",
        "cancelled",
        "The cancelled execution is polled until it has ended.",
        lambda stage: _poll(stage.cancelled, "cancelled"),
        *_POLL,
        of=POLLED_MODEL,
        needs=(MAY_CANCEL,),
    ),
    Recipe(
        operation="getExecution",
        outcome="unknown",
        says="There is no execution of this id.",
        statuses=(404,),
        code="NOT_FOUND",
        needs=(MAY_READ, FULL_KEY),
        provoke=_on(lambda _: NO_SUCH_EXECUTION, "getExecution", FULL_KEY),
        checks=(refusals.UNKNOWN_EXECUTION,),
    ),
    Recipe(
        operation="getExecution",
        outcome="bad-id",
        says="The id is no uuid.",
        statuses=(404, 400),
        needs=(MAY_READ, FULL_KEY),
        provoke=_on(lambda _: "no-uuid", "getExecution", FULL_KEY),
    ),
    Recipe(
        operation="cancelExecution",
        outcome="unknown",
        says="There is no execution of this id.",
        statuses=(404,),
        code="NOT_FOUND",
        needs=(MAY_CANCEL, FULL_KEY),
        provoke=_on(lambda _: NO_SUCH_EXECUTION, "cancelExecution", FULL_KEY),
        checks=(refusals.UNKNOWN_EXECUTION,),
    ),
)
