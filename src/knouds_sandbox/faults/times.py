"""Faults: timestamps are wrong."""

from datetime import datetime, timedelta

from starlette.responses import Response

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point, fault, note_met
from knouds_sandbox.faults.editing import Handler, on_document, on_rows
from knouds_sandbox.handlers.workflows import own_workflow
from knouds_sandbox.state.workflows import change_workflow, find_workflow


@fault("workflows.updated-at-is-iso", on_document, is_subtle=True)
def times_updated_at_in_local_time(answer: OutgoingAnswer) -> None:
    """updatedAt is two hours ahead: a local time that claims to be UTC."""
    ahead = datetime.fromisoformat(answer.body["updatedAt"]) + timedelta(hours=2)
    answer.body["updatedAt"] = ahead.isoformat()


@fault("workflows.updated-at-is-iso", Point.HANDLER, "updateWorkflow", is_subtle=True)
async def times_updated_at_stays(call: HandlerCall, handle: Handler) -> Response:
    """An update leaves updatedAt as it was."""
    before = own_workflow(call).document["updatedAt"]
    response = await handle(call)
    workflow = find_workflow(call.store, call.path_value("slug"))
    if workflow is not None:
        change_workflow(call.store, workflow, {}, updated_at=before)
        note_met()
    return response


@fault("usage.row-shape", is_subtle=True)
def times_duration_is_the_end() -> Edit:
    """The durationMs of a row is the time when its run ended, in milliseconds."""
    return on_rows(lambda run: {"durationMs": round((run.ended_unix_s or 0) * 1000)})
