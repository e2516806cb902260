"""Read the OpenAPI document into typed objects; ``tests/unit/spec`` checks that it is well-formed."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Final

import yaml

from knouds_harness.contract.operations import (
    DocumentedResponse,
    ErrorCode,
    Fact,
    Header,
    Operation,
    Source,
    placeholders,
)
from knouds_harness.locations import document_path

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_JSON: Final = "application/json"
Part = Any
"""Any part of the document, as parsed."""
_REFERENCE_KEYS: Final = frozenset({"$ref", "summary", "description"})


@dataclass(frozen=True, kw_only=True, eq=False)  # compared by identity, so that it can be a key
class Document:
    """The contract.

    Attributes:
        session_only_paths: Paths where a GET with a key must not succeed.
    """

    raw: dict[str, Any]
    title: str
    version: str
    sha256: str
    operations: tuple[Operation, ...]
    facts: Mapping[str, Fact]
    error_codes: Mapping[str, ErrorCode]
    session_only_paths: tuple[str, ...]

    @cached_property
    def operation_by_id(self) -> Mapping[str, Operation]:
        return {operation.id: operation for operation in self.operations}

    def recognise(self, method: str, path: str) -> tuple[Operation, Mapping[str, str]] | None:
        """Find the operation that a request addresses, and its decoded path values.

        ``path`` is as sent: percent-encoded, without the query.
        """
        for operation in self.operations:
            if operation.method == method.upper():
                values = operation.path_values(path)
                if values is not None:
                    return operation, values
        return None


@cache
def shipped_document() -> Document:
    content = document_path().read_bytes()
    raw = yaml.load(content, Loader=_LOADER)  # noqa: S506  both loaders are the safe one
    return Document(
        raw=raw,
        title=raw["info"]["title"],
        version=raw["info"]["version"],
        sha256=hashlib.sha256(content).hexdigest(),
        operations=tuple(
            _operation(raw, path, method)
            for path, item in raw["paths"].items()
            for method in item
            if method in _METHODS
        ),
        facts={name: _fact(name, each) for name, each in raw["x-facts"].items()},
        error_codes={name: _code(name, each) for name, each in raw["components"]["x-error-codes"].items()},
        session_only_paths=tuple(raw["x-session-only-paths"]),
    )


def resolve(raw: Part, reference: str) -> Part:
    """Return what a reference within the document, such as ``#/components/schemas/Slug``, points to."""
    node = raw
    for step in steps_of(reference[1:]):
        node = node[int(step) if isinstance(node, list) else step]
    return node


def value_at(body: Any, pointer: str) -> Any:  # noqa: ANN401 - JSON of any shape
    """Return the value at a JSON pointer in a body; None if there is none."""
    for step in steps_of(pointer):
        members = {str(index): each for index, each in enumerate(body)} if isinstance(body, list) else body
        body = members.get(step) if isinstance(members, dict) else None
    return body


def steps_of(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def _followed(raw: Part, pointer: str) -> tuple[str, Part]:
    """Return the place that a pointer leads to, behind reference objects, and its value.

    A schema that has other keywords beside ``$ref`` stays.
    """
    value = resolve(raw, f"#{pointer}")
    while isinstance(value, dict) and "$ref" in value and value.keys() <= _REFERENCE_KEYS:
        pointer = value["$ref"][1:]
        value = resolve(raw, f"#{pointer}")
    return pointer, value


def _fact(name: str, node: Mapping[str, Any]) -> Fact:
    return Fact(id=name, says=node["says"], source=Source(node["source"]), conflict=node.get("conflict"))


def _code(name: str, node: Mapping[str, Any]) -> ErrorCode:
    return ErrorCode(
        code=name,
        statuses=tuple(node["statuses"]),
        context_fields=tuple(node.get("context", ())),
        source=Source(node["source"]),
        key_can_provoke=node.get("key-can-provoke") is not False,
    )


def _operation(raw: Part, path: str, method: str) -> Operation:
    item = raw["paths"][path]
    node, pointer = item[method], f"/paths/{escape(path)}/{method}"
    parameters = [_value(raw, each) for each in (*item.get("parameters", ()), *node.get("parameters", ()))]
    media = _value(raw, node["requestBody"])["content"][_JSON] if "requestBody" in node else None
    responses = [_response(raw, status, f"{pointer}/responses/{status}") for status in node["responses"]]
    return Operation(
        id=node["operationId"],
        method=method.upper(),
        path=path,
        tag=node["tags"][0],
        is_public=node.get("security") == [],
        alternatives=tuple(node["x-capabilities"]["anyOf"]) if "x-capabilities" in node else (),
        error_codes=tuple(node["x-errors"]),
        source=Source(node["x-source"]),
        responses={response.status: response for response in responses},
        request_schema=_value(raw, media["schema"]) if media else None,
        request_examples=_examples(raw, media),
        path_parameters=placeholders(path),
        query_parameters={
            each["name"]: _value(raw, each["schema"]) for each in parameters if each["in"] == "query"
        },
        facts=tuple(node.get("x-facts", ())),
    )


def _response(raw: Part, status: str, pointer: str) -> DocumentedResponse:
    pointer, node = _followed(raw, pointer)
    media = node.get("content", {}).get(_JSON)
    schema_pointer, schema = None, None
    if media:
        schema_pointer, schema = _followed(raw, f"{pointer}/content/{escape(_JSON)}/schema")
    headers = {name: _followed(raw, f"{pointer}/headers/{name}") for name in node.get("headers", ())}
    shapes = [*(header for _, header in headers.values()), schema]
    return DocumentedResponse(
        status=int(status),
        schema=schema,
        schema_pointer=schema_pointer,
        headers={name: _header(raw, name, *place) for name, place in headers.items()},
        source=Source(node["x-source"]),
        fact=node.get("x-fact"),
        facts=tuple(dict.fromkeys(fact for shape in shapes for fact in _facts_of(raw, shape, []))),
        examples=_examples(raw, media),
    )


def _header(raw: Part, name: str, pointer: str, node: Mapping[str, Any]) -> Header:
    return Header(
        name=name,
        is_required=node.get("required") is True,
        schema=_value(raw, node["schema"]),
        fact=node["x-fact"],
        pointer=f"{pointer}/schema",
    )


def _examples(raw: Part, media: Mapping[str, Any] | None) -> Mapping[str, Any]:
    examples = media.get("examples", {}) if media else {}
    return {name: _value(raw, example)["value"] for name, example in examples.items()}


def _value(raw: Part, node: Part) -> Part:
    while "$ref" in node and node.keys() <= _REFERENCE_KEYS:
        node = resolve(raw, node["$ref"])
    return node


def _facts_of(raw: Part, node: Part, within: list[Part]) -> Iterator[str]:
    """Yield the facts that a schema cites, also through references, in order of appearance."""
    if isinstance(node, list):
        for item in node:
            yield from _facts_of(raw, item, within)
    elif isinstance(node, dict) and not any(each is node for each in within):
        within.append(node)
        for key, value in node.items():
            if key == "$ref":
                yield from _facts_of(raw, resolve(raw, value), within)
            elif key == "x-fact":
                yield value
            else:
                yield from _facts_of(raw, value, within)
