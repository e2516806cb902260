"""Our document as peers need it: naming what the sandbox holds, and in OpenAPI 3.0 where 3.1 is not read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
from counted import Counted

from knouds_harness.contract.document import shipped_document

JSON = Any
_METHODS = ("get", "post", "put", "delete")
_LEFT_OUT = ("if", "then", "else", "const", "links")
_SLUG_BY_OPERATION = {
    # each write has a workflow of its own, so that no order of requests takes another's away
    "updateWorkflow": "peer-updates",
    "moveWorkflow": "peer-moves",
    "deleteWorkflow": "peer-deletes",
}
_CREATED = ("Peer Updates", "Peer Moves", "Peer Deletes")
_JOB_OF = ("getExecution", "cancelExecution")
SEEDING_REQUESTS = len(_CREATED) + len(_JOB_OF)
SEEDING_RUNS = len(_JOB_OF)


def write_openapi_31(sandbox: Counted, folder: Path) -> str:
    """Make what the document's examples name, and write the document for it; returns the file's name."""
    return _written(document_for(sandbox, seeded(sandbox)), folder)


def write_openapi_30(sandbox: Counted, folder: Path) -> str:
    """The same in OpenAPI 3.0."""
    return _written(as_openapi_30(document_for(sandbox, seeded(sandbox))), folder)


def _written(document: JSON, folder: Path) -> str:
    (folder / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    return "openapi.json"


def seeded(sandbox: Counted) -> dict[str, str]:
    """Create workflows to write to and submit jobs to follow, as the business account, which owns one to run.

    Returns:
        The executions by the operation that they are for; empty texts where the sandbox refused.
    """
    key = {"x-api-key": sandbox.keys["business"]}
    with httpx.Client(base_url=sandbox.base_url, headers=key) as client:
        for name in _CREATED:
            client.post("/api/workflows", json={"name": name})
        jobs = {}
        for operation_id in _JOB_OF:
            submitted = client.post("/api/models/gpt-image-2/run?async=true", json={"inputs": {}})
            body = submitted.json() if submitted.content.startswith(b"{") else {}
            jobs[operation_id] = str(body.get("executionId", ""))
    return jobs


def document_for(sandbox: Counted, execution_id_by_operation: Mapping[str, str]) -> dict[str, JSON]:
    """The document with one example for each path parameter, of a resource that the sandbox holds.

    Args:
        sandbox: What it holds, and how it answers.
        execution_id_by_operation: An execution to read and one to cancel.
    """
    document = deepcopy(shipped_document().raw)
    slugs = {**_SLUG_BY_OPERATION, "getPublicWorkflowSchema": sandbox.public_workflow}
    for item in document["paths"].values():
        shared = item.pop("parameters", [])
        for method in _METHODS:
            operation = item.get(method)
            if operation is None:
                continue
            known = {
                "slug": slugs.get(operation["operationId"], sandbox.workflow),
                "internalName": "seedream-v5",
                "id": execution_id_by_operation.get(operation["operationId"], ""),
            }
            operation["responses"].pop(sandbox.never_given.get(operation["operationId"]), None)
            parameters = [_resolved(each, document) for each in (*shared, *operation.get("parameters", ()))]
            operation["parameters"] = [
                {**_without(each, "examples"), "example": known[each["name"]]}
                if each["in"] == "path"
                else _without(each, "examples")
                for each in parameters
            ]
    for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"):
        # what holds for the account that the peers use
        document["components"]["headers"][name] |= {
            "required": True,
            "schema": {"type": "integer", "minimum": 0, "maximum": 9999999999},
        }
    return document


def as_openapi_30(document: Mapping[str, JSON]) -> dict[str, JSON]:
    """The same in OpenAPI 3.0.3: what 3.0 cannot say is left out, and each body has one example."""
    older = {key: _older(value, document) for key, value in document.items() if not key.startswith("x-")}
    for item in older["paths"].values():
        for operation in item.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":  # Specmatic makes values up unless only one is allowed
                    parameter["schema"] = {"type": "string", "enum": [parameter["example"]]}
    del older["webhooks"], older["info"]["summary"], older["info"]["license"]["identifier"]
    return {**older, "openapi": "3.0.3"}


def _is_misread(key: str, value: JSON) -> bool:
    """Specmatic takes a pattern that begins with a slash for one between delimiters, and tests nothing."""
    return key == "pattern" and isinstance(value, str) and value.lstrip("^").startswith("/")


def _older(node: JSON, document: Mapping[str, JSON]) -> JSON:
    if isinstance(node, list):
        return [_older(each, document) for each in node]
    if not isinstance(node, dict):
        return node
    if "if" in node and "$ref" in node.get("else", {}):
        return node["else"]  # a run's result, or its submit: what the peers send is no submit
    older = {
        key: value if key in ("value", "example") else _older(value, document)
        for key, value in node.items()
        if not key.startswith("x-") and key not in _LEFT_OUT and not _is_misread(key, value)
    }
    if isinstance(node.get("properties"), dict):
        older["properties"] = {
            name: {} if each is True else each for name, each in older["properties"].items()
        }
    if "const" in node:
        older["enum"] = [node["const"]]
    if isinstance(node.get("type"), list):
        del older["type"]
        kinds = [kind for kind in node["type"] if kind != "null"]
        older |= {"type": kinds[0]} if len(kinds) == 1 else {}
        older |= {"nullable": True} if "null" in node["type"] and len(kinds) == 1 else {}
    if isinstance(node.get("examples"), list):
        del older["examples"]
    elif "schema" in node and node.get("examples"):
        first = _resolved(next(iter(node["examples"].values())), document)
        del older["examples"]
        older["example"] = first["value"]
    return older


def _resolved(node: dict[str, JSON], document: Mapping[str, JSON]) -> dict[str, JSON]:
    while "$ref" in node:
        target: JSON = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def _without(node: Mapping[str, JSON], key: str) -> dict[str, JSON]:
    return {name: value for name, value in node.items() if name != key}
