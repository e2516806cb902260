"""What the document names in responses: members by place, values of open sets, headers, codes, capabilities.

Anything else in a response is new, which is legal. In an open body, nothing counts as new.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from knouds_harness.contract.document import Document, resolve
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


class KnownPlaces:
    """Looks up places in one document; each schema is read once, on first use."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._bodies: dict[tuple[str, int], KnownPlace] = {}

    def body(self, operation: Operation, status: int) -> KnownPlace:
        """Return what is known of a response body; for an undocumented 4xx, the error envelope."""
        key = operation.id, status
        if key not in self._bodies:
            self._bodies[key] = self._read_body(operation, status)
        return self._bodies[key]

    @cached_property
    def delivery(self) -> KnownPlace:
        return self._read(DELIVERY)

    @cached_property
    def headers(self) -> frozenset[str]:
        in_answers = {
            name.lower()
            for operation in self._document.operations
            for response in operation.responses.values()
            for name in response.headers
        }
        parameters = self._document.raw["components"].get("parameters", {}).values()
        return frozenset(
            in_answers | {each["name"].lower() for each in parameters if each.get("in") == "header"}
        )

    @property
    def codes(self) -> Mapping[str, object]:
        return self._document.error_codes

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """Capabilities that operations require (with ``*`` for a bound resource), and wildcards."""
        asked = {
            _PLACEHOLDER.sub("*", each)
            for operation in self._document.operations
            for each in operation.alternatives
        }
        return frozenset(asked | {f"{each.partition(':')[0]}:*" for each in asked} | {EVERYTHING})

    def _read_body(self, operation: Operation, status: int) -> KnownPlace:
        response = operation.responses.get(status)
        if response is None and 400 <= status < 500:
            place = self._read(_ERROR)
        elif response is None or response.schema_pointer is None:
            return FREE
        else:
            place = self._read(response.schema_pointer)
        examples = response.examples.values() if response else ()
        named = [name for example in examples if isinstance(example, dict) for name in example]
        if status >= 400:
            named += [name for code in self._document.error_codes.values() for name in code.context_fields]
            place.members["required"] = KnownPlace(
                listed=self.capabilities,
                items=KnownPlace(listed=self.capabilities, is_free=True),
                is_free=True,
            )
        for name in named:
            place.members.setdefault(name, FREE)
        return place

    def _read(self, pointer: str) -> KnownPlace:
        return self._place([{"$ref": f"#{pointer}"}], frozenset())

    def _place(self, schemas: list[Any], within: frozenset[str]) -> KnownPlace:
        """Merge all schemas of one place; a member or value is known if any of them names it."""
        place = KnownPlace()
        members: dict[str, list[Any]] = {}
        items: list[Any] = []
        followed: set[str] = set()
        for schema in schemas:
            for part, is_certain in self._parts(schema, within, followed):
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
        place.members = {name: self._place(parts, inside) for name, parts in members.items()}
        place.items = self._place(items, inside) if items else None
        place.is_free = place.is_free or not members
        return place

    def _parts(
        self,
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
        reference = schema.get("$ref")
        if reference is not None and reference not in within:  # otherwise the schema is recursive
            followed.add(reference)
            target = resolve(self._document.raw, reference)
            yield from self._parts(target, within, followed, is_certain=is_certain)
        for branch in schema.get("allOf", ()):
            yield from self._parts(branch, within, followed, is_certain=is_certain)
        conditional = [schema[word] for word in ("if", "then", "else") if word in schema]
        for branch in [*conditional, *schema.get("anyOf", ()), *schema.get("oneOf", ())]:
            yield from self._parts(branch, within, followed, is_certain=False)


def named_form(value: str) -> str:
    """Return a value as open sets list it: ``*`` replaces the resource of a bound capability."""
    bound = _BOUND.fullmatch(value)
    return f"{bound[1]}:*:{bound[2]}" if bound else value
