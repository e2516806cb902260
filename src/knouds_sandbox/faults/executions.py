"""Faults: asynchronous runs, from submit to after the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from starlette.responses import Response

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.envelopes import Refusal, answer, not_found
from knouds_sandbox.fault_points import Edit, Point
from knouds_sandbox.faults.editing import (
    AnswerEdit,
    Edits,
    Handler,
    at,
    changed,
    on_answer,
    on_refusal,
    on_success,
    pause,
    where,
    with_value,
    without,
)
from knouds_sandbox.faults.fault_types import Subtle, Table
from knouds_sandbox.handlers.executions import own_execution
from knouds_sandbox.state.run_records import IN_FLIGHT, StoredRun, end_run, find_execution, find_run

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

_BOTH = "getExecution cancelExecution"
_SLOW_SUBMIT_S = 0.7
_FLIP_S = 0.5
_LATE_S = 0.3
_KEPT_S = 1.0
_ONE_ID = "00000000-0000-4000-8000-000000000000"


def _on_submit(edit: AnswerEdit) -> Edit:
    return on_success("runWorkflow runModel", where(lambda answer: answer.status == 202, edit))


def _on_poll(edit: AnswerEdit, *, status: str | None = None) -> Edit:
    """Edit polls, those of this status alone if one is given."""
    return on_success("getExecution", where(lambda answer: status in {None, answer.body["status"]}, edit))


def _run(answer: OutgoingAnswer) -> StoredRun | None:
    return find_execution(answer.store, answer.path_params["id"])


def _ended_for(answer: OutgoingAnswer) -> float | None:
    """Seconds since the end of the execution in the path; None before it."""
    run = _run(answer)
    return None if run is None or run.ended_unix_s is None else time.time() - run.ended_unix_s


def _have_one_id(answer: OutgoingAnswer) -> None:
    answer.body |= {"executionId": _ONE_ID, "pollUrl": f"/api/executions/{_ONE_ID}"}


def _poll_the_one_before(answer: OutgoingAnswer) -> None:
    row = answer.store.row(
        "SELECT old.execution_id FROM runs old, runs new WHERE new.execution_id = ?"
        " AND old.account_id = new.account_id AND old.id < new.id AND old.execution_id IS NOT NULL"
        " ORDER BY old.id DESC LIMIT 1",
        answer.body["executionId"],
    )
    answer.body["pollUrl"] = f"/api/executions/{row[0] if row else answer.body['executionId']}"


async def _submit_slowly(call: HandlerCall, handle: Handler) -> Response:
    response = await handle(call)
    if response.status_code == 202:
        await asyncio.sleep(_SLOW_SUBMIT_S)
    return response


def _name_the_latest(answer: OutgoingAnswer) -> None:
    (answer.body["executionId"],) = answer.store.row(
        "SELECT execution_id FROM runs WHERE execution_id IS NOT NULL ORDER BY id DESC LIMIT 1"
    )


def _hide_young_result(answer: OutgoingAnswer) -> None:
    if (ended_for_s := _ended_for(answer)) is not None and ended_for_s < _LATE_S:
        answer.body.pop("result", None)


def _call_completed(answer: OutgoingAnswer) -> None:
    del answer.body["error"]
    answer.body |= {"status": "completed", "result": {"text": "Nothing."}}


def _call_failed(answer: OutgoingAnswer) -> None:
    error = {"code": "CANCELLED", "message": "The run was cancelled."}
    answer.body |= {"status": "failed", "error": error}


def _flip(answer: OutgoingAnswer) -> None:
    if (ended_for_s := _ended_for(answer)) is not None and ended_for_s > _FLIP_S:
        answer.body["status"] = "failed" if answer.body["status"] == "completed" else "completed"


def _regress(answer: OutgoingAnswer) -> None:
    polls = answer.services.noted.setdefault("polls after the end", count())
    if _ended_for(answer) is not None and next(polls) % 10 == 9:
        answer.body["status"] = "processing"


def _forget(answer: OutgoingAnswer) -> None:
    if (ended_for_s := _ended_for(answer)) is not None and ended_for_s > _KEPT_S:
        answer.refuse(404, "NOT_FOUND", "There is no such execution.")


def _refuse_unknown(answer: OutgoingAnswer) -> None:
    if _run(answer) is None:
        answer.refuse(400, "INVALID_ID", "There is no such execution.")


async def _cancel_foreign(call: HandlerCall, handle: Handler) -> Response:
    run = find_execution(call.store, call.path_value("id"))
    if run is not None and run.account_id != call.account.id:
        call.services.engine.cancel(run)
    return await handle(call)


def _on_cancel(status: str, act: Callable[[HandlerCall, StoredRun], Awaitable[Response | None]]) -> Edit:
    """Do something before an execution of this status, ``ended`` or ``in flight``, is cancelled."""

    async def apply(call: HandlerCall, handle: Handler) -> Response:
        run = own_execution(call)
        if status in {run.status, "in flight" if run.status in IN_FLIGHT else "ended"}:
            return await act(call, run) or await handle(call)
        return await handle(call)

    return at(Point.HANDLER, "cancelExecution", apply)


def _cancelling(run: StoredRun, status: str = "cancel_requested") -> Response:
    return answer({"executionId": run.execution_id, "status": status})


async def _do_nothing(_: HandlerCall, run: StoredRun) -> Response:
    return _cancelling(run)


async def _refuse_cancel(_: HandlerCall, __: StoredRun) -> None:
    raise Refusal(409, "EXECUTION_RUNNING", "The execution cannot be cancelled.")


async def _refuse_second_cancel(_: HandlerCall, __: StoredRun) -> None:
    raise not_found("execution")


async def _want_content_type(call: HandlerCall, _: StoredRun) -> None:
    if "content-type" not in call.request.headers:
        raise Refusal(400, "INVALID_BODY", "Send a Content-Type.")


def _rewrite(call: HandlerCall, run: StoredRun) -> None:
    call.store.write("UPDATE runs SET status = 'cancelled' WHERE id = ?", (run.id,))


async def _rewrite_the_end(call: HandlerCall, run: StoredRun) -> Response:
    _rewrite(call, run)
    return _cancelling(run, "cancelled")


async def _rewrite_failed(call: HandlerCall, run: StoredRun) -> None:
    _rewrite(call, run)
    raise Refusal(409, "EXECUTION_ENDED", f"The execution has ended as {run.status}.")


async def _reopen_the_end(call: HandlerCall, found: StoredRun) -> Response:
    await pause()
    run = find_run(call.store, found.id) or found
    if run.ended_unix_s is None and run.status == "processing":
        end_run(call.store, run, "cancelled")
        return _cancelling(run, "cancelled")
    call.store.write(
        "UPDATE runs SET status = 'cancel_requested', ended_unix_s = NULL WHERE id = ?", (run.id,)
    )
    return _cancelling(run)


def cancelled_at_once(act: Callable[[HandlerCall, StoredRun], Any]) -> Edit:
    """Do something for each of several cancels at once but the first."""

    async def cancel(call: HandlerCall, found: StoredRun) -> Response:
        await pause()
        run = find_run(call.store, found.id) or found
        if run.status == "cancel_requested":
            act(call, found)
        call.services.engine.cancel(run)
        return _cancelling(run)

    return _on_cancel("processing", cancel)


def _charge_again(call: HandlerCall, run: StoredRun) -> None:
    more_credits = run.charged_credits
    call.store.write("UPDATE accounts SET credits = credits - ? WHERE id = ?", (more_credits, run.account_id))
    call.store.write("UPDATE runs SET credits = credits + ? WHERE id = ?", (more_credits, run.id))


EDITS: Edits = {
    "async-lacks-marker": _on_submit(without("_async")),
    "async-lacks-request-id": _on_submit(without("requestId")),
    "async-status-is-queued": _on_submit(with_value("status", "queued")),
    "async-execution-id-is-short": _on_submit(changed("executionId", lambda execution_id: execution_id[:8])),
    "async-execution-id-repeats": _on_submit(_have_one_id),
    "async-lacks-workflow-slug": _on_submit(without("workflowSlug")),
    "async-poll-url-elsewhere": _on_submit(changed("pollUrl", lambda url: url.replace("executions", "runs"))),
    "async-poll-url-of-the-one-before": _on_submit(_poll_the_one_before),
    "async-webhook-configured-as-text": _on_submit(
        changed("webhookDelivery", lambda told: {"configured": str(told["configured"]).lower()})
    ),
    "async-webhook-lacks-configured": _on_submit(with_value("webhookDelivery", {})),
    "async-submit-is-slow": at(Point.HANDLER, "runWorkflow runModel", _submit_slowly),
    "execution-names-the-latest": _on_poll(_name_the_latest),
    "execution-lacks-id": _on_poll(without("executionId")),
    "execution-status-is-done": _on_poll(with_value("status", "done"), status="completed"),
    "execution-lacks-result": _on_poll(without("result")),
    "execution-result-comes-late": _on_poll(_hide_young_result),
    "execution-error-as-text": _on_poll(changed("error", lambda error: error["message"])),
    "execution-error-lacks-code": _on_poll(without("error.code"), status="failed"),
    "execution-failed-shows-completed": _on_poll(_call_completed, status="failed"),
    "execution-unknown-is-400": on_refusal(_refuse_unknown, _BOTH, status=404),
    "execution-shown-to-strangers": at(Point.OWNERSHIP, _BOTH, lambda *_: True),
    "execution-shown-to-strangers-when-ended": at(
        Point.OWNERSHIP, _BOTH, lambda _, run: run.ended_unix_s is not None
    ),
    "execution-cancelled-by-strangers": at(Point.OWNERSHIP, "cancelExecution", lambda *_: True),
    "execution-foreign-cancel-happens": at(Point.HANDLER, "cancelExecution", _cancel_foreign),
    "execution-final-flips": _on_poll(_flip),
    "execution-cancel-reopens-the-end": _on_cancel("processing", _reopen_the_end),
    "execution-forgotten-after-its-end": on_answer(_BOTH, _forget),
    "execution-regresses-now-and-then": _on_poll(_regress),
    "execution-cancel-request-not-shown": _on_poll(
        with_value("status", "processing"), status="cancel_requested"
    ),
    "execution-cancel-refused": _on_cancel("in flight", _refuse_cancel),
    "execution-second-cancel-is-404": (
        _on_cancel("cancel_requested", _refuse_second_cancel),
        cancelled_at_once(lambda *_: None),
    ),
    "execution-cancelled-shows-failed": _on_poll(_call_failed, status="cancelled"),
    "execution-cancel-does-nothing": _on_cancel("processing", _do_nothing),
    "execution-cancel-refunds": at(Point.END, "", lambda _, status: 0 if status == "cancelled" else None),
    "execution-cancel-refunds-half": at(
        Point.END, "", lambda run, status: run.cost_credits // 2 if status == "cancelled" else None
    ),
    "execution-cancels-charge-each": cancelled_at_once(_charge_again),
    "execution-cancel-rewrites-the-end": _on_cancel("ended", _rewrite_the_end),
    "execution-cancel-rewrites-failed": _on_cancel("failed", _rewrite_failed),
    "execution-cancel-needs-content-type": _on_cancel("in flight", _want_content_type),
}
