"""Read facts, error codes and operations from nodes of the document; each reader raises the first flaw."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from knouds_harness.contract.capabilities import is_capability
from knouds_harness.contract.nodes import Node, resolve
from knouds_harness.contract.operations import DocumentedResponse, ErrorCode, Header, Operation, placeholders
from knouds_harness.contract.sources import DOCUMENT_SOURCES, Fact, Source

_JSON = "application/json"


def read_fact(node: Node) -> Fact:
    """Read one entry of ``x-facts``."""
    conflict = node.find("conflict")
    return Fact(
        id=node.key,
        says=node.child("says").text(),
        source=_source(node, "source"),
        conflict=conflict.text() if conflict else None,
    )


def read_error_code(node: Node) -> ErrorCode:
    """Read one entry of ``components.x-error-codes``."""
    context = node.find("context")
    provoke = node.find("key-can-provoke")
    return ErrorCode(
        code=node.key,
        statuses=node.child("statuses").whole_numbers(),
        context_fields=context.texts() if context else (),
        source=_source(node, "source"),
        key_can_provoke=provoke is None or provoke.value is not False,
        says=node.child("says").text(),
    )


def read_operation(node: Node, *, path: Node, codes: Collection[str]) -> Operation:
    parameters = [*_parameters(path), *_parameters(node)]
    body = node.find("requestBody")
    media = body.child("content").child(_JSON) if body else None
    names = placeholders(path.key)
    declared = [
        parameter.child("name").text() for parameter in parameters if parameter.child("in").value == "path"
    ]
    if sorted(names) != sorted(declared):
        raise node.flaw(
            f"path parameters {sorted(declared)} must be the placeholders {sorted(names)} of the path"
        )
    error_codes = node.child("x-errors").texts()
    for code in error_codes:
        if code not in codes:
            raise node.child("x-errors").flaw(f'there is no error code "{code}" in components.x-error-codes')
    security, facts = node.find("security"), node.find("x-facts")
    responses = [_response(status) for status in node.child("responses").children()]
    return Operation(
        id=node.child("operationId").text(),
        method=node.key.upper(),
        path=path.key,
        tag=node.child("tags").texts()[0],
        summary=node.child("summary").text(),
        is_public=security is not None and not security.items(),
        alternatives=_alternatives(node, names),
        error_codes=error_codes,
        source=_source(node, "x-source"),
        responses={response.status: response for response in responses},
        request_schema=media.child("schema").value if media else None,
        request_examples=_examples(media) if media else {},
        path_parameters=names,
        query_parameters={
            parameter.child("name").text(): parameter.child("schema").value
            for parameter in parameters
            if parameter.child("in").value == "query"
        },
        facts=facts.texts() if facts else (),
    )


def _parameters(node: Node) -> tuple[Node, ...]:
    parameters = node.find("parameters")
    return tuple(parameter.followed() for parameter in parameters.items()) if parameters else ()


def _alternatives(node: Node, names: Collection[str]) -> tuple[str, ...]:
    capabilities = node.find("x-capabilities")
    if capabilities is None:
        return ()
    alternatives = capabilities.child("anyOf")
    for item in alternatives.items():
        template = item.text()
        if not set(placeholders(template)) <= set(names):
            raise item.flaw(f'"{template}" has a placeholder that the path does not have')
        if not is_capability(template.replace("{", "").replace("}", "").lower()):
            raise item.flaw(f'"{template}" is not a capability: write resource:verb or workflow:{{slug}}:run')
    if not alternatives.items():
        raise alternatives.flaw("must name a capability; leave x-capabilities out if any valid key suffices")
    return alternatives.texts()


def _response(entry: Node) -> DocumentedResponse:
    if not (entry.key.isdigit() and 100 <= int(entry.key) <= 599):
        raise entry.flaw("must be an HTTP status; a default response would make every status documented")
    node = entry.followed()
    content, headers = node.find("content"), node.find("headers")
    media = content.child(_JSON) if content else None
    schema = media.child("schema") if media else None
    header_nodes = {name: headers.child(name) for name in headers.mapping()} if headers else {}
    shapes = [*header_nodes.values(), schema] if schema else header_nodes.values()
    cited = dict.fromkeys(fact for shape in shapes for fact in _facts_of(shape, set()))
    own_fact = node.find("x-fact")
    return DocumentedResponse(
        status=int(entry.key),
        description=node.child("description").text(),
        schema=schema.value if schema else None,
        schema_pointer=schema.pointer if schema else None,
        headers={name: _header(name, header) for name, header in header_nodes.items()},
        source=_source(node, "x-source"),
        fact=own_fact.text() if own_fact else None,
        facts=tuple(cited),
        examples=_examples(media) if media else {},
    )


def _header(name: str, node: Node) -> Header:
    return Header(
        name=name,
        is_required=node.mapping().get("required") is True,
        schema=node.child("schema").value,
        fact=node.child("x-fact").text(),
        pointer=f"{node.pointer}/schema",
    )


def _examples(media: Node) -> Mapping[str, Any]:
    examples = media.find("examples")
    return (
        {example.key: example.followed().child("value").value for example in examples.children()}
        if examples
        else {}
    )


def _facts_of(schema: Node, seen: set[str]) -> Iterator[str]:
    """Yield the facts that a schema cites, also through references, in order of appearance."""
    if schema.pointer in seen:
        return
    seen.add(schema.pointer)
    if isinstance(schema.value, dict):
        for key in schema.value:
            if key == "$ref":
                yield from _facts_of(resolve(schema.root, schema.value[key], at=schema.pointer), seen)
            elif key == "x-fact":
                yield schema.value[key]
            else:
                yield from _facts_of(schema.at(key), seen)
    elif isinstance(schema.value, list):
        for item in schema.items():
            yield from _facts_of(item, seen)


def _source(node: Node, key: str) -> Source:
    child = node.child(key)
    if child.value not in DOCUMENT_SOURCES:
        raise child.flaw(f'must be one of {", ".join(DOCUMENT_SOURCES)}, is "{child.value}"')
    return Source(child.value)
