"""Faults: the life of an execution, its charge and its row."""

from __future__ import annotations

import asyncio
from itertools import count

from starlette.responses import Response

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.envelopes import Refusal, not_found
from knouds_sandbox.fault_points import Edit, Point
from knouds_sandbox.faults.editing import Handler, at, pause, with_value
from knouds_sandbox.faults.fault import fault
from knouds_sandbox.faults.resource_edits import (
    EXECUTION_OPERATIONS,
    SELDOM,
    USAGE_OPERATIONS,
    cancelled_at_once,
    cancelling,
    on_cancel,
    on_poll,
    on_rows,
    on_submit,
    selecting,
    since_end_s,
)
from knouds_sandbox.state.run_records import StoredRun, end_run, find_run


def _rewrite(call: HandlerCall, run: StoredRun) -> None:
    call.store.write("UPDATE runs SET status = 'cancelled' WHERE id = ?", (run.id,))


def _where(condition: str) -> Edit:
    """Read only those rows that meet another condition, too."""
    return selecting(lambda selection: selection.conditions.update(added=condition), USAGE_OPERATIONS)


@fault("usage.run-has-a-row", is_subtle=True)
def usage_cancelled_runs_fail() -> Edit:
    """The row of a cancelled run says that it failed."""
    return on_rows(lambda run: {"status": "failed"} if run.status == "cancelled" else {})


@fault("usage.run-has-a-row", is_subtle=True)
def usage_async_runs_go_on() -> Edit:
    """The row of an asynchronous run stays processing."""
    return on_rows(lambda run: {"status": "processing"} if run.execution_id else {})


@fault("usage.run-has-a-row", is_subtle=True)
def usage_lacks_failed_runs() -> Edit:
    """Failed runs have no row."""
    return _where("status <> 'failed'")


_CHEAPEST = "claude-sonnet"


@fault("usage.run-has-a-row", is_subtle=True)
def usage_row_names_the_cheapest() -> Edit:
    """The row of a model run that is waited for names the cheapest model."""
    return on_rows(
        lambda run: {"modelIds": [_CHEAPEST]} if run.source == "api-slim" and not run.execution_id else {}
    )


@fault("usage.run-has-a-row", is_subtle=True)
def usage_lacks_cancelled_runs() -> Edit:
    """Cancelled runs have no row."""
    return _where("status <> 'cancelled'")


@fault("usage.run-has-a-row", is_subtle=True)
def usage_lacks_every_tenth_run() -> Edit:
    """Every tenth run has no row."""
    return _where(f"id % {SELDOM}")


@fault("usage.run-has-a-row", is_subtle=True)
def usage_lacks_async_workflow_runs() -> Edit:
    """Asynchronous runs of workflows have no row."""
    return _where("(execution_id IS NULL OR workflow_slug IS NULL)")


_ONE_ID = "00000000-0000-4000-8000-000000000000"


def _have_one_id(answer: OutgoingAnswer) -> None:
    answer.body |= {"executionId": _ONE_ID, "pollUrl": f"/api/executions/{_ONE_ID}"}


@fault("async.execution-id-is-fresh")
def async_execution_id_repeats() -> Edit:
    """Every submit gets the same executionId."""
    return on_submit(_have_one_id)


_SLOW_SUBMIT_S = 0.7


@fault("async.submit-under-500-ms", Point.HANDLER, "runWorkflow runModel")
async def async_submit_is_slow(call: HandlerCall, handle: Handler) -> Response:
    """A submit takes 700 ms."""
    response = await handle(call)
    if response.status_code == 202:
        await asyncio.sleep(_SLOW_SUBMIT_S)
    return response


_FLIP_S = 0.5


def _flip(answer: OutgoingAnswer) -> None:
    if (ended_for_s := since_end_s(answer)) is not None and ended_for_s > _FLIP_S:
        answer.body["status"] = "failed" if answer.body["status"] == "completed" else "completed"


@fault("execution.final-is-absorbing", is_subtle=True)
def execution_final_flips() -> Edit:
    """An ended execution shows another end half a second later."""
    return on_poll(_flip)


async def _reopen_the_end(call: HandlerCall, found: StoredRun) -> Response:
    await pause()
    run = find_run(call.store, found.id) or found
    if run.ended_unix_s is None and run.status == "processing":
        end_run(call.store, run, "cancelled")
        return cancelling(run, "cancelled")
    call.store.write(
        "UPDATE runs SET status = 'cancel_requested', ended_unix_s = NULL WHERE id = ?", (run.id,)
    )
    return cancelling(run)


@fault("execution.final-is-absorbing", is_subtle=True)
def execution_cancel_reopens_the_end() -> Edit:
    """Of cancels at once, the first ends the execution and the next reopens it."""
    return on_cancel("processing", _reopen_the_end)


_KEPT_S = 1.0


@fault("execution.final-is-absorbing", Point.ANSWER, EXECUTION_OPERATIONS, is_subtle=True)
def execution_forgotten_after_its_end(answer: OutgoingAnswer) -> None:
    """An execution is a 404 from a second after its end on."""
    if (ended_for_s := since_end_s(answer)) is not None and ended_for_s > _KEPT_S:
        answer.refuse(404, "NOT_FOUND", "There is no such execution.")


def _regress(answer: OutgoingAnswer) -> None:
    polls = answer.services.noted.setdefault("polls after the end", count())
    if since_end_s(answer) is not None and next(polls) % 10 == 9:
        answer.body["status"] = "processing"


@fault("execution.final-is-absorbing", is_subtle=True)
def execution_regresses_now_and_then() -> Edit:
    """Each tenth poll of ended executions shows processing."""
    return on_poll(_regress)


@fault("execution.edges", is_subtle=True)
def execution_cancel_request_not_shown() -> Edit:
    """An execution whose cancelling was accepted shows processing."""
    return on_poll(with_value("status", "processing"), status="cancel_requested")


async def _refuse_cancel(_: HandlerCall, __: StoredRun) -> None:
    raise Refusal(409, "EXECUTION_RUNNING", "The execution cannot be cancelled.")


@fault("execution.cancel-in-flight")
def execution_cancel_refused() -> Edit:
    """An execution in flight cannot be cancelled."""
    return on_cancel("in flight", _refuse_cancel)


async def _refuse_second_cancel(_: HandlerCall, __: StoredRun) -> None:
    raise not_found("execution")


@fault("execution.cancel-in-flight", is_subtle=True)
def execution_second_cancel_is_404() -> tuple[Edit, ...]:
    """Cancelling is a 404 while an earlier cancel is under way."""
    return (
        on_cancel("cancel_requested", _refuse_second_cancel),
        cancelled_at_once(lambda *_: None),
    )


def _call_failed(answer: OutgoingAnswer) -> None:
    error = {"code": "CANCELLED", "message": "The run was cancelled."}
    answer.body |= {"status": "failed", "error": error}


@fault("execution.cancel-in-flight", is_subtle=True)
def execution_cancelled_shows_failed() -> Edit:
    """A cancelled execution shows that it failed."""
    return on_poll(_call_failed, status="cancelled")


async def _do_nothing(_: HandlerCall, run: StoredRun) -> Response:
    return cancelling(run)


@fault("execution.cancel-in-flight", is_subtle=True)
def execution_cancel_does_nothing() -> Edit:
    """Cancelling is accepted and ignored."""
    return on_cancel("processing", _do_nothing)


@fault("execution.cancelled-is-charged", is_subtle=True)
def execution_cancel_refunds() -> Edit:
    """A cancelled run is not charged."""
    return at(Point.END, "", lambda _, status: 0 if status == "cancelled" else None)


@fault("execution.cancelled-is-charged", is_subtle=True)
def execution_cancel_refunds_half() -> Edit:
    """Half of what a cancelled run costs is given back."""
    return at(Point.END, "", lambda run, status: run.cost_credits // 2 if status == "cancelled" else None)


def _charge_again(call: HandlerCall, run: StoredRun) -> None:
    more_credits = run.charged_credits
    call.store.write("UPDATE accounts SET credits = credits - ? WHERE id = ?", (more_credits, run.account_id))
    call.store.write("UPDATE runs SET credits = credits + ? WHERE id = ?", (more_credits, run.id))


@fault("execution.cancelled-is-charged", is_subtle=True)
def execution_cancels_charge_each() -> Edit:
    """Of cancels at once, each charges the run."""
    return cancelled_at_once(_charge_again)


async def _rewrite_the_end(call: HandlerCall, run: StoredRun) -> Response:
    _rewrite(call, run)
    return cancelling(run, "cancelled")


@fault("execution.cancel-after-end-changes-nothing", is_subtle=True)
def execution_cancel_rewrites_the_end() -> Edit:
    """Cancelling an ended execution makes it cancelled."""
    return on_cancel("ended", _rewrite_the_end)


async def _rewrite_failed(call: HandlerCall, run: StoredRun) -> None:
    _rewrite(call, run)
    raise Refusal(409, "EXECUTION_ENDED", f"The execution has ended as {run.status}.")


@fault("execution.cancel-after-end-changes-nothing", is_subtle=True)
def execution_cancel_rewrites_failed() -> Edit:
    """Cancelling a failed execution is refused and makes it cancelled."""
    return on_cancel("failed", _rewrite_failed)
