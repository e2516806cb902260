"""Faults: listing and reading workflows, and reading something other than what was written."""

import html
from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point
from knouds_sandbox.faults.editing import Handler, at, changed, on_success, pause
from knouds_sandbox.faults.fault import fault
from knouds_sandbox.faults.resource_edits import on_list
from knouds_sandbox.state.workflow_records import list_summaries


def _listed_where(condition: str, *, for_admins: bool = False) -> Edit:
    """List the workflows that meet an SQL condition."""

    def apply(answer: OutgoingAnswer) -> None:
        if answer.key is not None and (answer.key.account.is_admin or not for_admins):
            answer.body = list_summaries(answer.store, answer.key.account.id, condition=condition)

    return on_list(apply)


@fault("workflows.list-own-and-templates", is_subtle=True)
def workflows_list_lacks_what_is_written() -> tuple[Edit, Edit]:
    """A list that is read during an update lacks the updated workflow."""

    async def write(call: HandlerCall, handle: Handler) -> Response:
        written = call.services.noted.setdefault("written", [])
        written.append(call.path_value("slug"))
        await pause()
        response = await handle(call)
        written.remove(call.path_value("slug"))
        return response

    def leave_out(answer: OutgoingAnswer) -> None:
        written = answer.services.noted.get("written", ())
        answer.body = [line for line in answer.body if line["slug"] not in written]

    return at(Point.HANDLER, "updateWorkflow", write), on_list(leave_out)


@fault("workflows.list-own-and-templates")
def workflows_list_lacks_templates() -> Edit:
    """The list leaves out templates of other accounts."""
    return _listed_where("owner_id = :id")


@fault("workflows.list-own-and-templates")
def workflows_list_shows_foreign() -> Edit:
    """The list shows everyone's workflows."""
    return _listed_where("TRUE")


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        value = {name: _mapped(each, change) for name, each in value.items()}
    elif isinstance(value, list):
        value = [_mapped(each, change) for each in value]
    return change(value)


@fault("workflows.summary-fields", is_subtle=True)
def workflows_list_escapes_text() -> Edit:
    """The list shows descriptions escaped for HTML."""
    return on_success("listWorkflows", changed("*.description", lambda text: text and html.escape(text)))


@fault("schema.shape", is_subtle=True)
def schema_cuts_description() -> Edit:
    """Schemas show only 255 characters of a description."""
    return on_success(
        "getWorkflowSchema getPublicWorkflowSchema", changed("description", lambda text: text and text[:255])
    )
