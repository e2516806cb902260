"""What the faults of create, update, move and delete do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.envelopes import Refusal, answer, invalid_body
from knouds_sandbox.fault_points import Edit, Point
from knouds_sandbox.faults.editing import Edits, Handler, at, pause
from knouds_sandbox.handlers.runs import make_job, perform
from knouds_sandbox.handlers.workflows import ChangedWorkflow, NewWorkflow, own_workflow
from knouds_sandbox.state.accounts import is_account
from knouds_sandbox.state.workflow_documents import (
    MAX_SLUG,
    MEMBERS,
    changed_members,
    joined_words,
    make_slug,
    plain,
)
from knouds_sandbox.state.workflow_records import (
    StoredWorkflow,
    add_workflow,
    change_workflow,
    delete_workflow,
    find_workflow,
    free_slug,
    list_summaries,
)

_WRITES = "updateWorkflow moveWorkflow deleteWorkflow"


def _on_create(change: Callable[[NewWorkflow], object]) -> Edit:
    async def edit(_: HandlerCall, new: NewWorkflow) -> None:
        change(new)

    return at(Point.DRAFT, "createWorkflow", edit)


def _on_change(change: Callable[[ChangedWorkflow], object], operation: str = "updateWorkflow") -> Edit:
    async def edit(_: HandlerCall, changed: ChangedWorkflow) -> None:
        change(changed)

    return at(Point.DRAFT, operation, edit)


def _slug(make: Callable[[str], str]) -> Edit:
    """Make new slugs another way from names."""

    def change(new: NewWorkflow) -> None:
        new.slug = make(new.members["name"])

    return _on_create(change)


def _suffix(make: Callable[[int], str]) -> Edit:
    """Give taken slugs other suffixes; the first is asked for as number 2."""

    def change(new: NewWorkflow) -> None:
        new.suffix = make

    return _on_create(change)


def _keep_underscores(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", plain(name).lower())[:MAX_SLUG].strip("-") or "workflow"


def _believe_slug(new: NewWorkflow) -> None:
    if isinstance(new.body.get("slug"), str):
        new.slug = make_slug(new.body["slug"])


def _believe_created_by(draft: NewWorkflow | ChangedWorkflow) -> None:
    if isinstance(draft.body.get("createdBy"), str):
        draft.members["createdBy"] = draft.body["createdBy"]


async def _give_away(call: HandlerCall, new: NewWorkflow) -> None:
    if is_account(call.store, new.body.get("createdBy")):
        new.owner_id = new.body["createdBy"]


def _refuse_updated_at(new: NewWorkflow) -> None:
    if "updatedAt" in new.body:
        raise invalid_body("updatedAt is none of a client's business.")


def _cut_description(new: NewWorkflow) -> None:
    if isinstance(new.members.get("description"), str):
        new.members["description"] = new.members["description"][:200]


def _drop_empty_data(new: NewWorkflow) -> None:
    for node in new.members["nodes"]:
        node["data"] = {name: value for name, value in node["data"].items() if value}


def _keep_ascii(new: NewWorkflow) -> None:
    new.members["name"] = new.members["name"].encode("ascii", "ignore").decode()
    new.slug = make_slug(new.members["name"])


def _keep_one_edge_per_pair(new: NewWorkflow) -> None:
    ends = {(edge["source"], edge["target"]): edge for edge in reversed(new.members["edges"])}
    new.members["edges"] = list(reversed(ends.values()))


def _drop_loose_nodes(new: NewWorkflow) -> None:
    tied = {edge[end] for edge in new.members["edges"] for end in ("source", "target")}
    new.members["nodes"] = [node for node in new.members["nodes"] if node["id"] in tied]


async def _refuse_foreign_namesake(call: HandlerCall, new: NewWorkflow) -> None:
    namesake = find_workflow(call.store, new.slug)
    if namesake and namesake.owner_id != new.owner_id:
        raise Refusal(409, "SLUG_TAKEN", "Another account has a workflow of this name.")


async def _take_slug_too_early(call: HandlerCall, new: NewWorkflow) -> None:
    new.slug = free_slug(call.store, new.slug)
    await pause()
    delete_workflow(call.store, new.slug)


async def _wait_after_the_cap(_: HandlerCall, __: NewWorkflow) -> None:
    await pause()


def _name_it(_: HandlerCall, body: Any) -> Any:
    return {"name": "Untitled"} | body if isinstance(body, dict) else body


def _quote_what_is_wrong(_: HandlerCall, body: Any) -> Any:
    """Refuse a document with the wrong value as the text."""
    for member, (is_valid, _expected) in MEMBERS.items():
        if isinstance(body, dict) and member in body and not is_valid(body[member]):
            raise invalid_body(body[member])
    return body


def _change_in_part(call: HandlerCall, body: Any) -> Any:
    """Take the description of an update that is about to be refused."""
    try:
        changed_members(body)
    except Refusal:
        if isinstance(body, dict) and isinstance(body.get("description"), str):
            change_workflow(call.store, own_workflow(call), {"description": body["description"]})
    return body


def _filled_in(make: Callable[[ChangedWorkflow], dict[str, Any]]) -> Edit:
    """Change members that an update leaves out."""

    def change(changed: ChangedWorkflow) -> None:
        changed.members = make(changed) | changed.members

    return _on_change(change)


def _keep_what_would_be_empty(member: str) -> Edit:
    def change(changed: ChangedWorkflow) -> None:
        if changed.members.get(member) in ("", []):
            del changed.members[member]

    return _on_change(change)


def _keep_three_tags(changed: ChangedWorkflow) -> None:
    if "tags" in changed.members:
        changed.members["tags"] = changed.members["tags"][:3]


def _merge_nodes(changed: ChangedWorkflow) -> None:
    if "nodes" in changed.members:
        new_ids = {node["id"] for node in changed.members["nodes"]}
        old = changed.workflow.document["nodes"]
        changed.members["nodes"] += [node for node in old if node["id"] not in new_ids]


def _reslugged(make: Callable[[ChangedWorkflow], str | None]) -> Edit:
    """Give an updated workflow another slug, unless that is taken."""

    async def edit(call: HandlerCall, changed: ChangedWorkflow) -> None:
        slug = make(changed)
        if slug is not None and find_workflow(call.store, slug) is None:
            changed.members["slug"] = slug

    return at(Point.DRAFT, "updateWorkflow", edit)


def _slug_of_new_name(changed: ChangedWorkflow) -> str | None:
    name = changed.members.get("name")
    return None if name is None else make_slug(f"{name} {changed.workflow.slug}")


def _slug_in_body(changed: ChangedWorkflow) -> str | None:
    return make_slug(changed.body["slug"]) if isinstance(changed.body.get("slug"), str) else None


def _written_late(read: Callable[[dict[str, Any]], dict[str, Any]], *, revives: bool = False) -> Edit:
    """Write, with an update, members of the document that it had read before others wrote."""

    async def edit(call: HandlerCall, changed: ChangedWorkflow) -> None:
        changed.members = read(changed.workflow.document) | changed.members
        await pause()
        old = changed.workflow
        found = find_workflow(call.store, old.slug)
        if found is None and revives:
            add_workflow(call.store, old.document, slug=old.slug, owner_id=old.owner_id)
        changed.workflow = found or old

    return at(Point.DRAFT, "updateWorkflow", edit)


def _all_but_the_folder(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "folderId"}


async def _leave_a_copy(call: HandlerCall, changed: ChangedWorkflow) -> None:
    old = changed.workflow
    add_workflow(call.store, old.document, slug=f"{old.slug}-moved", owner_id=call.account.id)


def _not_moved(is_meant: Callable[[HandlerCall, str | None], bool]) -> Edit:
    """Ignore a move to some folders; the root is None."""

    async def edit(call: HandlerCall, changed: ChangedWorkflow) -> None:
        if is_meant(call, changed.members["folderId"]):
            changed.members["folderId"] = changed.workflow.document["folderId"]

    return at(Point.DRAFT, "moveWorkflow", edit)


def _is_new_folder(call: HandlerCall, folder_id: str | None) -> bool:
    lines = list_summaries(call.store, call.account.id)
    return folder_id is not None and all(line["folderId"] != folder_id for line in lines)


async def _answer_another(call: HandlerCall, handle: Handler) -> Response:
    own = [
        each for each in list_summaries(call.store, call.account.id) if each["createdBy"] == call.account.id
    ]
    another = find_workflow(call.store, own[0]["slug"]) if own else None
    known = {each["slug"] for each in own}
    response = await handle(call)
    if another is None or response.status_code != 201:
        return response
    for each in list_summaries(call.store, call.account.id):
        if each["createdBy"] == call.account.id and each["slug"] not in known:
            delete_workflow(call.store, each["slug"])
    return answer(another.document, status=201)


async def _keep_deleted(call: HandlerCall, _: Handler) -> Response:
    return answer({"success": True, "slug": own_workflow(call).slug})


async def _delete_the_second(call: HandlerCall, handle: Handler) -> Response:
    response = await handle(call)
    delete_workflow(call.store, f"{call.path_value('slug')}-2")
    return response


async def _run_deleted(call: HandlerCall, handle: Handler) -> Response:
    slug = call.path_value("slug")
    (count,) = call.store.row(
        "SELECT count(*) FROM runs WHERE workflow_slug = ? AND account_id = ?", slug, call.account.id
    )
    if count and find_workflow(call.store, slug) is None:
        return await perform(call, make_job([], {}, workflow_slug=slug))
    return await handle(call)


async def _refuse_and_write(call: HandlerCall, handle: Handler) -> Response:
    workflow = find_workflow(call.store, call.path_value("slug"))
    if workflow and not workflow.is_template and workflow.owner_id != call.account.id:
        change_workflow(call.store, workflow, {"description": "changed although refused"})
    return await handle(call)


def _owned(is_meant: Callable[[HandlerCall, StoredWorkflow], bool], operations: str = _WRITES) -> Edit:
    return at(Point.OWNERSHIP, operations, is_meant)


EDITS: Edits = {
    "create-without-name-accepted": at(Point.BODY, "createWorkflow", _name_it),
    "create-free-uncapped": at(Point.WORKFLOW_LIMIT, "createWorkflow", lambda *_: True),
    "create-free-capped-at-two": at(Point.WORKFLOW_LIMIT, "createWorkflow", lambda _, count: count < 2),
    "create-free-cap-is-late": at(Point.DRAFT, "createWorkflow", _wait_after_the_cap),
    "create-refuses-what-get-shows": _on_create(_refuse_updated_at),
    "create-cuts-description": _on_create(_cut_description),
    "create-drops-empty-data": _on_create(_drop_empty_data),
    "create-name-keeps-ascii": _on_create(_keep_ascii),
    "create-keeps-one-edge-per-pair": _on_create(_keep_one_edge_per_pair),
    "create-drops-loose-nodes": _on_create(_drop_loose_nodes),
    "create-gives-away": at(Point.DRAFT, "createWorkflow", _give_away),
    "create-believes-created-by": _on_create(_believe_created_by),
    "update-believes-created-by": _on_change(_believe_created_by),
    "create-slug-keeps-capitals": _slug(lambda name: joined_words(plain(name), "-")),
    "create-slug-lacks-digits": _slug(lambda name: make_slug(re.sub(r"[0-9]", "", plain(name)))),
    "create-answers-an-existing-slug": at(Point.HANDLER, "createWorkflow", _answer_another),
    "create-believes-slug": _on_create(_believe_slug),
    "create-slug-with-underscores": _slug(lambda name: make_slug(name, joiner="_")),
    "create-slug-keeps-underscores": _slug(_keep_underscores),
    "create-suffixes-from-1": _suffix(lambda number: f"-{number - 1}"),
    "create-suffixes-without-hyphen": _suffix(str),
    "create-twins-share-a-slug": at(Point.DRAFT, "createWorkflow", _take_slug_too_early),
    "create-suffixes-skip-3": _suffix(lambda number: f"-{number + (number > 2)}"),
    "create-refuses-foreign-namesake": at(Point.DRAFT, "createWorkflow", _refuse_foreign_namesake),
    "update-cannot-empty-tags": _keep_what_would_be_empty("tags"),
    "update-cannot-empty-description": _keep_what_would_be_empty("description"),
    "update-keeps-three-tags": _on_change(_keep_three_tags),
    "update-merges-nodes": _on_change(_merge_nodes),
    "update-withdraws-from-the-public": _filled_in(lambda _: {"publicPlayground": False}),
    "update-moves-to-the-root": _on_change(lambda changed: changed.members.update(folderId=None)),
    "update-resets-what-is-left-out": _filled_in(lambda _: {"tags": [], "description": ""}),
    "update-ignores-description": _on_change(lambda changed: changed.members.pop("description", None)),
    "update-refused-in-part": at(Point.BODY, "updateWorkflow", _change_in_part),
    "update-overwrites-update": _written_late(_all_but_the_folder),
    "update-drops-the-last-tag": _filled_in(lambda changed: {"tags": changed.workflow.document["tags"][:-1]}),
    "update-makes-slug-anew": _reslugged(_slug_of_new_name),
    "update-believes-slug": _reslugged(_slug_in_body),
    "move-leaves-a-copy": at(Point.DRAFT, "moveWorkflow", _leave_a_copy),
    "move-changes-nothing": _not_moved(lambda *_: True),
    "move-to-new-folders-ignored": _not_moved(_is_new_folder),
    "move-to-root-ignored": _not_moved(lambda _, folder_id: folder_id is None),
    "update-overwrites-move": _written_late(lambda document: {"folderId": document["folderId"]}),
    "move-empties-description": _on_change(
        lambda changed: changed.members.update(description=""), "moveWorkflow"
    ),
    "delete-keeps-the-workflow": at(Point.HANDLER, "deleteWorkflow", _keep_deleted),
    "delete-keeps-what-ran": at(Point.HANDLER, "runWorkflow", _run_deleted),
    "update-revives-deleted": _written_late(lambda _: {}, revives=True),
    "write-to-foreign-accepted": _owned(lambda *_: True),
    "write-to-foreign-template-accepted": _owned(lambda _, workflow: workflow.is_template),
    "write-to-foreign-folder-accepted": _owned(lambda *_: True, "moveWorkflow"),
    "write-to-foreign-refused-and-done": at(Point.HANDLER, _WRITES, _refuse_and_write),
    "write-to-foreign-by-admin-accepted": _owned(lambda call, _: call.account.is_admin),
    "delete-takes-the-second": at(Point.HANDLER, "deleteWorkflow", _delete_the_second),
    "envelope-text-is-what-was-sent": at(Point.BODY, "createWorkflow updateWorkflow", _quote_what_is_wrong),
}
