"""A place in the document: typed access to its value, references, and checks of cited facts and sources."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# The values of these keys are data of the API, not OpenAPI.
_DATA_KEYS = frozenset({"example", "examples", "value", "default", "const", "enum"})
_REFERENCE_KEYS = frozenset({"$ref", "summary", "description"})


class DocumentFlaw(Exception):
    """An error in the document; flaws are collected into one ``DocumentError``."""

    def __init__(self, pointer: str, reason: str) -> None:
        """Take the place and the reason; the reason has no full stop."""
        super().__init__(f"{pointer or '/'}: {reason}.")


@dataclass(frozen=True, kw_only=True)
class Node:
    """A value of the document with the JSON pointer that leads to it."""

    value: Any
    root: Any
    pointer: str = ""

    def flaw(self, reason: str) -> DocumentFlaw:
        return DocumentFlaw(self.pointer, reason)

    def mapping(self) -> Mapping[str, Any]:
        """Return the value if it is a mapping with string keys; raise a flaw otherwise."""
        if not isinstance(self.value, dict):
            raise self.flaw(f"must be a mapping, is {_described(self.value)}")
        for key in self.value:
            if not isinstance(key, str):
                raise self.flaw(f"the key {key!r} must be a string: put it in quotes")
        return self.value

    def text(self) -> str:
        """Return the value if it is a non-empty string; raise a flaw otherwise."""
        if not isinstance(self.value, str) or not self.value:
            raise self.flaw(f"must be a string, is {_described(self.value)}")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """Return the value if it is a list of strings; raise a flaw otherwise."""
        return tuple(item.text() for item in self.items())

    def whole_numbers(self) -> tuple[int, ...]:
        """Return the value if it is a list of whole numbers; raise a flaw otherwise."""
        for item in self.items():
            if type(item.value) is not int:
                raise item.flaw(f"must be a whole number, is {_described(item.value)}")
        return tuple(self.value)

    def items(self) -> tuple[Node, ...]:
        """Return the nodes of a list; raise a flaw if the value is not a list."""
        if not isinstance(self.value, list):
            raise self.flaw(f"must be a list, is {_described(self.value)}")
        return tuple(self.at(index) for index in range(len(self.value)))

    def children(self) -> tuple[Node, ...]:
        """Return the nodes of a mapping; raise a flaw if the value is not a mapping."""
        return tuple(self.at(key) for key in self.mapping())

    def child(self, key: str) -> Node:
        """Return a member with references followed; raise a flaw if it is missing."""
        found = self.find(key)
        if found is None:
            raise self.flaw(f"{key} is missing")
        return found

    def find(self, key: str) -> Node | None:
        """Return a member with references followed, or None if there is no such member."""
        return self.at(key).followed() if key in self.mapping() else None

    @property
    def key(self) -> str:
        """The last step of the pointer."""
        return unescape(self.pointer.rpartition("/")[2])

    def followed(self) -> Node:
        """Return the target of a reference object, or the node itself if it is not one.

        A node with other keywords beside ``$ref`` than ``summary`` and ``description`` is a schema: it stays.
        """
        node, seen = self, set[str]()
        while isinstance(node.value, dict) and "$ref" in node.value and node.value.keys() <= _REFERENCE_KEYS:
            if node.pointer in seen:
                raise self.flaw("the reference leads back to itself")
            seen.add(node.pointer)
            node = resolve(node.root, node.value["$ref"], at=node.pointer)
        return node

    def at(self, key: str | int) -> Node:
        """Return a member or item that exists, without following references."""
        return Node(value=self.value[key], root=self.root, pointer=f"{self.pointer}/{escape(str(key))}")


def resolve(root: object, reference: object, *, at: str) -> Node:
    """Return the node that a reference within the document points to.

    Raises:
        DocumentFlaw: The reference points to nothing, or out of the document.
    """
    if not isinstance(reference, str) or not reference.startswith("#/"):
        raise DocumentFlaw(at, f"the reference {reference!r} must lead into this document, as #/components/…")
    node = Node(value=root, root=root)
    for step in map(unescape, reference[2:].split("/")):
        if isinstance(node.value, list) and step.isdigit() and int(step) < len(node.value):
            node = node.at(int(step))
        elif isinstance(node.value, dict) and step in node.value:
            node = node.at(step)
        else:
            raise DocumentFlaw(at, f'the reference "{reference}" leads nowhere')
    return node


def check_citations(
    root: Node, *, facts: Collection[str], sources: Collection[str]
) -> Iterator[DocumentFlaw]:
    """Yield a flaw for each broken reference, unknown fact and unknown source, anywhere in the document."""
    pending = [root]
    while pending:
        node = pending.pop()
        if isinstance(node.value, list):
            pending.extend(node.items())
        elif isinstance(node.value, dict):
            yield from _citation_flaws(node, facts=facts, sources=sources)
            pending.extend(node.at(key) for key in node.value if key not in _DATA_KEYS)


def _citation_flaws(
    node: Node, *, facts: Collection[str], sources: Collection[str]
) -> Iterator[DocumentFlaw]:
    value = node.value
    if "$ref" in value:
        try:
            resolve(node.root, value["$ref"], at=node.pointer)
        except DocumentFlaw as flaw:
            yield flaw
    cited = value["x-facts"] if isinstance(value.get("x-facts"), list) else []
    for fact in [*cited, value["x-fact"]] if "x-fact" in value else cited:
        if not isinstance(fact, str) or fact not in facts:
            yield node.flaw(f'there is no fact "{fact}" in x-facts')
    if "x-source" in value and value["x-source"] not in sources:
        yield node.flaw(f'x-source must be one of {", ".join(sources)}, is "{value["x-source"]}"')


def is_for_generators(keyword: str, schema: Mapping[str, Any]) -> bool:
    """Return whether a keyword serves code generators only: ``anyOf`` beside an ``if``, which judges."""
    return keyword == "anyOf" and "if" in schema


def escape(step: str) -> str:
    """Turn a key into a step of a JSON pointer."""
    return step.replace("~", "~0").replace("/", "~1")


def unescape(step: str) -> str:
    """Turn a step of a JSON pointer into a key."""
    return step.replace("~1", "/").replace("~0", "~")


def _described(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: f'"{value}"', type(None): "empty"}
    return names.get(type(value), repr(value))
