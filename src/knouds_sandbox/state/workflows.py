"""Workflows: their documents, slugs, inputs and cost, and each in the store with its summary for the list.

Source: docs, workflow CRUD and workflow schema. The spelling of node types is assumed.
"""

import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from knouds_sandbox.bodies import invalid_body
from knouds_sandbox.providers import MODELS, ProviderModel
from knouds_sandbox.state.store import Store

REQUEST_INPUT = "requestInput"
RESPONSE_OUTPUT = "responseOutput"
_MAX_TEXT = 10_000
MAX_SLUG = 80
_DEFAULTS = {
    "name": "Untitled",
    "description": "",
    "viewport": {"x": 0, "y": 0, "zoom": 1},
    "publicPlayground": False,
    "folderId": None,
}


def make_slug(name: str, *, longest: int = MAX_SLUG) -> str:
    """Make a slug from a name: lowercase letters, digits and hyphens; ``workflow`` if nothing is left.

    Letters lose their marks, other characters are dropped.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    joined = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    return joined[:longest].strip("-") or "workflow"


def new_members(body: Any) -> dict[str, Any]:
    """Return the members of a new document: those of the body, and defaults for the rest.

    Raises:
        Refusal: 400 ``INVALID_BODY``.
    """
    members = changed_members(body)
    if "name" not in members:
        raise invalid_body("A workflow needs a name.")
    return dict(_DEFAULTS) | {"nodes": [], "edges": [], "tags": []} | members


def changed_members(body: Any) -> dict[str, Any]:
    """Return the members of a document that a body changes.

    Unknown members, and those that the server sets (slug, createdBy, updatedAt), are left out.
    """
    if not isinstance(body, dict):
        raise invalid_body("The document is not a JSON object.")
    members = {}
    for member, (is_valid, expected) in MEMBERS.items():
        if member in body:
            if not is_valid(body[member]):
                raise invalid_body(f"{member} is not {expected}.")
            members[member] = body[member]
    for edge in members.get("edges", ()):
        edge.setdefault("sourceHandle", None)
        edge.setdefault("targetHandle", None)
    return members


def fields(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    declared = [node["data"].get("fields") for node in document["nodes"] if node["type"] == REQUEST_INPUT]
    return [
        field
        for of_node in declared
        if isinstance(of_node, list)
        for field in of_node
        if isinstance(field, dict) and all(isinstance(field.get(name), str) for name in ("name", "type"))
    ]


def defaults(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default values by field name, for inputs that a run leaves out."""
    return {field["name"]: field.get("default") for field in fields(document)}


def generators(document: Mapping[str, Any]) -> list[tuple[ProviderModel, dict[str, Any]]]:
    return [
        (MODELS[node["data"]["modelId"]], node["data"])
        for node in document["nodes"]
        if isinstance(node["data"].get("modelId"), str) and node["data"]["modelId"] in MODELS
    ]


def estimated_credits(document: Mapping[str, Any]) -> int | None:
    """Return the cost of a run with all defaults; None without generator nodes."""
    found = generators(document)
    values = defaults(document)
    return sum(model.cost_credits(settings | values) for model, settings in found) if found else None


def summary(document: Mapping[str, Any], *, is_template: bool) -> dict[str, Any]:
    return {
        "slug": document["slug"],
        "name": document["name"],
        "description": document["description"],
        "tags": document["tags"],
        "isTemplate": is_template,
        "hidden": False,
        "archived": False,
        "createdBy": document["createdBy"],
        "estimatedCreditCost": estimated_credits(document),
        "folderId": document["folderId"],
        "updatedAt": document["updatedAt"],
    }


def schema(document: Mapping[str, Any], *, with_cost: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "fields": fields(document),
        "values": defaults(document),
        "name": document["name"],
        "description": document["description"],
    }
    return described | ({"estimatedCreditCost": estimated_credits(document)} if with_cost else {})


def is_folder(value: Any) -> bool:
    """Return whether a value names a folder, or the root (null)."""
    return value is None or (isinstance(value, str) and 0 < len(value) <= _MAX_TEXT)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT


def _has_numbers(value: Any, *names: str) -> bool:
    return isinstance(value, dict) and all(type(value.get(name)) in (int, float) for name in names)


def _are_nodes(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(node, dict)
        and _is_text(node.get("id"))
        and _is_text(node.get("type"))
        and _has_numbers(node.get("position"), "x", "y")
        and isinstance(node.get("data"), dict)
        for node in value
    )


def _are_edges(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(edge, dict)
        and all(_is_text(edge.get(name)) for name in ("id", "source", "target"))
        and all(edge.get(name) is None or _is_text(edge[name]) for name in ("sourceHandle", "targetHandle"))
        for edge in value
    )


MEMBERS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: _is_text(value) and bool(value.strip()), "a text with something in it"),
    "description": (lambda value: value is None or _is_text(value), "a text"),
    "tags": (lambda value: isinstance(value, list) and all(map(_is_text, value)), "a list of texts"),
    "nodes": (_are_nodes, "a list of nodes with id, type, position and data"),
    "edges": (_are_edges, "a list of edges with id, source and target"),
    "viewport": (lambda value: _has_numbers(value, "x", "y", "zoom"), "an object with numbers x, y and zoom"),
    "publicPlayground": (lambda value: isinstance(value, bool), "a boolean"),
    "folderId": (is_folder, "a text or null"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredWorkflow:
    slug: str
    owner_id: str
    is_template: bool
    document: dict[str, Any]


def find_workflow(store: Store, slug: str) -> StoredWorkflow | None:
    """Return the workflow with this slug, of any account."""
    row = store.row("SELECT slug, owner_id, is_template, document FROM workflows WHERE slug = ?", slug)
    if row is None:
        return None
    return StoredWorkflow(slug=row[0], owner_id=row[1], is_template=bool(row[2]), document=json.loads(row[3]))


def list_summaries(store: Store, account_id: str) -> list[dict[str, Any]]:
    sql = "SELECT summary FROM workflows WHERE owner_id = ? OR is_template ORDER BY slug"
    return [json.loads(text) for (text,) in store.rows(sql, account_id)]


def add_workflow(
    store: Store, members: Mapping[str, Any], *, slug: str, owner_id: str, is_template: bool = False
) -> dict[str, Any]:
    """Store a workflow under the slug, or slug-2, slug-3, … if that is taken; return the document."""
    with store.transaction():
        free = free_slug(store, slug)
        document = {"createdBy": owner_id} | dict(members) | {"slug": free, "updatedAt": now_iso()}
        texts = _texts(document, is_template=is_template)
        store.insert("workflows", slug=free, owner_id=owner_id, is_template=is_template, **texts)
    return document


def change_workflow(store: Store, workflow: StoredWorkflow, members: Mapping[str, Any]) -> dict[str, Any]:
    document = workflow.document | dict(members) | {"updatedAt": now_iso()}
    texts = _texts(document, is_template=workflow.is_template)
    store.write(
        "UPDATE workflows SET slug = :new, document = :document, summary = :summary WHERE slug = :old",
        {"new": document["slug"], "old": workflow.slug, **texts},
    )
    return document


def delete_workflow(store: Store, slug: str) -> None:
    store.write("DELETE FROM workflows WHERE slug = ?", (slug,))


def count_workflows(store: Store, owner_id: str) -> int:
    count: int = store.row("SELECT count(*) FROM workflows WHERE owner_id = ?", owner_id)[0]
    return count


def now_iso() -> str:
    return iso(datetime.now(UTC))


def iso(instant: datetime) -> str:
    """Format an instant as ISO 8601 with milliseconds and Z."""
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def free_slug(store: Store, slug: str) -> str:
    candidates = itertools.chain([slug], (f"{slug}-{number}" for number in itertools.count(2)))
    taken = {
        row[0]
        for row in store.rows(
            "SELECT slug FROM workflows WHERE slug >= ? AND slug < ?", slug, f"{slug}\U0010ffff"
        )
    }
    return next(candidate for candidate in candidates if candidate not in taken)


def _texts(document: Mapping[str, Any], *, is_template: bool) -> dict[str, str]:
    shown = summary(document, is_template=is_template)
    return {"document": json.dumps(document), "summary": json.dumps(shown)}
