"""Faults: listing and reading workflows, and reading something other than what was written."""

import html
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point
from knouds_sandbox.faults.editing import (
    Handler,
    answers_for_last_request,
    at,
    changed,
    on_success,
    pause,
    with_body,
)
from knouds_sandbox.faults.fault import fault
from knouds_sandbox.faults.resource_edits import on_list
from knouds_sandbox.handlers.workflows import ChangedWorkflow, NewWorkflow
from knouds_sandbox.state.workflow_records import delete_workflow, list_summaries


def _listed_where(condition: str, *, for_admins: bool = False) -> Edit:
    """List the workflows that meet an SQL condition."""

    def apply(answer: OutgoingAnswer) -> None:
        if answer.key is not None and (answer.key.account.is_admin or not for_admins):
            answer.body = list_summaries(answer.store, answer.key.account.id, condition=condition)

    return on_list(apply)


@fault("workflows.list-own-and-templates", Point.HANDLER, "deleteWorkflow", is_subtle=True)
async def delete_takes_the_second(call: HandlerCall, handle: Handler) -> Response:
    """Deleting a workflow also deletes the one whose slug has -2 appended."""
    response = await handle(call)
    delete_workflow(call.store, f"{call.path_value('slug')}-2")
    return response


@fault("workflows.list-own-and-templates", is_subtle=True)
def workflows_list_shows_all_to_admins() -> Edit:
    """An administrator's list has the workflows of all accounts."""
    return _listed_where("TRUE", for_admins=True)


@fault("workflows.list-own-and-templates", is_subtle=True)
def workflows_at_once_mixed_up() -> Edit:
    """If requests are simultaneous, the list may be another account's."""
    return answers_for_last_request("listWorkflows")


@fault("workflows.list-own-and-templates", is_subtle=True)
def workflows_list_repeats_templates() -> Edit:
    """Templates are listed twice."""
    return on_list(with_body(lambda lines: [*lines, *(line for line in lines if line["isTemplate"])]))


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


@fault("workflows.list-own-and-templates", is_subtle=True)
def workflows_list_shows_foreign_public() -> Edit:
    """The list shows public playgrounds of other accounts."""
    return _listed_where("owner_id = :id OR is_template OR json_extract(document, '$.publicPlayground')")


def _stored(operation: str, change: Callable[[Any], Any]) -> Edit:
    """Change every value, at any depth, before it is stored."""

    async def edit(_: HandlerCall, draft: NewWorkflow | ChangedWorkflow) -> None:
        draft.members = _mapped(draft.members, change)

    return at(Point.DRAFT, operation, edit)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        value = {name: _mapped(each, change) for name, each in value.items()}
    elif isinstance(value, list):
        value = [_mapped(each, change) for each in value]
    return change(value)


def _of_text(change: Callable[[str], str]) -> Callable[[Any], Any]:
    return lambda value: change(value) if isinstance(value, str) else value


@fault("workflows.get-round-trips", is_subtle=True)
def create_composes_text() -> Edit:
    """Create stores texts in Unicode's composed form (NFC)."""
    return _stored("createWorkflow", _of_text(lambda text: unicodedata.normalize("NFC", text)))


@fault("workflows.get-round-trips", is_subtle=True)
def create_loses_text_beyond_the_first_plane() -> Edit:
    """Create replaces characters beyond U+FFFF by question marks."""
    return _stored("createWorkflow", _of_text(lambda text: re.sub("[\U00010000-\U0010ffff]", "?", text)))


@fault("workflows.get-round-trips", is_subtle=True)
def create_rounds_numbers() -> Edit:
    """Create rounds numbers to six digits."""
    return _stored(
        "createWorkflow", lambda value: float(f"{value:.6g}") if isinstance(value, float) else value
    )


@fault("workflows.get-round-trips", is_subtle=True)
def create_loses_names_with_dots() -> Edit:
    """Create drops members whose name has a dot."""
    return _stored(
        "createWorkflow",
        lambda value: (
            {name: each for name, each in value.items() if "." not in name}
            if isinstance(value, dict)
            else value
        ),
    )


@fault("workflows.update-takes-subset", is_subtle=True)
def update_joins_white_space() -> Edit:
    """Update replaces white space in texts by single spaces."""
    return _stored("updateWorkflow", _of_text(lambda text: re.sub(r"\s+", " ", text)))


@fault("workflows.update-takes-subset", is_subtle=True)
def update_takes_digits_for_a_number() -> Edit:
    """Update drops leading zeros from texts of digits."""
    return _stored("updateWorkflow", _of_text(lambda text: str(int(text)) if text.isdecimal() else text))


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
