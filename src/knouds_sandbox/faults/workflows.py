"""Faults: reading and writing workflows, and reading something other than what was written."""

import html
import json
import re
from collections.abc import Callable
from itertools import chain, count
from typing import Any

from starlette.responses import Response

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.bodies import Refusal, answer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point, fault, note_met
from knouds_sandbox.faults.editing import (
    WRITE_OPERATIONS,
    Handler,
    at,
    changed,
    on_create,
    on_list,
    on_success,
    pause,
    with_slug,
)
from knouds_sandbox.handlers.runs import Job, perform
from knouds_sandbox.handlers.workflows import ChangedWorkflow, NewWorkflow, own_workflow
from knouds_sandbox.state.workflows import (
    add_workflow,
    count_workflows,
    delete_workflow,
    find_workflow,
    free_slug,
    list_summaries,
    make_slug,
)


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


@fault("workflows.list-own-and-templates", on_list)
def workflows_list_shows_foreign(answer: OutgoingAnswer) -> None:
    """The list shows everyone's workflows."""
    rows = answer.store.rows("SELECT summary FROM workflows ORDER BY slug")
    answer.body = [json.loads(text) for (text,) in rows]


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


def _written_late(read: Callable[[dict[str, Any]], dict[str, Any]], *, revives: bool = False) -> Edit:
    """Let an update also write members that it read before other requests changed them."""

    async def edit(call: HandlerCall, changed: ChangedWorkflow) -> None:
        changed.members = read(changed.workflow.document) | changed.members
        await pause()
        old = changed.workflow
        found = find_workflow(call.store, old.slug)
        if found is None and revives:
            note_met()
            add_workflow(call.store, old.document, slug=old.slug, owner_id=old.owner_id)
        changed.workflow = found or old

    return at(Point.DRAFT, "updateWorkflow", edit)


@fault("workflows.free-capped-at-one", Point.DRAFT, "createWorkflow", is_subtle=True)
async def create_free_cap_is_late(call: HandlerCall, new: NewWorkflow) -> None:
    """Simultaneous creates let a free account exceed its cap."""
    await pause()
    if (
        call.account.tier == "free"
        and not call.account.is_admin
        and count_workflows(call.store, new.owner_id)
    ):
        note_met()


@fault("workflows.creator-owns", on_create, is_subtle=True)
def create_believes_created_by(new: NewWorkflow) -> None:
    """Create takes createdBy from the body."""
    if isinstance(new.body.get("createdBy"), str):
        new.members["createdBy"] = new.body["createdBy"]


@fault("workflows.create-makes-slug-from-name", is_subtle=True)
def create_slug_lacks_digits() -> Edit:
    """A new slug leaves out the digits of the name."""
    return with_slug(lambda name: make_slug(re.sub(r"[0-9]", "", name)))


@fault("workflows.create-makes-slug-from-name", Point.HANDLER, "createWorkflow")
async def create_answers_an_existing_slug(call: HandlerCall, handle: Handler) -> Response:
    """Create answers with an older workflow and stores nothing."""
    lines = list_summaries(call.store, call.account.id)
    own = [each["slug"] for each in lines if each["createdBy"] == call.account.id]
    another = find_workflow(call.store, own[0]) if own else None
    response = await handle(call)
    if another is None:
        return response
    note_met()
    delete_workflow(call.store, json.loads(bytes(response.body))["slug"])
    return answer(another.document, status=201)


@fault("workflows.create-suffixes-taken-slug", Point.DRAFT, "createWorkflow", is_subtle=True)
async def create_suffixes_from_1(call: HandlerCall, new: NewWorkflow) -> None:
    """The first suffix of a taken slug is -1."""
    slugs = chain([new.slug], (f"{new.slug}-{number}" for number in count(1)))
    new.slug = next(each for each in slugs if find_workflow(call.store, each) is None)


@fault("workflows.create-suffixes-taken-slug", Point.DRAFT, "createWorkflow", is_subtle=True)
async def create_twins_share_a_slug(call: HandlerCall, new: NewWorkflow) -> None:
    """If two creates with the same name are simultaneous, the later one takes the slug of the earlier."""
    new.slug = free_slug(call.store, new.slug)
    await pause()
    if find_workflow(call.store, new.slug):
        note_met()
        delete_workflow(call.store, new.slug)


@fault("workflows.create-suffixes-taken-slug", Point.DRAFT, "createWorkflow", is_subtle=True)
async def create_refuses_foreign_namesake(call: HandlerCall, new: NewWorkflow) -> None:
    """A create with the name of another account's workflow gets a 409."""
    namesake = find_workflow(call.store, new.slug)
    if namesake and namesake.owner_id != new.owner_id:
        note_met()
        raise Refusal(409, "SLUG_TAKEN", "Another account has a workflow of this name.")


@fault("workflows.update-takes-subset", Point.DRAFT, "updateWorkflow", is_subtle=True)
async def update_resets_what_is_left_out(_: HandlerCall, changed: ChangedWorkflow) -> None:
    """Update empties tags and description if they are not sent."""
    changed.members = {"tags": [], "description": ""} | changed.members


@fault("workflows.update-takes-subset", is_subtle=True)
def update_shows_late_now_and_then() -> tuple[Edit, Edit]:
    """After every fifth update of only the description, the next read shows the old description."""

    async def remember(call: HandlerCall, changed: ChangedWorkflow) -> None:
        noted = call.services.noted
        if changed.members.keys() == {"description"}:
            noted["updates"] = noted.get("updates", 0) + 1
            if noted["updates"] % 5 == 0:
                noted[changed.workflow.slug] = changed.workflow.document["description"]

    def show(answer: OutgoingAnswer) -> None:
        noted = answer.services.noted
        answer.body["description"] = noted.pop(answer.path_params["slug"], answer.body["description"])

    return at(Point.DRAFT, "updateWorkflow", remember), on_success("getWorkflow", show)


@fault("workflows.slug-never-changes", Point.DRAFT, "updateWorkflow", is_subtle=True)
async def update_believes_slug(call: HandlerCall, changed: ChangedWorkflow) -> None:
    """Update takes the slug from the body, unless it is taken."""
    slug = changed.body.get("slug")
    if isinstance(slug, str) and find_workflow(call.store, make_slug(slug)) is None:
        changed.members["slug"] = make_slug(slug)


@fault("workflows.move-sets-folder", Point.DRAFT, "moveWorkflow", is_subtle=True)
async def move_to_root_ignored(_: HandlerCall, changed: ChangedWorkflow) -> None:
    """Move to the root leaves the folder alone."""
    if changed.members["folderId"] is None:
        changed.members["folderId"] = changed.workflow.document["folderId"]


@fault("workflows.move-sets-folder", is_subtle=True)
def update_overwrites_move() -> Edit:
    """An update undoes a move that came while it was in progress."""
    return _written_late(lambda document: {"folderId": document["folderId"]})


@fault("workflows.delete-then-404", Point.HANDLER, "deleteWorkflow")
async def delete_keeps_the_workflow(call: HandlerCall, _: Handler) -> Response:
    """Delete answers with success, but deletes nothing."""
    slug = own_workflow(call).slug
    note_met()
    return answer({"success": True, "slug": slug})


@fault("workflows.delete-then-404", Point.HANDLER, "runWorkflow", is_subtle=True)
async def delete_keeps_what_ran(call: HandlerCall, handle: Handler) -> Response:
    """A deleted workflow that was run before can still be run."""
    slug = call.path_value("slug")
    (run_count,) = call.store.row(
        "SELECT count(*) FROM runs WHERE workflow_slug = ? AND account_id = ?", slug, call.account.id
    )
    if run_count and find_workflow(call.store, slug) is None:
        note_met()
        return await perform(call, Job(calls=[], inputs={}, workflow_slug=slug))
    return await handle(call)


@fault("workflows.delete-then-404", _written_late(lambda _: {}, revives=True), is_subtle=True)
def update_revives_deleted() -> None:
    """A workflow that is deleted during an update comes back."""


@fault("workflows.admin-does-not-own", is_subtle=True)
def write_to_foreign_by_admin_accepted() -> Edit:
    """An administrator may write to any workflow."""
    return at(Point.OWNERSHIP, WRITE_OPERATIONS, lambda call, _: call.account.is_admin)
