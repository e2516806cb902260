"""Compare two documents: what breaks a client that relied on the old one, and what only adds to it.

Additive changes are those that the overview allows without notice: a new optional member, capability, code or
endpoint, and anything that promises more or requires less. An assumption was never promised, so its removal
breaks nothing. Texts and examples are not compared.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from knouds_harness.contract.document import FIX_REMEDY, Document
from knouds_harness.contract.merged_shapes import NO_SHAPE, Shape, check_schemas
from knouds_harness.contract.nodes import DocumentFlaw, Node, escape
from knouds_harness.contract.operations import DocumentedResponse, Operation, placeholders
from knouds_harness.contract.shape_difference import shape_changes
from knouds_harness.contract.sources import Source
from knouds_harness.errors import DocumentError

_Parameter: TypeAlias = tuple[bool, Shape]
"""Whether the parameter is required, and its shape."""

_ASSUMED_ONLY = " That was assumed only."


class Kind(StrEnum):
    """Whether a difference breaks clients.

    Attributes:
        UNKNOWN: Undecidable; occurs only if observations are compared, never between documents.
    """

    BREAKING = "breaking"
    ADDITIVE = "additive"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One difference between two documents.

    Attributes:
        place: An operationId or a section such as ``x-facts``, then steps as in a JSON pointer.
    """

    kind: Kind
    place: str
    says: str


def differences(old: Document, new: Document) -> list[Difference]:
    """Compare two documents.

    Returns:
        Every difference, in the order of the documents; nothing for texts and examples.

    Raises:
        DocumentError: One of them has an invalid schema, or a webhook that cannot be read.
    """
    parts = (_access, _operations, _webhooks, _error_codes, _facts)
    for document in (old, new):
        try:
            check_schemas(document)
        except DocumentError as error:
            raise DocumentError(f"{document.source}: {error}\n{FIX_REMEDY}") from error
    try:
        return list(dict.fromkeys(found for part in parts for found in part(old, new)))
    except DocumentFlaw as flaw:
        raise DocumentError(f"{old.source} or {new.source}: {flaw}\n{FIX_REMEDY}") from flaw


def breaking(place: str, says: str, *, is_assumed: bool = False) -> Difference:
    """Make a breaking difference, or an additive one if the removed promise was only assumed."""
    if is_assumed:
        return Difference(kind=Kind.ADDITIVE, place=place, says=says + _ASSUMED_ONLY)
    return Difference(kind=Kind.BREAKING, place=place, says=says)


def additive(place: str, says: str) -> Difference:
    return Difference(kind=Kind.ADDITIVE, place=place, says=says)


def _set(
    place: str, what: str, old: Iterable[str], new: Iterable[str], *, assumed: Container[str] = ()
) -> Iterator[Difference]:
    """Yield the items that a set lost (breaking, unless only assumed) and those that it gained."""
    before, after = tuple(old), tuple(new)
    for item in [item for item in before if item not in after]:
        yield breaking(place, f"{what} {item} is gone.", is_assumed=item in assumed)
    for item in [item for item in after if item not in before]:
        yield additive(place, f"{what} {item} is new.")


def _access(old: Document, new: Document) -> Iterator[Difference]:
    """Compare servers, the way to send a key, and the paths that are closed to keys."""
    yield from _set("servers", "The address", _addresses(old), _addresses(new))
    yield from _set("components/securitySchemes", "The way to send a key", _key_places(old), _key_places(new))
    yield from _set("x-session-only-paths", "The closed path", old.session_only_paths, new.session_only_paths)


def _addresses(document: Document) -> list[str]:
    servers = _root(document).find("servers")
    return [server.child("url").text() for server in servers.items()] if servers else []


def _key_places(document: Document) -> list[str]:
    schemes = _root(document).child("components").find("securitySchemes")
    return [
        ", ".join(str(scheme.mapping().get(part)) for part in ("type", "in", "name"))
        for scheme in (schemes.children() if schemes else ())
    ]


def _root(document: Document) -> Node:
    return Node(value=document.raw, root=document.raw)


def _operations(old: Document, new: Document) -> Iterator[Difference]:
    new_by_route = {_route(operation): operation for operation in new.operations}
    matched: set[str] = set()
    for was in old.operations:
        now = new.operation_by_id.get(was.id) or new_by_route.get(_route(was))
        if now is None or (now.id != was.id and now.id in old.operation_by_id):
            says = f"{was.method} {was.path} is gone."
            yield breaking(was.id, says, is_assumed=was.source is Source.ASSUMED)
        else:
            matched.add(now.id)
            yield from _OldAndNew(old=old, new=new, was=was, now=now).differences()
    for now in new.operations:
        if now.id not in matched:
            yield additive(now.id, f"{now.method} {now.path} is new.")


def _route(operation: Operation) -> tuple[str, str]:
    return operation.method, re.sub(r"\{\w+\}", "{}", operation.path)


@dataclass(frozen=True, kw_only=True)
class _OldAndNew:
    """One operation in both documents."""

    old: Document
    new: Document
    was: Operation
    now: Operation

    def differences(self) -> Iterator[Difference]:
        was, now, place = self.was, self.now, self.was.id
        if was.id != now.id:
            says = f"The operation is now called {now.id}; waivers, recordings and baselines name it."
            yield breaking(place, says)
        if _route(was) != _route(now):
            yield breaking(place, f"{was.method} {was.path} has moved to {now.method} {now.path}.")
        yield from self._admission()
        assumed = [code for code, entry in self.old.error_codes.items() if entry.source is Source.ASSUMED]
        yield from _set(
            f"{place}/x-errors", "The error code", was.error_codes, now.error_codes, assumed=assumed
        )
        yield from self._parameters()
        yield from self._request_body()
        for status in sorted(was.responses.keys() | now.responses.keys()):
            yield from self._response(status)

    def _admission(self) -> Iterator[Difference]:
        place = f"{self.was.id}/x-capabilities"
        was, now = _alternatives(self.was), _alternatives(self.now)
        if self.was.is_public != self.now.is_public:
            if self.now.is_public:
                yield additive(place, "No key is needed any more.")
            else:
                yield breaking(place, "A key is needed now; none was.")
        elif not was and now:
            yield breaking(place, f"Any valid key was admitted; now it must hold {' or '.join(now)}.")
        elif was and not now:
            yield additive(place, "Any valid key is admitted now.")
        else:
            yield from _set(place, "The admitting capability", was, now)

    def _parameters(self) -> Iterator[Difference]:
        old, new = _parameters(self.old, self.was), _parameters(self.new, self.now)
        for name in dict.fromkeys([*old, *new]):
            place = f"{self.was.id}/parameters/{name}"
            was, now = old.get(name), new.get(name)
            if now is None:
                yield breaking(place, "The parameter is gone.")
            elif was is None:
                says = f"The parameter is new{' and required' if now[0] else ''}."
                yield breaking(place, says) if now[0] else additive(place, says)
            else:
                yield from _required(place, "The parameter", was[0], now[0])
                yield from self._shapes(place, was[1], now[1], is_received=False)

    def _request_body(self) -> Iterator[Difference]:
        place = f"{self.was.id}/requestBody"
        shapes = self.was.request_schema, self.now.request_schema
        if shapes[1] is None:
            yield from [breaking(place, "The body is gone.")] if shapes[0] is not None else ()
            return
        yield from _required(
            place, "The body", self.was.request_body_required, self.now.request_body_required
        )
        if shapes[0] is not None:
            yield from self._shapes(place, _shape(shapes[0]), _shape(shapes[1]), is_received=False)
        elif not self.now.request_body_required:
            yield additive(place, "A body may now be sent.")

    def _response(self, status: int) -> Iterator[Difference]:
        place = f"{self.was.id}/responses/{status}"
        was, now = self.was.responses.get(status), self.now.responses.get(status)
        if was is None:
            yield additive(place, "The status is new.")
        elif now is None:
            yield breaking(place, "The status is gone.", is_assumed=was.source is Source.ASSUMED)
        else:
            yield from self._headers(f"{place}/headers", was, now)
            if was.schema is not None and now.schema is not None:
                yield from self._shapes(
                    f"{place}/body", _shape(was.schema), _shape(now.schema), is_received=True
                )
            elif was.schema is not None:
                is_assumed = was.source is Source.ASSUMED
                yield breaking(f"{place}/body", "The body is gone.", is_assumed=is_assumed)
            elif now.schema is not None:
                yield additive(f"{place}/body", "There is a body now.")

    def _headers(self, place: str, was: DocumentedResponse, now: DocumentedResponse) -> Iterator[Difference]:
        new_by_name = {name.lower(): header for name, header in now.headers.items()}
        for name, header in was.headers.items():
            is_assumed = self.old.facts[header.fact].source is Source.ASSUMED
            other = new_by_name.pop(name.lower(), None)
            if other is None:
                yield breaking(f"{place}/{name}", "The header is gone.", is_assumed=is_assumed)
                continue
            if header.is_required and not other.is_required:
                yield breaking(f"{place}/{name}", "The header may now be missing.", is_assumed=is_assumed)
            elif other.is_required and not header.is_required:
                yield additive(f"{place}/{name}", "The header must now be there.")
            shapes = ((header.schema, is_assumed),), _shape(other.schema)
            yield from self._shapes(f"{place}/{name}", *shapes, is_received=True)
        for header in new_by_name.values():
            yield additive(f"{place}/{header.name}", "The header is new.")

    def _shapes(self, place: str, was: Shape, now: Shape, *, is_received: bool) -> Iterator[Difference]:
        yield from _shapes(self.old, self.new, place, (was, now), is_received=is_received)


def _shapes(
    old: Document, new: Document, place: str, shapes: tuple[Shape, Shape], *, is_received: bool
) -> Iterator[Difference]:
    for change in shape_changes(*shapes, documents=(old, new), is_received=is_received):
        kind = Kind.BREAKING if change.breaks else Kind.ADDITIVE
        yield Difference(kind=kind, place=place + change.where, says=change.says)


def _required(place: str, what: str, was: bool, now: bool) -> Iterator[Difference]:  # noqa: FBT001  a pair
    if now and not was:
        yield breaking(place, f"{what} must now be sent.")
    elif was and not now:
        yield additive(place, f"{what} may now be left out.")


def _alternatives(operation: Operation) -> tuple[str, ...]:
    """Name placeholders by position: clients do not see the name of a path parameter."""
    values = {name: f"{{{index}}}" for index, name in enumerate(placeholders(operation.path), start=1)}
    return operation.required_capabilities(values)


def _shape(schema: Mapping[str, Any]) -> Shape:
    return ((schema, False),)


def _parameters(document: Document, operation: Operation) -> dict[str, _Parameter]:
    """Return parameters by place and name; those in the path by place and position."""
    path = _root(document).child("paths").child(operation.path)
    return _read_parameters([path, path.child(operation.method.lower())], placeholders(operation.path))


def _read_parameters(nodes: Iterable[Node], in_path: tuple[str, ...]) -> dict[str, _Parameter]:
    found: dict[str, _Parameter] = {}
    for node in nodes:
        for item in parameters.items() if (parameters := node.find("parameters")) else ():
            parameter = item.followed()
            name, where = parameter.child("name").text(), parameter.child("in").text()
            key = f"path/{in_path.index(name) + 1}" if where == "path" else f"{where}/{escape(name)}"
            schema = parameter.find("schema")
            shape = _shape(schema.value) if schema else NO_SHAPE
            found[key] = parameter.mapping().get("required") is True, shape
    return found


def _webhooks(old: Document, new: Document) -> Iterator[Difference]:
    """Compare webhook deliveries; a client receives them, although the API sends the request."""
    was, now = _deliveries(old), _deliveries(new)
    yield from _set("webhooks", "The delivery", was, now)
    for event in [event for event in was if event in now]:
        shapes = was[event], now[event]
        yield from _shapes(old, new, f"webhooks/{escape(event)}", shapes, is_received=True)


def _deliveries(document: Document) -> dict[str, Shape]:
    """Return each delivery by event, as an object schema with its headers and body as members."""
    webhooks = _root(document).find("webhooks")
    found: dict[str, Shape] = {}
    for event in webhooks.children() if webhooks else ():
        post = event.child("post")
        parts = {key.partition("/")[2]: part for key, part in _read_parameters([event, post], ()).items()}
        if body := post.find("requestBody"):
            parts["body"] = (
                True,
                _shape(body.child("content").child("application/json").child("schema").value),
            )
        required = [name for name, (is_required, _) in parts.items() if is_required]
        properties = {name: {"allOf": [schema for schema, _ in shape]} for name, (_, shape) in parts.items()}
        found[event.key] = _shape({"required": required, "properties": properties})
    return found


def _error_codes(old: Document, new: Document) -> Iterator[Difference]:
    for code, was in old.error_codes.items():
        place, now = f"x-error-codes/{escape(code)}", new.error_codes.get(code)
        is_assumed = was.source is Source.ASSUMED
        if now is None:
            yield breaking(place, "The code is gone.", is_assumed=is_assumed)
            continue
        for status in sorted(set(was.statuses) - set(now.statuses)):
            says = f"It no longer comes with {status}, but with {', '.join(map(str, now.statuses))}."
            yield breaking(place, says, is_assumed=is_assumed)
        for status in sorted(set(now.statuses) - set(was.statuses)):
            yield additive(place, f"It comes with {status} too.")
        fields = was.context_fields if is_assumed else ()
        yield from _set(place, "The context field", was.context_fields, now.context_fields, assumed=fields)
    for code in [code for code in new.error_codes if code not in old.error_codes]:
        yield additive(f"x-error-codes/{escape(code)}", "The code is new.")


def _facts(old: Document, new: Document) -> Iterator[Difference]:
    """Compare facts by id and source; their sentences are texts and may change."""
    for fact, was in old.facts.items():
        place, now = f"x-facts/{escape(fact)}", new.facts.get(fact)
        is_assumed = was.source is Source.ASSUMED
        if now is None:
            yield breaking(place, "The promise is gone.", is_assumed=is_assumed)
        elif now.source is Source.ASSUMED and not is_assumed:
            yield breaking(place, f"The promise of the {was.source} is now assumed only.")
        elif now.source is not was.source:
            yield additive(place, f"The source was {was.source} and is now {now.source}.")
    for fact in [fact for fact in new.facts if fact not in old.facts]:
        yield additive(f"x-facts/{escape(fact)}", f"The promise is new ({new.facts[fact].source}).")
