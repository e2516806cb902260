"""Workflow documents: what is accepted, how a slug is made, and what a document says about running it.

Source: docs, workflow CRUD and workflow schema. The spelling of node types is assumed.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from knouds_harness.sandbox.envelopes import invalid_body
from knouds_harness.sandbox.providers import MODELS, Model

REQUEST_INPUT = "requestInput"
RESPONSE_OUTPUT = "responseOutput"
_MAX_TEXT = 10_000
_MAX_SLUG = 80
_DEFAULTS = MappingProxyType(
    {
        "name": "Untitled",
        "description": "",
        "viewport": {"x": 0, "y": 0, "zoom": 1},
        "publicPlayground": False,
        "folderId": None,
    }
)


def make_slug(name: str, faults: Collection[str]) -> str:
    """Make a slug from a name: lowercase letters, digits and hyphens; ``workflow`` where nothing is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    if "create-slug-keeps-capitals" not in faults:
        plain = plain.lower()
    if "create-slug-lacks-digits" in faults:
        plain = re.sub(r"[0-9]", "", plain)
    joiner = "_" if "create-slug-with-underscores" in faults else "-"
    if "create-slug-keeps-underscores" in faults:
        return re.sub(r"[^A-Za-z0-9_]+", joiner, plain)[:_MAX_SLUG].strip("-") or "workflow"
    return re.sub(r"[^A-Za-z0-9]+", joiner, plain).strip("-_")[:_MAX_SLUG].strip("-_") or "workflow"


def checked_members(body: Any, faults: Collection[str], *, is_new: bool) -> dict[str, Any]:
    """Take from a create or update body what belongs to a document.

    Args:
        body: Parsed JSON.
        faults: Promises to break.
        is_new: Whether a name is required and left-out members take their defaults.

    Returns:
        The document's own members; what the server sets (slug, createdBy, updatedAt) and unknown members are
        left out.

    Raises:
        Refusal: 400 ``INVALID_BODY``.
    """
    if not isinstance(body, dict):
        raise invalid_body("The document is no JSON object.")
    members: dict[str, Any] = {}
    for member, (is_valid, expected) in _MEMBERS.items():
        if member not in body:
            continue
        value = body[member]
        if not is_valid(value):
            raise invalid_body(f"{member} is not {expected}.")
        members[member] = value
    if is_new:
        if "name" not in members and "create-without-name-accepted" not in faults:
            raise invalid_body("A workflow needs a name.")
        members = dict(_DEFAULTS) | {"nodes": [], "edges": [], "tags": []} | members
        if "create-drops-empty-data" in faults:
            for node in members["nodes"]:
                node["data"] = {name: value for name, value in node["data"].items() if value}
        if "create-name-keeps-ascii" in faults:
            members["name"] = members["name"].encode("ascii", "ignore").decode()
    for edge in members.get("edges", ()):
        edge.setdefault("sourceHandle", None)
        edge.setdefault("targetHandle", None)
    return members


def fields(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fields of the Request Input node; empty without one."""
    declared = [
        field
        for node in document["nodes"]
        if node["type"] == REQUEST_INPUT and isinstance(node["data"].get("fields"), list)
        for field in node["data"]["fields"]
    ]
    return [
        field
        for field in declared
        if isinstance(field, dict)
        and isinstance(field.get("name"), str)
        and isinstance(field.get("type"), str)
    ]


def defaults(document: Mapping[str, Any]) -> dict[str, Any]:
    """Values by field name that a run takes where its inputs leave them out."""
    return {field["name"]: field.get("default") for field in fields(document)}


def generators(document: Mapping[str, Any]) -> list[tuple[Model, dict[str, Any]]]:
    """The models that a run calls, each with the settings of its node."""
    return [
        (MODELS[node["data"]["modelId"]], node["data"])
        for node in document["nodes"]
        if isinstance(node["data"].get("modelId"), str) and node["data"]["modelId"] in MODELS
    ]


def estimated_credits(document: Mapping[str, Any]) -> int | None:
    """What a run with every default costs; None without generator nodes."""
    found = generators(document)
    values = defaults(document)
    return sum(model.cost_credits(settings | values) for model, settings in found) if found else None


def summary(document: Mapping[str, Any], *, is_template: bool) -> dict[str, Any]:
    """The document's line in the list."""
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


def schema(document: Mapping[str, Any], *, with_cost: bool, faults: Collection[str]) -> dict[str, Any]:
    """Describe the Request Input node for whoever builds a form."""
    described: dict[str, Any] = {
        "fields": fields(document),
        "values": defaults(document),
        "name": document["name"],
        "description": document["description"],
    }
    if with_cost or "schema-public-with-cost" in faults:
        described["estimatedCreditCost"] = estimated_credits(document)
    if not described["fields"] and "schema-fields-null-without-input" in faults:
        described["fields"] = None
    if described["fields"] and "schema-field-lacks-type" in faults:
        described["fields"] = [
            {k: v for k, v in field.items() if k != "type"} for field in described["fields"]
        ]
    if described["fields"] and "schema-field-lacks-name" in faults:
        described["fields"] = [
            {k: v for k, v in field.items() if k != "name"} for field in described["fields"]
        ]
    if not with_cost and "schema-public-lacks-the-last-field" in faults:
        described["fields"] = described["fields"][:-1]
    if with_cost and "schema-lacks-values" in faults:
        del described["values"]
    if with_cost and "schema-lacks-cost" in faults:
        del described["estimatedCreditCost"]
    if with_cost and "schema-cost-as-text" in faults:
        described["estimatedCreditCost"] = str(described["estimatedCreditCost"])
    if not with_cost and "schema-public-lacks-fields" in faults:
        del described["fields"]
    return described


def is_folder(value: Any) -> bool:
    """Whether this names a folder, or the root."""
    return value is None or (isinstance(value, str) and 0 < len(value) <= _MAX_TEXT)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT


def _is_name(value: Any) -> bool:
    return _is_text(value) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _are_tags(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text(tag) for tag in value)


def _has_numbers(value: Any, *names: str) -> bool:
    return isinstance(value, dict) and all(_is_number(value.get(name)) for name in names)


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


def _is_viewport(value: Any) -> bool:
    return _has_numbers(value, "x", "y", "zoom")


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_description(value: Any) -> bool:
    return value is None or _is_text(value)


_MEMBERS = {
    "name": (_is_name, "a text with something in it"),
    "description": (_is_description, "a text"),
    "tags": (_are_tags, "a list of texts"),
    "nodes": (_are_nodes, "a list of nodes with id, type, position and data"),
    "edges": (_are_edges, "a list of edges with id, source and target"),
    "viewport": (_is_viewport, "an object of the numbers x, y and zoom"),
    "publicPlayground": (_is_bool, "a boolean"),
    "folderId": (is_folder, "a text or null"),
}
