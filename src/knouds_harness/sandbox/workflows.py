"""Handlers of ``/api/workflows``: list, create, get, update, move, delete, schema.

Source: overview and docs, workflow CRUD and workflow schema. A workflow that the account may not see does not
exist for it (404); a template that it sees but does not own refuses writes with 403
(docs/decisions/sandbox-open-points.md).
"""

from __future__ import annotations

import html
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from knouds_harness.sandbox.accounts import find_key_by_name, is_account
from knouds_harness.sandbox.bodies import read_json
from knouds_harness.sandbox.calls import Call, Services
from knouds_harness.sandbox.envelopes import Refusal, answer, invalid_body, workflow_not_found
from knouds_harness.sandbox.races import pause
from knouds_harness.sandbox.workflow_documents import checked_members, is_folder, make_slug, schema
from knouds_harness.sandbox.workflow_records import (
    Workflow,
    add_workflow,
    change_workflow,
    count_workflows,
    delete_workflow,
    find_workflow,
    free_slug,
    list_summaries,
)

_EPOCH_MS = 1_780_000_000_000


async def list_workflows(call: Call) -> Response:
    """GET /api/workflows."""
    summaries = list_summaries(call.store, call.account.id, call.faults)
    if call.account.is_admin and "workflows-list-shows-all-to-admins" in call.faults:
        summaries = list_summaries(call.store, call.account.id, {"workflows-list-shows-foreign"})
    for line in summaries if call.faults else ():
        if "workflows-summary-lacks-the-creator" in call.faults:
            line["createdBy"] = None
        if "workflows-summary-describes-by-name" in call.faults:
            line["description"] = line["name"]
        if "workflows-summary-lacks-folder" in call.faults:
            del line["folderId"]
        if "workflows-summary-tags-as-text" in call.faults:
            line["tags"] = ",".join(line["tags"])
        if "workflows-summary-template-as-number" in call.faults:
            line["isTemplate"] = int(line["isTemplate"])
        if "workflows-summary-cost-always-null" in call.faults:
            line["estimatedCreditCost"] = None
        if "workflows-summary-cost-as-text" in call.faults:
            line["estimatedCreditCost"] = str(line["estimatedCreditCost"])
        if "workflows-summary-updated-at-epoch" in call.faults:
            line["updatedAt"] = _EPOCH_MS
    if "workflows-list-in-object" in call.faults:
        return answer({"workflows": summaries})
    return answer(summaries)


async def create_workflow(call: Call) -> Response:
    """POST /api/workflows."""
    body = await read_json(call.request)
    members = checked_members(body, call.faults, is_new=True)
    if "updatedAt" in body and "create-refuses-what-get-shows" in call.faults:
        raise invalid_body("updatedAt is none of a client's business.")
    if (
        call.account.tier == "free"
        and not call.account.is_admin
        and count_workflows(call.store, call.account.id) > ("create-free-capped-at-two" in call.faults)
        and "create-free-uncapped" not in call.faults
    ):
        raise Refusal(403, "WORKFLOW_LIMIT_REACHED", "A free account may have one workflow.")
    if "create-free-cap-is-late" in call.faults:
        await pause()
    owner_id = call.account.id
    if isinstance(body.get("createdBy"), str) and "create-believes-created-by" in call.faults:
        members["createdBy"] = body["createdBy"]
    if "create-gives-away" in call.faults and is_account(call.store, body.get("createdBy")):
        owner_id = body["createdBy"]
    slug = make_slug(members["name"], call.faults)
    if isinstance(body.get("slug"), str) and "create-believes-slug" in call.faults:
        slug = make_slug(body["slug"], call.faults)
    if "create-refuses-foreign-namesake" in call.faults:
        namesake = find_workflow(call.store, slug)
        if namesake and namesake.owner_id != owner_id:
            raise Refusal(409, "SLUG_TAKEN", "Another account has a workflow of this name.")
    if isinstance(members.get("description"), str) and "create-cuts-description" in call.faults:
        members["description"] = members["description"][:200]
    if "create-twins-share-a-slug" in call.faults:
        slug = free_slug(call.store, slug, call.faults)
        await pause()
        delete_workflow(call.store, slug)
    document = add_workflow(
        call.store,
        members,
        slug=slug,
        owner_id=owner_id,
        faults=call.faults,
    )
    return answer(_shown(document, call), status=201)


async def get_workflow(call: Call) -> Response:
    """GET /api/workflows/:slug."""
    workflow = readable_workflow(call)
    document = _shown(workflow.document, call)
    if "workflows-get-in-object" in call.faults:
        return answer({"workflow": document})
    return answer(document)


async def update_workflow(call: Call) -> Response:
    """PUT /api/workflows/:slug."""
    workflow, body = await _own_workflow_and_body(call)
    try:
        members = checked_members(body, call.faults, is_new=False)
    except Refusal:
        if "update-refused-in-part" in call.faults and isinstance(body.get("description"), str):
            change_workflow(call.store, workflow, {"description": body["description"]})
        raise
    if "update-resets-what-is-left-out" in call.faults:
        members = {"tags": [], "description": ""} | members
    if "update-withdraws-from-the-public" in call.faults:
        members = {"publicPlayground": False} | members
    if "update-drops-the-last-tag" in call.faults:
        members = {"tags": workflow.document["tags"][:-1]} | members
    if "update-believes-created-by" in call.faults and isinstance(body.get("createdBy"), str):
        members["createdBy"] = body["createdBy"]
    if members.get("description") == "" and "update-cannot-empty-description" in call.faults:
        del members["description"]
    if not members.get("tags", True) and "update-cannot-empty-tags" in call.faults:
        del members["tags"]
    if "nodes" in members and "update-merges-nodes" in call.faults:
        new_ids = {node["id"] for node in members["nodes"]}
        members["nodes"] += [node for node in workflow.document["nodes"] if node["id"] not in new_ids]
    if "update-moves-to-the-root" in call.faults:
        members["folderId"] = None
    if "update-ignores-description" in call.faults:
        members.pop("description", None)
    if "update-makes-slug-anew" in call.faults and "name" in members:
        members["slug"] = make_slug(f"{members['name']} {workflow.slug}", call.faults)
    if "update-believes-slug" in call.faults and isinstance(body.get("slug"), str):
        members["slug"] = make_slug(body["slug"], call.faults)
    if members.get("slug", workflow.slug) != workflow.slug and find_workflow(call.store, members["slug"]):
        del members["slug"]
    if call.faults:
        workflow, members = await _let_others_in(workflow, members, call)
    return answer(_shown(change_workflow(call.store, workflow, members), call))


async def _let_others_in(
    workflow: Workflow, members: dict[str, Any], call: Call
) -> tuple[Workflow, dict[str, Any]]:
    """For faults: what an update changes, and to what, when it comes to write what it has read."""
    read: dict[str, Any] = {}
    if "update-overwrites-update" in call.faults:
        read = {name: value for name, value in workflow.document.items() if name != "folderId"}
    if "update-overwrites-move" in call.faults:
        read = {"folderId": workflow.document["folderId"]}
    if read or "update-revives-deleted" in call.faults:
        await pause()
    found = find_workflow(call.store, workflow.slug)
    if found is None and "update-revives-deleted" in call.faults:
        add_workflow(call.store, workflow.document, slug=workflow.slug, owner_id=workflow.owner_id)
    return found or workflow, read | members


async def move_workflow(call: Call) -> Response:
    """PUT /api/workflows/:slug/move."""
    workflow, body = await _own_workflow_and_body(call)
    if not isinstance(body, dict) or not is_folder(body.get("folderId", 0)):
        raise invalid_body("folderId is missing, or neither a text nor null.")
    folder_id = body["folderId"]
    if "move-changes-nothing" in call.faults:
        folder_id = workflow.document["folderId"]
    if folder_id is None and "move-to-root-ignored" in call.faults:
        folder_id = workflow.document["folderId"]
    if "move-leaves-a-copy" in call.faults:
        owner_id = call.account.id
        add_workflow(call.store, workflow.document, slug=f"{workflow.slug}-moved", owner_id=owner_id)
    moved = {"folderId": folder_id}
    if "move-empties-description" in call.faults:
        moved["description"] = ""
    document = change_workflow(call.store, workflow, moved)
    return answer({"slug": workflow.slug, "folderId": body["folderId"], "updatedAt": document["updatedAt"]})


async def remove_workflow(call: Call) -> Response:
    """DELETE /api/workflows/:slug."""
    workflow = own_workflow(call)
    if "delete-keeps-the-workflow" not in call.faults:
        delete_workflow(call.store, workflow.slug)
    if "delete-takes-the-second" in call.faults:
        delete_workflow(call.store, f"{workflow.slug}-2")
    return answer({"success": True, "slug": workflow.slug})


async def get_workflow_schema(call: Call) -> Response:
    """GET /api/workflows/:slug/schema."""
    try:
        workflow = readable_workflow(call)
    except Refusal:
        if "schema-of-unknown-is-empty" in call.faults:
            return answer(
                {"fields": [], "values": {}, "name": "", "description": "", "estimatedCreditCost": None}
            )
        raise
    return answer(schema(workflow.document, with_cost=True, faults=call.faults))


def get_public_schema(request: Request, services: Services) -> Response:
    """GET /api/workflows/:slug/public-schema."""
    slug = request.path_params["slug"]
    workflow = find_workflow(services.store, slug)
    if workflow is None:
        raise workflow_not_found(slug)
    if workflow.is_template and "schema-public-of-templates" in services.faults:
        return answer(schema(workflow.document, with_cost=False, faults=services.faults))
    is_shown = workflow.document["publicPlayground"] or "schema-public-of-private" in services.faults
    if "x-api-key" in request.headers and "schema-public-of-private-with-a-key" in services.faults:
        is_shown = True
    if not is_shown:
        raise workflow_not_found(slug)
    return answer(schema(workflow.document, with_cost=False, faults=services.faults))


async def perform_although_denied(operation: str, call: Call) -> None:
    """Do what was just refused: the side effect that some faults leave behind."""
    if operation == "deleteWorkflow" and "capability-denied-delete-happens" in call.faults:
        delete_workflow(call.store, own_workflow(call).slug)
    if operation == "moveWorkflow" and "capability-denied-move-happens" in call.faults:
        change_workflow(call.store, own_workflow(call), {"folderId": "moved-although-denied"})
    if operation == "updateWorkflow" and "capability-denied-update-happens" in call.faults:
        change_workflow(call.store, own_workflow(call), {"description": "changed although denied"})
    if operation == "createWorkflow" and "capability-denied-create-happens" in call.faults:
        await create_workflow(call)


def readable_workflow(call: Call) -> Workflow:
    """The workflow in the path, if the account may see it.

    Raises:
        Refusal: It may not, or there is none.
    """
    slug = call.path_value("slug")
    workflow = find_workflow(call.store, slug)
    if workflow is None or not workflow.is_readable_by(call.account.id):
        if "workflows-unknown-is-400" in call.faults:
            raise Refusal(400, "NOT_FOUND", "There is no such workflow.")
        raise workflow_not_found(slug)
    return workflow


def own_workflow(call: Call) -> Workflow:
    """The workflow in the path, if the account may write to it.

    Raises:
        Refusal: It may not, or there is none.
    """
    slug = call.path_value("slug")
    workflow = find_workflow(call.store, slug)
    if workflow is not None and _may_write(workflow, call):
        return workflow
    if workflow is None or not workflow.is_template:
        if workflow is not None and "write-to-foreign-refused-and-done" in call.faults:
            change_workflow(call.store, workflow, {"description": "changed although refused"})
        raise workflow_not_found(slug)
    raise Refusal(403, "FORBIDDEN", "Only its owner may change a workflow.")


async def _own_workflow_and_body(call: Call) -> tuple[Workflow, Any]:
    """The workflow as it is once the body has come: until then others may have written to it.

    Raises:
        Refusal: It is not the account's, or not there any more, or the body is no JSON.
    """
    own_workflow(call)  # whose it is comes before what is wrong with the body
    body = await read_json(call.request)
    return own_workflow(call), body


def _may_write(workflow: Workflow, call: Call) -> bool:
    return (
        workflow.owner_id == call.account.id
        or "write-to-foreign-accepted" in call.faults
        or (call.request.url.path.endswith("/move") and "write-to-foreign-folder-accepted" in call.faults)
        or (workflow.is_template and "write-to-foreign-template-accepted" in call.faults)
        or (call.account.is_admin and "write-to-foreign-by-admin-accepted" in call.faults)
    )


def _shown(document: dict[str, Any], call: Call) -> dict[str, Any]:
    """The document as it is answered."""
    if not call.faults:
        return document
    shown = dict(document)
    if "workflows-document-lacks-created-by" in call.faults:
        del shown["createdBy"]
    if "workflows-document-names-another-creator" in call.faults:
        shown["createdBy"] = find_key_by_name(call.store, "stranger").account.id
    if "workflows-document-updated-at-epoch" in call.faults:
        shown["updatedAt"] = _EPOCH_MS
    if "workflows-viewport-as-list" in call.faults:
        shown["viewport"] = list(document["viewport"].values())
    if "workflows-node-lacks-position" in call.faults:
        shown["nodes"] = [{k: v for k, v in node.items() if k != "position"} for node in document["nodes"]]
    if "workflows-positions-rounded" in call.faults:
        shown["nodes"] = [
            node | {"position": {axis: round(value) for axis, value in node["position"].items()}}
            for node in document["nodes"]
        ]
    if "workflows-name-escaped" in call.faults:
        shown["name"] = html.escape(document["name"])
    if "workflows-data-escaped" in call.faults:
        shown["nodes"] = [node | {"data": _escaped(node["data"])} for node in document["nodes"]]
    if "workflows-data-left-out" in call.faults:
        shown["nodes"] = [node | {"data": {}} for node in document["nodes"]]
    if "workflows-three-edges-at-most" in call.faults:
        shown["edges"] = document["edges"][:3]
    if "workflows-last-edge-left-out" in call.faults:
        shown["edges"] = document["edges"][:-1]
    if "workflows-edge-lacks-handle" in call.faults:
        shown["edges"] = [
            {k: v for k, v in edge.items() if k != "targetHandle"} for edge in document["edges"]
        ]
    if "workflows-node-id-as-number" in call.faults:
        shown["nodes"] = [node | {"id": number} for number, node in enumerate(document["nodes"])]
    return shown


def _escaped(data: dict[str, Any]) -> dict[str, Any]:
    return {name: html.escape(value) if isinstance(value, str) else value for name, value in data.items()}
