"""Faults: the statuses of an execution, its charge and its usage row."""

import asyncio
from functools import partial
from itertools import count

from starlette.responses import Response

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.bodies import Refusal, not_found
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point, fault, note_met
from knouds_sandbox.faults.editing import (
    SELDOM,
    USAGE_OPERATIONS,
    Handler,
    cancelled_at_once,
    cancelling,
    on_cancel,
    on_poll,
    on_rows,
    on_submit,
    pause,
    selecting,
    since_end_s,
    with_value,
)
from knouds_sandbox.state.run_records import StoredRun, end_run, find_run

_CHEAPEST = "claude-sonnet"


@fault("usage.run-has-a-row", is_subtle=True)
def usage_row_names_the_cheapest() -> Edit:
    """The row of a synchronous model run names the cheapest model."""
    return on_rows(
        lambda run: {"modelIds": [_CHEAPEST]} if run.source == "api-slim" and not run.execution_id else {}
    )


@fault("usage.run-has-a-row", is_subtle=True)
def usage_lacks_every_tenth_run() -> Edit:
    """Every tenth run has no row."""
    return selecting(lambda selection: selection.conditions.update(added=f"id % {SELDOM}"), USAGE_OPERATIONS)


_ONE_ID = "00000000-0000-4000-8000-000000000000"


@fault("async.execution-id-is-fresh", on_submit)
def async_execution_id_repeats(answer: OutgoingAnswer) -> None:
    """Every submit gets the same executionId."""
    answer.body |= {"executionId": _ONE_ID, "pollUrl": f"/api/executions/{_ONE_ID}"}


_SLOW_SUBMIT_S = 0.7


@fault("async.submit-under-500-ms", Point.HANDLER, "runWorkflow runModel")
async def async_submit_is_slow(call: HandlerCall, handle: Handler) -> Response:
    """A submit takes 700 ms."""
    response = await handle(call)
    if response.status_code == 202:
        note_met()
        await asyncio.sleep(_SLOW_SUBMIT_S)
    return response


_FLIP_S = 0.5


@fault("execution.final-is-absorbing", on_poll, is_subtle=True)
def execution_final_flips(answer: OutgoingAnswer) -> None:
    """An ended execution changes its final status after half a second."""
    if (ended_for_s := since_end_s(answer)) is not None and ended_for_s > _FLIP_S:
        answer.body["status"] = "failed" if answer.body["status"] == "completed" else "completed"


@fault("execution.final-is-absorbing", partial(on_cancel, "processing"), is_subtle=True)
async def execution_cancel_reopens_the_end(call: HandlerCall, found: StoredRun) -> Response:
    """The first of simultaneous cancels ends the execution, and the next reopens it."""
    await pause()
    run = find_run(call.store, found.id) or found
    if run.ended_unix_s is None and run.status == "processing":
        end_run(call.store, run, "cancelled")
        return cancelling(run, "cancelled")
    note_met()
    call.store.write(
        "UPDATE runs SET status = 'cancel_requested', ended_unix_s = NULL WHERE id = ?", (run.id,)
    )
    return cancelling(run)


@fault("execution.final-is-absorbing", on_poll, is_subtle=True)
def execution_regresses_now_and_then(answer: OutgoingAnswer) -> None:
    """Every tenth poll of ended executions shows processing."""
    polls = answer.services.noted.setdefault("polls after the end", count())
    if since_end_s(answer) is not None and next(polls) % 10 == 9:
        answer.body["status"] = "processing"


@fault("execution.edges", is_subtle=True)
def execution_cancel_request_not_shown() -> Edit:
    """An execution shows processing after its cancel was accepted."""
    return on_poll(with_value("status", "processing"), status="cancel_requested")


@fault("execution.cancel-in-flight", partial(on_cancel, "in flight"))
async def execution_cancel_refused(_: HandlerCall, __: StoredRun) -> None:
    """An execution in flight cannot be cancelled."""
    note_met()
    raise Refusal(409, "EXECUTION_RUNNING", "The execution cannot be cancelled.")


async def _refuse_second_cancel(_: HandlerCall, __: StoredRun) -> None:
    note_met()
    raise not_found("execution")


@fault("execution.cancel-in-flight", is_subtle=True)
def execution_second_cancel_is_404() -> tuple[Edit, ...]:
    """A cancel gets a 404 while an earlier cancel is in progress."""
    return (on_cancel("cancel_requested", _refuse_second_cancel), cancelled_at_once(lambda *_: None))


@fault("execution.cancel-in-flight", partial(on_cancel, "processing"), is_subtle=True)
async def execution_cancel_does_nothing(_: HandlerCall, run: StoredRun) -> Response:
    """Cancelling is accepted and ignored."""
    note_met()
    return cancelling(run)


@fault("execution.cancelled-is-charged", is_subtle=True)
def execution_cancel_refunds() -> Edit:
    """The row of a cancelled run says that it cost nothing."""
    return on_rows(lambda run: {"creditsCost": 0} if run.status == "cancelled" else {})


@fault("execution.cancelled-is-charged", cancelled_at_once, is_subtle=True)
def execution_cancels_charge_each(call: HandlerCall, run: StoredRun) -> None:
    """Each of simultaneous cancels charges the run."""
    note_met()
    more_credits = run.charged_credits
    call.store.write("UPDATE accounts SET credits = credits - ? WHERE id = ?", (more_credits, run.account_id))
    call.store.write("UPDATE runs SET credits = credits + ? WHERE id = ?", (more_credits, run.id))


@fault("execution.cancel-after-end-changes-nothing", partial(on_cancel, "ended"), is_subtle=True)
async def execution_cancel_rewrites_the_end(call: HandlerCall, run: StoredRun) -> Response:
    """Cancelling an ended execution changes its status to cancelled."""
    note_met()
    call.store.write("UPDATE runs SET status = 'cancelled' WHERE id = ?", (run.id,))
    return cancelling(run, "cancelled")
