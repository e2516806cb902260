"""What a success shows, compared with what was sent or read, up to what a legal server may do to it.

A legal server may trim a text, compose its characters, turn its line ends, spell numbers and times otherwise,
leave out what is empty, and keep no member that no page names. It may not lose, cut, escape or swap.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.known_places import FREE, KnownPlace, known_body
from knouds_harness.exchange.evidence import JSON, Exchange

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
_LINE_END: Final = re.compile(r"\r\n?")


def as_kept(value: JSON) -> JSON:
    """Return a value in one spelling, which is the same for all that a legal server may make of it."""
    if isinstance(value, str):
        return _instant(value) or unicodedata.normalize("NFC", _LINE_END.sub("\n", value)).strip()
    if isinstance(value, Mapping):
        return {as_kept(name): as_kept(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [as_kept(item) for item in value]
    return value if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def _instant(text: str) -> str:
    """Return a time in UTC and whole seconds; empty for any other text."""
    try:
        time = datetime.fromisoformat(text) if _TIME.match(text) else None
    except ValueError:
        return ""
    return "" if time is None or time.tzinfo is None else f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _is_empty(value: JSON) -> bool:
    return value is None or value is False or value in ("", [])


def is_same_text(one: object, other: object) -> bool:
    """Return whether two texts are one, up to what a legal server may do to it."""
    return bool(as_kept(one) == as_kept(other))


def documented_body(exchange: Exchange) -> KnownPlace:
    """Return what the document names in the body of a response."""
    operation = shipped_document().operation_by_id.get(exchange.request.operation_id or "")
    if operation is None or exchange.status is None:
        return FREE
    return known_body(operation, exchange.status)


def first_difference(
    expected: JSON, actual: JSON, where: str = "", *, documented: KnownPlace = FREE, is_optional: bool = False
) -> tuple[str, JSON, JSON] | None:
    """Return the first place where a written value is not read back.

    Not differences: what ``as_kept`` makes equal, a member that the server added, a null that it leaves out,
    and another order of items with an id, or of strings (no source promises an order). Only members that
    ``documented`` names are compared, as a server may change others from response to response; if it names
    none, as in the data of a node, all are. An optional one may be null, false, empty or missing alike.

    Returns:
        JSON pointer, written value and read value; None if everything was read back.
    """
    if is_optional and _is_empty(expected) and _is_empty(actual):
        return None
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        known, shown = documented.members, {as_kept(name): value for name, value in actual.items()}
        for name in (each for each in expected if not known or each in known):
            difference = first_difference(
                expected[name],
                shown.get(as_kept(name)),
                f"{where}/{name}",
                documented=known.get(name, FREE),
                is_optional=name in known and name not in documented.required,
            )
            if difference is not None:
                return difference
        return None
    if isinstance(expected, list) and isinstance(actual, list):
        return _first_list_difference(expected, actual, where, documented.items or FREE)
    is_same = as_kept(expected) == as_kept(actual) and isinstance(expected, bool) == isinstance(actual, bool)
    return None if is_same else (where, expected, actual)


def _first_list_difference(
    expected: list[JSON], actual: list[JSON], where: str, documented: KnownPlace
) -> tuple[str, JSON, JSON] | None:
    items = [*expected, *actual]
    if len(expected) != len(actual):
        return where, f"{len(expected)} items", f"{len(actual)} items"
    if all(isinstance(item, str) for item in items):
        is_same = Counter(map(as_kept, expected)) == Counter(map(as_kept, actual))
        return None if is_same else (where, expected, actual)
    if all(isinstance(item, Mapping) and isinstance(item.get("id"), str) for item in items):
        item_by_id = {as_kept(item["id"]): item for item in actual}
        actual = [item_by_id.get(as_kept(item["id"])) for item in expected]
    for number, (item, shown) in enumerate(zip(expected, actual, strict=True)):
        difference = first_difference(item, shown, f"{where}/{number}", documented=documented)
        if difference is not None:
            return difference
    return None
