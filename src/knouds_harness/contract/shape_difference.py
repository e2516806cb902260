"""Compare two shapes: what was tightened, what was loosened, and whether that breaks a client.

Tightening breaks the sender, loosening breaks the receiver. Another way to write the same shape is not a
change, but schemas under ``anyOf``, ``oneOf``, ``not`` and ``if`` are compared as they are written.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from knouds_harness.contract.document import Document
from knouds_harness.contract.merged_shapes import (
    LOWER_BOUNDS,
    UPPER_BOUNDS,
    Merged,
    Shape,
    is_ruled_out,
    merge,
)
from knouds_harness.contract.nodes import escape

_SHOWN = 90


@dataclass(frozen=True, kw_only=True)
class ShapeChange:
    """One change of a shape.

    Attributes:
        where: Steps into the value: ``*`` for any item, ``then`` and ``else`` for branches of a condition.
        breaks: Whether it breaks a client that relied on the old document.
    """

    where: str
    says: str
    breaks: bool


def shape_changes(
    old: Shape, new: Shape, *, documents: tuple[Document, Document], is_received: bool
) -> list[ShapeChange]:
    """Return all differences between two shapes, apart from texts and examples."""
    return list(_Comparison(documents, is_received=is_received).changes(old, new, ""))


class _Comparison:
    """Walks two shapes side by side; a pair that is already being compared is skipped, so recursion ends."""

    def __init__(self, documents: tuple[Document, Document], *, is_received: bool) -> None:
        self._documents = documents
        self._is_received = is_received
        self._active: set[str] = set()

    def changes(self, old_shape: Shape, new_shape: Shape, where: str) -> Iterator[ShapeChange]:
        key = json.dumps((old_shape, new_shape), sort_keys=True)
        if key in self._active:
            return
        self._active.add(key)
        old, new = merge(old_shape, self._documents[0]), merge(new_shape, self._documents[1])
        promise = old if self._is_received else new

        def change(says: str, keyword: str, *, narrows: bool, widens: bool) -> ShapeChange:
            return self._change(
                where, says, narrows=narrows, widens=widens, is_assumed=promise.assumed.get(keyword, False)
            )

        if old.types != new.types:
            narrows, widens = _compared(old.types, new.types)
            says = f"The type was {_types_shown(old.types)} and is now {_types_shown(new.types)}."
            yield change(says, "type", narrows=narrows, widens=widens)
        if old.types is None or new.types is None or old.types & new.types:
            yield from self._value_changes(old, new, change)
            yield from _bound_changes(old, new, change)
            yield from _rule_changes(old, new, change)
            yield from self._member_changes(old, new, where)
            if old.items or new.items:
                yield from self.changes(old.items, new.items, f"{where}/*")
            for condition in [condition for condition in old.conditions if condition in new.conditions]:
                for branch, step in enumerate(("then", "else")):
                    branches = old.conditions[condition][branch], new.conditions[condition][branch]
                    yield from self.changes(*branches, f"{where}/{step}")
        self._active.remove(key)

    def _value_changes(
        self, old: Merged, new: Merged, change: Callable[..., ShapeChange]
    ) -> Iterator[ShapeChange]:
        verb = "come" if self._is_received else "be sent"
        if old.values is not None and new.values is not None:
            for value in [value for value in new.values if value not in old.values]:
                says = f"{value} may now {verb} too; the set was closed."
                yield change(says, "enum", narrows=False, widens=True)
            for value in [value for value in old.values if value not in new.values]:
                yield change(f"{value} may no longer {verb}.", "enum", narrows=True, widens=False)
        elif old.values is not None:
            says = f"The set was closed ({', '.join(old.values)}) and is now open."
            yield change(says, "enum", narrows=False, widens=True)
        elif new.values is not None:
            says = f"The set is now closed: {', '.join(new.values)}."
            yield change(says, "enum", narrows=True, widens=False)
        elif old.known and new.known:
            for value in sorted(new.known - old.known):
                yield change(f"{value} is new in an open set.", "enum", narrows=False, widens=False)
        if not self._is_received and old.default not in (None, new.default):
            says = f"The default was {old.default} and is now {new.default or 'not set'}."
            yield change(says, "default", narrows=True, widens=True)

    def _member_changes(self, old: Merged, new: Merged, where: str) -> Iterator[ShapeChange]:
        promise = old if self._is_received else new
        for name in dict.fromkeys([*old.members, *new.members]):
            place = f"{where}/{escape(name)}"
            was, now = old.members.get(name), new.members.get(name)
            says, narrows, widens = _presence(name, old, new)
            if says:
                is_assumed = promise.assumed.get(f"required {name}", False)
                if now is None and was is not None:
                    is_required_by_us = old.assumed.get(f"required {name}", True)
                    is_assumed = is_required_by_us and all(assumed for _, assumed in was)
                yield self._change(place, says, narrows=narrows, widens=widens, is_assumed=is_assumed)
            if was is not None and now is not None and not (is_ruled_out(was) or is_ruled_out(now)):
                yield from self.changes(was, now, place)

    def _change(self, where: str, says: str, *, narrows: bool, widens: bool, is_assumed: bool) -> ShapeChange:
        breaks = widens if self._is_received else narrows
        if breaks and is_assumed:
            return ShapeChange(where=where, says=f"{says} That was assumed only.", breaks=False)
        return ShapeChange(where=where, says=says, breaks=breaks)


def _presence(name: str, old: Merged, new: Merged) -> tuple[str, bool, bool]:  # noqa: PLR0911  a case each
    """Return how a member's presence changed ("" if it did not), whether it narrows, whether it widens."""
    was, now = old.members.get(name), new.members.get(name)
    must_be_there = name in new.required
    if now is not None and is_ruled_out(now):
        was_ruled_out = was is not None and is_ruled_out(was)
        return ("", False, False) if was_ruled_out else ("The member is ruled out.", True, bool(was))
    if was is not None and is_ruled_out(was):
        return "The member was ruled out and may now be there.", False, True
    if now is None:
        return "The member is gone.", True, True
    if was is None:
        return f"The member is new{' and must be there' if must_be_there else ''}.", must_be_there, False
    if must_be_there == (name in old.required):
        return "", False, False
    if must_be_there:
        return "The member must now be there.", True, False
    return "The member may now be missing.", False, True


def _bound_changes(old: Merged, new: Merged, change: Callable[..., ShapeChange]) -> Iterator[ShapeChange]:
    for keyword in (*LOWER_BOUNDS, *UPPER_BOUNDS):
        was, now = old.bounds.get(keyword), new.bounds.get(keyword)
        if was == now:
            continue
        narrows = was is None or (now is not None and (now > was) == (keyword in LOWER_BOUNDS))
        shown = ["not set" if value is None else value for value in (was, now)]
        says = f"{keyword} was {shown[0]} and is now {shown[1]}."
        yield change(says, keyword, narrows=narrows, widens=not narrows)


def _rule_changes(old: Merged, new: Merged, change: Callable[..., ShapeChange]) -> Iterator[ShapeChange]:
    for rule in [rule for rule in old.rules if rule not in new.rules]:
        says = f"The rule {_shortened(rule)} is gone."
        yield change(says, old.rules[rule], narrows=False, widens=True)
    for rule in [rule for rule in new.rules if rule not in old.rules]:
        says = f"The rule {_shortened(rule)} is new."
        yield change(says, new.rules[rule], narrows=True, widens=False)


def _compared(old: Iterable[str] | None, new: Iterable[str] | None) -> tuple[bool, bool]:
    """Return whether a set lost something, and whether it gained something; None stands for all values."""
    if old is None or new is None:
        return old is None, new is None
    return not set(old) <= set(new), not set(new) <= set(old)


def _types_shown(types: frozenset[str] | None) -> str:
    if types is None:
        return "any"
    return " or ".join(sorted(types - {"integer"} if "number" in types else types))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
