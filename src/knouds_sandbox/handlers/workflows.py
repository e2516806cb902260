"""Handlers of ``/api/workflows``: list, create, get, update, move, delete, schema.

Source: overview and docs, workflow CRUD and workflow schema. A workflow that the account may not see is a 404
for it. Writing to a template of another account is a 403 (docs/decisions/sandbox-open-points.md).
"""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from knouds_sandbox.bodies import Refusal, answer, invalid_body, mapped, not_found
from knouds_sandbox.calls import HandlerCall, Services
from knouds_sandbox.fault_points import Point
from knouds_sandbox.legal.points import Choices
from knouds_sandbox.state.store import Store
from knouds_sandbox.state.workflows import (
    StoredWorkflow,
    add_workflow,
    change_workflow,
    changed_members,
    count_workflows,
    delete_workflow,
    find_workflow,
    free_slug,
    is_folder,
    list_summaries,
    make_slug,
    new_members,
    schema,
)

_NODE = ("id", "type", "position", "data")
_EDGE = ("id", "source", "target", "sourceHandle", "targetHandle")
_OF_THE_SERVER = frozenset({"slug", "createdBy", "updatedAt", "folderId"})


@dataclass(kw_only=True, slots=True)
class NewWorkflow:
    """A new document before it is stored, under ``slug`` or ``slug`` with the first free suffix."""

    body: dict[str, Any]
    members: dict[str, Any]
    slug: str
    owner_id: str

    def shown(self, store: Store) -> tuple[object, ...]:
        document = {"createdBy": self.owner_id} | self.members
        return free_slug(store, self.slug), repr(document)


@dataclass(kw_only=True, slots=True)
class ChangedWorkflow:
    body: dict[str, Any]
    members: dict[str, Any]
    workflow: StoredWorkflow

    def shown(self) -> dict[str, Any]:
        old = self.workflow.document
        return {name: value for name, value in self.members.items() if value != old.get(name, ...)}


async def list_workflows(call: HandlerCall) -> Response:
    return answer(list_summaries(call.store, call.account.id))


async def create_workflow(call: HandlerCall) -> Response:
    body = await call.read_body()
    members = new_members(body)
    is_limited = call.account.tier == "free" and not call.account.is_admin
    if is_limited and count_workflows(call.store, call.account.id):
        raise Refusal(403, "WORKFLOW_LIMIT_REACHED", "A free account may have one workflow.")
    members = as_stored(members, body, call.choices)
    slug = make_slug(members["name"], longest=int(call.choices["longest-slug"]))
    new = NewWorkflow(body=body, members=members, slug=slug, owner_id=call.account.id)
    for edit in call.services.edits.at(Point.DRAFT, call.operation, lambda: new.shown(call.store)):
        await edit(call, new)
    document = add_workflow(call.store, new.members, slug=new.slug, owner_id=new.owner_id)
    return answer(document, status=201)


async def get_workflow(call: HandlerCall) -> Response:
    return answer(readable_workflow(call).document)


async def update_workflow(call: HandlerCall) -> Response:
    workflow, body = await _own_workflow_and_body(call)
    members = as_stored(changed_members(body), body, call.choices)
    return answer(await _change(call, ChangedWorkflow(body=body, members=members, workflow=workflow)))


async def move_workflow(call: HandlerCall) -> Response:
    workflow, body = await _own_workflow_and_body(call)
    members = folder_members(body)
    document = await _change(call, ChangedWorkflow(body=body, members=members, workflow=workflow))
    return answer({"slug": workflow.slug, **members, "updatedAt": document["updatedAt"]})


def folder_members(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict) or not is_folder(body.get("folderId", 0)):
        raise invalid_body("folderId is missing, or neither a text nor null.")
    return {"folderId": body["folderId"]}


async def _change(call: HandlerCall, changed: ChangedWorkflow) -> dict[str, Any]:
    for edit in call.services.edits.at(Point.DRAFT, call.operation, changed.shown):
        await edit(call, changed)
    return change_workflow(call.store, changed.workflow, changed.members)


async def delete(call: HandlerCall) -> Response:
    workflow = own_workflow(call)
    delete_workflow(call.store, workflow.slug)
    return answer({"success": True, "slug": workflow.slug})


async def get_schema(call: HandlerCall) -> Response:
    return answer(schema(readable_workflow(call).document, with_cost=True))


async def get_public_schema(request: Request, services: Services) -> Response:
    workflow = find_workflow(services.store, request.path_params["slug"])
    if workflow is None or not workflow.document["publicPlayground"]:
        raise not_found("workflow")
    return answer(schema(workflow.document, with_cost=False))


def readable_workflow(call: HandlerCall) -> StoredWorkflow:
    """Return the workflow in the path if the account may see it; refuse otherwise."""
    workflow = find_workflow(call.store, call.path_value("slug"))
    if workflow is None:
        raise not_found("workflow")
    if workflow.owner_id == call.account.id:
        return workflow
    if workflow.is_template and call.choices["template-read"] == "shown":
        return workflow
    if workflow.is_template or call.choices["foreign-read"] == "404":
        raise not_found("workflow")
    raise Refusal(403, "FORBIDDEN", "Only its owner may read a workflow.")


def own_workflow(call: HandlerCall) -> StoredWorkflow:
    """Return the workflow in the path if the account may write to it; refuse otherwise."""
    workflow = find_workflow(call.store, call.path_value("slug"))
    if workflow is not None and (
        workflow.owner_id == call.account.id or call.is_allowed_by_fault(Point.OWNERSHIP, workflow)
    ):
        return workflow
    if (
        workflow is None
        or call.choices["template-write" if workflow.is_template else "foreign-write"] == "404"
    ):
        raise not_found("workflow")
    raise Refusal(403, "FORBIDDEN", "Only its owner may change a workflow.")


async def _own_workflow_and_body(call: HandlerCall) -> tuple[StoredWorkflow, Any]:
    """Read the body, then the workflow: another request may change the workflow while the body comes."""
    own_workflow(call)  # ownership is checked before the body
    body = await call.read_body()
    return own_workflow(call), body


def as_stored(members: Mapping[str, Any], body: Mapping[str, Any], choices: Choices) -> dict[str, Any]:
    """Return the members as a server with these choices stores them; ``body`` also has the unknown ones.

    Raises:
        Refusal: A text is longer than the server takes.
    """
    stored = dict(members)
    for name in ("name", "description"):
        if len(stored.get(name) or "") > int(choices["longest-text"]):
            raise invalid_body(f"{name} is too long.")
    if choices["unknown"] == "kept":
        stored = {name: body[name] for name in body if name not in _OF_THE_SERVER} | stored
    if choices["unknown"] == "dropped-in-nodes":
        for name, kept in (("nodes", _NODE), ("edges", _EDGE)):
            if name in stored:
                stored[name] = [
                    {member: each[member] for member in kept if member in each} for each in stored[name]
                ]
    if choices["trim"] == "yes" and "name" in stored:
        stored["name"] = stored["name"].strip()
    if choices["compose"] == "yes":
        stored = _texts(stored, lambda text: unicodedata.normalize("NFC", text))
    if choices["line-ends"] == "newline":
        stored = _texts(stored, lambda text: text.replace("\r\n", "\n"))
    return stored


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    """Change each text in a value, but not the names of members."""
    return mapped(value, lambda each: change(each) if isinstance(each, str) else each)
