"""What the document names in responses: members by place, values of open sets, headers, codes, capabilities.

Anything else in a response is new, which is legal. In an open body, nothing counts as new.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from knouds_harness.contract.document import resolve, shipped_document
from knouds_harness.contract.operations import EVERYTHING, Operation
from knouds_harness.contract.shapes import DELIVERY

_ERROR: Final = "/components/schemas/Error"
_PLACEHOLDER = re.compile(r"\{\w+\}")
_BOUND = re.compile(r"([a-z-]+):[^:]+:([a-z-]+)")


@dataclass(kw_only=True)
class KnownPlace:
    """What the document says about one place in a body, all conditional branches merged.

    Attributes:
        required: Names of members that are required unconditionally.
        listed: Values of an open set that the document names; None if other values are not drift.
        is_free: Members that the document does not name are not drift.
    """

    members: dict[str, KnownPlace] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    items: KnownPlace | None = None
    listed: frozenset[str] | None = None
    is_free: bool = False


FREE: Final = KnownPlace(is_free=True)
"""A place that the document says nothing about."""


@cache
def known_body(operation: Operation, status: int) -> KnownPlace:
    """Return what is known of a response body; for an undocumented 4xx, the error envelope."""
    response = operation.responses.get(status)
    if response is None and 400 <= status < 500:
        place = _read(_ERROR)
    elif response is None or response.schema_pointer is None:
        return FREE
    else:
        place = _read(response.schema_pointer)
    examples = response.examples.values() if response else ()
    named = [name for example in examples if isinstance(example, dict) for name in example]
    if status >= 400:
        named += [name for code in shipped_document().error_codes.values() for name in code.context_fields]
        place.members["required"] = KnownPlace(
            listed=known_capabilities(),
            items=KnownPlace(listed=known_capabilities(), is_free=True),
            is_free=True,
        )
    for name in named:
        place.members.setdefault(name, FREE)
    return place


@cache
def known_delivery() -> KnownPlace:
    return _read(DELIVERY)


@cache
def known_headers() -> frozenset[str]:
    responses = (each for operation in shipped_document().operations for each in operation.responses.values())
    parameters = shipped_document().raw["components"]["parameters"].values()
    return frozenset(
        {name.lower() for response in responses for name in response.headers}
        | {each["name"].lower() for each in parameters if each["in"] == "header"}
    )


@cache
def known_capabilities() -> frozenset[str]:
    """Return what operations require (with ``*`` for a bound resource), and wildcards."""
    asked = {
        _PLACEHOLDER.sub("*", each)
        for operation in shipped_document().operations
        for each in operation.alternatives
    }
    return frozenset(asked | {f"{each.partition(':')[0]}:*" for each in asked} | {EVERYTHING})


def _read(pointer: str) -> KnownPlace:
    return _place([{"$ref": f"#{pointer}"}], frozenset())


def _place(schemas: list[Any], within: frozenset[str]) -> KnownPlace:
    """Merge all schemas of one place; a member or value is known if any of them names it."""
    place = KnownPlace()
    members: dict[str, list[Any]] = {}
    items: list[Any] = []
    followed: set[str] = set()
    for schema in schemas:
        for part, is_certain in _parts(schema, within, followed):
            for name, member in part.get("properties", {}).items():
                members.setdefault(name, []).append(member)
            if is_certain:
                place.required.update(part.get("required", ()))
            if "items" in part:
                items.append(part["items"])
            if part.get("x-drift") is False:
                place.is_free = True
            elif str(part.get("description", "")).startswith("Open set:"):
                place.listed = frozenset(part["examples"])
    inside = within | followed
    place.members = {name: _place(parts, inside) for name, parts in members.items()}
    place.items = _place(items, inside) if items else None
    place.is_free = place.is_free or not members
    return place


def _parts(
    schema: Any,  # noqa: ANN401  a mapping, or true or false
    within: frozenset[str],
    followed: set[str],
    *,
    is_certain: bool = True,
) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Yield a schema and its subschemas for the same place, with whether each is unconditional."""
    if not isinstance(schema, dict):
        return
    yield schema, is_certain
    certain = list(schema.get("allOf", ()))
    reference = schema.get("$ref")
    if reference is not None and reference not in within:  # otherwise the schema is recursive
        followed.add(reference)
        certain.insert(0, resolve(shipped_document().raw, reference))
    for branch in certain:
        yield from _parts(branch, within, followed, is_certain=is_certain)
    conditional = [schema[word] for word in ("if", "then", "else") if word in schema]
    for branch in [*conditional, *schema.get("anyOf", ()), *schema.get("oneOf", ())]:
        yield from _parts(branch, within, followed, is_certain=False)


def named_form(value: str) -> str:
    """Return a value as open sets list it: ``*`` replaces the resource of a bound capability."""
    bound = _BOUND.fullmatch(value)
    return f"{bound[1]}:*:{bound[2]}" if bound else value
