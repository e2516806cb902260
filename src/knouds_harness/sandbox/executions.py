"""Handlers of ``/api/executions``: poll and cancel.

Source: docs, async executions; that a cancelled run is charged is from the overview. Cancelling what has
ended is a 409 here (docs/decisions/sandbox-open-points.md).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from knouds_harness.sandbox.calls import Call
from knouds_harness.sandbox.envelopes import Refusal, answer, not_found
from knouds_harness.sandbox.ledger import (
    IN_FLIGHT,
    Run,
    charge_again,
    end_run,
    find_execution,
    find_run,
    reopen,
)
from knouds_harness.sandbox.races import pause
from knouds_harness.sandbox.workflow_records import iso

_FLIP_S = 0.5
_LATE_S = 0.3
_KEPT_S = 1.0


async def get_execution(call: Call) -> Response:
    """GET /api/executions/:id."""
    run = own_execution(call)
    shown: dict[str, Any] = {
        "executionId": run.execution_id,
        "requestId": run.request_id,
        "status": run.status,
        "workflowSlug": run.workflow_slug,
        "modelIds": list(run.model_ids),
        "createdAt": iso(datetime.fromtimestamp(run.created_unix_s, UTC)),
    }
    if run.ended_unix_s is not None:
        shown["endedAt"] = iso(datetime.fromtimestamp(run.ended_unix_s, UTC))
        shown["cost"] = run.charged_credits
    if run.status in {"completed", "failed"}:
        shown |= run.outcome
    if call.faults:
        _break_poll(shown, run, call)
    return answer(shown)


def _break_poll(shown: dict[str, Any], run: Run, call: Call) -> None:
    if run.status == "completed" and "execution-status-is-done" in call.faults:
        shown["status"] = "done"
    if run.status == "completed" and "execution-lacks-result" in call.faults:
        del shown["result"]
    if run.status == "failed" and "execution-error-as-text" in call.faults:
        shown["error"] = shown["error"]["message"]
    if run.status == "failed" and "execution-error-lacks-code" in call.faults:
        shown["error"] = {"message": shown["error"]["message"]}
    if run.status == "failed" and "execution-failed-shows-completed" in call.faults:
        del shown["error"]
        shown |= {"status": "completed", "result": {"text": "Nothing."}}
    if run.ended_unix_s is not None:
        is_young = time.time() < run.ended_unix_s + _LATE_S
        if run.status == "completed" and is_young and "execution-result-comes-late" in call.faults:
            shown.pop("result", None)
        if (
            "execution-regresses-now-and-then" in call.faults
            and next(call.services.polls_after_end) % 10 == 9
        ):
            shown["status"] = "processing"
    if run.status == "cancelled" and "execution-cancelled-shows-failed" in call.faults:
        shown |= {"status": "failed", "error": {"code": "CANCELLED", "message": "The run was cancelled."}}
    if "execution-names-the-latest" in call.faults:
        (shown["executionId"],) = call.store.row(
            "SELECT execution_id FROM runs WHERE execution_id IS NOT NULL ORDER BY id DESC LIMIT 1"
        )
    if "execution-lacks-id" in call.faults:
        del shown["executionId"]
    if run.status == "cancel_requested" and "execution-cancel-request-not-shown" in call.faults:
        shown["status"] = "processing"
    if (
        run.ended_unix_s
        and time.time() > run.ended_unix_s + _FLIP_S
        and "execution-final-flips" in call.faults
    ):
        shown["status"] = "failed" if run.status == "completed" else "completed"


async def cancel_execution(call: Call) -> Response:
    """POST /api/executions/:id/cancel."""
    run = own_execution(call)
    if run.status not in IN_FLIGHT:
        if "execution-cancel-rewrites-the-end" in call.faults:
            call.store.write("UPDATE runs SET status = 'cancelled' WHERE id = ?", (run.id,))
            return answer({"executionId": run.execution_id, "status": "cancelled"})
        if run.status == "failed" and "execution-cancel-rewrites-failed" in call.faults:
            call.store.write("UPDATE runs SET status = 'cancelled' WHERE id = ?", (run.id,))
        raise Refusal(409, "EXECUTION_ENDED", f"The execution has ended as {run.status}.")
    if "content-type" not in call.request.headers and "execution-cancel-needs-content-type" in call.faults:
        raise Refusal(400, "INVALID_BODY", "Send a Content-Type.")
    if run.status == "cancel_requested" and "execution-second-cancel-is-404" in call.faults:
        raise not_found("execution")
    if "execution-cancel-refused" in call.faults:
        raise Refusal(409, "EXECUTION_RUNNING", "The execution cannot be cancelled.")
    if run.status == "processing" and "execution-cancel-does-nothing" not in call.faults:
        if call.faults:
            return answer({"executionId": run.execution_id, "status": await _cancel_unlocked(run, call)})
        call.services.engine.cancel(run)
    return answer({"executionId": run.execution_id, "status": "cancel_requested"})


async def _cancel_unlocked(found: Run, call: Call) -> str:
    """For faults: cancel a run that was found processing, and may be cancelled by others meanwhile."""
    engine = call.services.engine
    await pause()
    run = find_run(call.store, found.id) or found
    if "execution-cancel-reopens-the-end" in call.faults:
        if run.ended_unix_s is None and run.status == "processing":
            end_run(call.store, run, "cancelled")
            return "cancelled"
        reopen(call.store, run)
        return "cancel_requested"
    if run.status == "cancel_requested" and "execution-cancels-charge-each" in call.faults:
        charge_again(call.store, found)
    if run.status == "cancel_requested" and "webhook-sent-for-each-cancel" in call.faults:
        engine.deliver(run, "cancelled")
    engine.cancel(run)
    return "cancel_requested"


def own_execution(call: Call) -> Run:
    """The execution in the path, if it is the account's.

    Raises:
        Refusal: It is not, or there is none.
    """
    run = find_execution(call.store, call.path_value("id"))
    if run is None:
        if "execution-unknown-is-400" in call.faults:
            raise Refusal(400, "INVALID_ID", "There is no such execution.")
        raise not_found("execution")
    is_own = run.account_id == call.account.id
    if run.ended_unix_s is not None and "execution-shown-to-strangers-when-ended" in call.faults:
        is_own = True
    is_old = run.ended_unix_s is not None and time.time() > run.ended_unix_s + _KEPT_S
    if is_old and "execution-forgotten-after-its-end" in call.faults:
        raise not_found("execution")
    if call.request.method == "POST" and "execution-cancelled-by-strangers" in call.faults:
        is_own = True
    if not is_own and "execution-shown-to-strangers" not in call.faults:
        if call.request.method == "POST" and "execution-foreign-cancel-happens" in call.faults:
            call.services.engine.cancel(run)
        raise not_found("execution")
    return run
