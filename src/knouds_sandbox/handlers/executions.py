"""Handlers of ``/api/executions``: poll and cancel.

Source: docs, async executions; overview (a cancelled run is charged). Cancelling an ended execution is a 409
here (docs/decisions/sandbox-open-points.md).
"""

from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.envelopes import Refusal, answer, not_found
from knouds_sandbox.fault_points import Point
from knouds_sandbox.state.run_records import IN_FLIGHT, StoredRun, find_execution
from knouds_sandbox.state.workflow_records import iso


async def get_execution(call: HandlerCall) -> Response:
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
    return answer(shown)


async def cancel_execution(call: HandlerCall) -> Response:
    run = own_execution(call)
    if run.status not in IN_FLIGHT:
        raise Refusal(409, "EXECUTION_ENDED", f"The execution has ended as {run.status}.")
    if run.status == "processing":
        call.services.engine.cancel(run)
    return answer({"executionId": run.execution_id, "status": "cancel_requested"})


def own_execution(call: HandlerCall) -> StoredRun:
    run = find_execution(call.store, call.path_value("id"))
    if run is None or not (
        run.account_id == call.account.id or call.is_allowed_by_fault(Point.OWNERSHIP, run)
    ):
        raise not_found("execution")
    return run
