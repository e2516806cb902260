"""What was seen at each place of a response, and what the document says about that place."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from knouds_harness.contract.document import escape
from knouds_harness.contract.known_places import FREE, KnownPlace, named_form
from knouds_harness.exchange.evidence import JSON, Exchange

_TYPE_BY_CLASS: Final = {
    dict: "object",
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}
MOST_PER_PLACE: Final = 100
"""Limits names and values per place, so that a server that invents them cannot fill the record."""

_LONGEST_NAME: Final = 80
_LARGEST_BYTES: Final = 200_000


@dataclass(kw_only=True, slots=True)
class Sighting:
    """How often something new was seen, and the exchange that showed it first."""

    first: Exchange
    count: int = 0


@dataclass(kw_only=True, slots=True)
class ObservedPlace:
    """What was seen at one place: a body, a member, any item of an array, or a header.

    Attributes:
        values: Values seen of an open set.
    """

    known: KnownPlace
    pointer: str = ""
    first: Exchange
    is_drift: bool = False
    count: int = 0
    types: set[str] = field(default_factory=set)
    members: dict[str, ObservedPlace] = field(default_factory=dict)
    items: ObservedPlace | None = None
    values: dict[str, Sighting] = field(default_factory=dict)

    def all(self) -> Iterator[ObservedPlace]:
        """Yield this place and all below."""
        yield self
        for member in self.members.values():
            yield from member.all()
        if self.items is not None:
            yield from self.items.all()


def look(place: ObservedPlace, value: JSON, exchange: Exchange, *, sent: SentValues | None) -> None:
    """Add one body. Called for every member of every response, so it has to be fast."""
    place.count += 1
    kind = _TYPE_BY_CLASS[type(value)]
    place.types.add(kind)
    known = place.known
    if kind == "object":
        if not known.members and place.pointer:
            return  # a map with user-defined names, or something new: its members are left out
        members = place.members
        for name, each in value.items():
            member = members.get(name) or _met(place, name, exchange, sent)
            if member is not None:
                look(member, each, exchange, sent=sent)
    elif kind == "array":
        if known.items is not None and value:
            if place.items is None:
                place.items = ObservedPlace(known=known.items, pointer=f"{place.pointer}/*", first=exchange)
            for each in value:
                look(place.items, each, exchange, sent=sent)
    elif kind == "string" and known.listed is not None:
        _note_value(place, value, exchange, sent)


def _met(
    place: ObservedPlace, name: str, exchange: Exchange, sent: SentValues | None
) -> ObservedPlace | None:
    """Add a member that was not seen before; return None if it is left out."""
    pointer = f"{place.pointer}/{escape(name)}"
    known = place.known.members.get(name)
    if known is None:
        is_left_out = place.known.is_free and place.pointer
        if is_left_out or len(name) > _LONGEST_NAME or len(place.members) >= MOST_PER_PLACE:
            return None
        if sent is not None and sent.is_our_member(pointer):
            return None
    member = ObservedPlace(
        known=known or FREE,
        pointer=pointer,
        first=exchange,
        is_drift=known is None and not place.known.is_free,
    )
    place.members[name] = member
    return member


def _note_value(place: ObservedPlace, value: str, exchange: Exchange, sent: SentValues | None) -> None:
    name = named_form(value)
    is_listed = name in (place.known.listed or ())
    if name in place.values or is_listed or sent is None or not sent.is_our_text(value):
        note(place.values, name, exchange)


def note(seen_by_name: dict[str, Sighting], name: str, exchange: Exchange) -> None:
    """Count a value or code, unless it is too long or one too many."""
    seen = seen_by_name.get(name)
    if seen is None:
        if len(name) > _LONGEST_NAME or len(seen_by_name) >= MOST_PER_PLACE:
            return
        seen = seen_by_name[name] = Sighting(first=exchange)
    seen.count += 1


class SentValues:
    """Members and texts that the suite wrote into workflows: when they come back, they are not drift.

    A workflow that is read and written again also holds what the server added to it. So the side that sent a
    member or text first counts as its author.
    """

    def __init__(self) -> None:
        self._ours: dict[str, set[str]] = defaultdict(set)
        self._theirs: dict[str, set[str]] = defaultdict(set)
        self._our_texts: set[str] = set()
        self._their_texts: set[str] = set()

    def remember(self, body: bytes) -> None:
        """Note the members and texts of a request body, if it is JSON."""
        if len(body) > _LARGEST_BYTES:
            return
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return
        pending: list[tuple[str, JSON]] = [("", value)]
        while pending:
            where, each = pending.pop()
            if isinstance(each, dict):
                for name, member in each.items():
                    pointer = f"{where}/{escape(name)}"
                    if not _has(self._theirs, pointer):
                        self._ours[_last(pointer)].add(pointer)
                    pending.append((pointer, member))
            elif isinstance(each, list):
                pending += [(f"{where}/*", item) for item in each]
            elif isinstance(each, str) and each not in self._their_texts:
                self._our_texts.add(each)

    def is_our_member(self, pointer: str) -> bool:
        """Return whether a member came from us; if not, it counts as the server's from now on."""
        if _has(self._ours, pointer):
            return True
        self._theirs[_last(pointer)].add(pointer)
        return False

    def is_our_text(self, text: str) -> bool:
        """Return whether a text came from us; if not, it counts as the server's from now on."""
        if text in self._our_texts:
            return True
        self._their_texts.add(text)
        return False


def _has(pointers: dict[str, set[str]], pointer: str) -> bool:
    """Whether one pointer ends with the other: lists and schemas show parts of a workflow elsewhere."""
    known = pointers.get(_last(pointer), ())
    return any(each.endswith(pointer) or pointer.endswith(each) for each in known)


def _last(pointer: str) -> str:
    return pointer.rpartition("/")[2]
