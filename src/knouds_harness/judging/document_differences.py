"""Where what was written to a workflow is not what is read back, in members that the document names."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.known_places import FREE, KnownPlace, KnownPlaces
from knouds_harness.exchange.evidence import JSON, Exchange


@cache
def _known_places() -> KnownPlaces:
    return KnownPlaces(shipped_document())


def documented_body(exchange: Exchange) -> KnownPlace:
    """What the document names in the body of an answer."""
    operation = shipped_document().operation_by_id.get(exchange.request.operation_id or "")
    if operation is None or exchange.status is None:
        return FREE
    return _known_places().body(operation, exchange.status)


def first_difference(
    expected: JSON, actual: JSON, where: str = "", *, documented: KnownPlace = FREE
) -> tuple[str, JSON, JSON] | None:
    """The first place where something written is not read back.

    Members that a server added, and a null that it leaves out, are not differences; parts with an id are
    matched by it, and the order of texts does not count, since no source says that it is kept. Members that
    ``documented`` does not name are not compared: a server may change them from answer to answer. Where it
    names none, such as in the data of a node, all of them are.

    Returns:
        JSON pointer, what was written there, and what was read; None where all was read back.
    """
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        known = documented.members
        pairs = (
            (name, value, actual.get(name), known.get(name, FREE))
            for name, value in expected.items()
            if not known or name in known
        )
        return _first(pairs, where)
    if isinstance(expected, list) and isinstance(actual, list):
        return _first_list_difference(expected, actual, where, documented.items or FREE)
    is_same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return None if is_same else (where, expected, actual)


def _first_list_difference(
    expected: list[JSON], actual: list[JSON], where: str, documented: KnownPlace
) -> tuple[str, JSON, JSON] | None:
    if len(expected) != len(actual):
        return where, f"{len(expected)} items", f"{len(actual)} items"
    if all(isinstance(item, str) for item in (*expected, *actual)):
        return None if Counter(expected) == Counter(actual) else (where, expected, actual)
    if all(isinstance(item, Mapping) and isinstance(item.get("id"), str) for item in (*expected, *actual)):
        part_by_id = {item["id"]: item for item in actual}
        return _first(
            ((number, item, part_by_id.get(item["id"]), documented) for number, item in enumerate(expected)),
            where,
        )
    pairs = zip(expected, actual, strict=True)
    return _first(((number, *pair, documented) for number, pair in enumerate(pairs)), where)


def _first(
    parts: Iterable[tuple[str | int, JSON, JSON, KnownPlace]], where: str
) -> tuple[str, JSON, JSON] | None:
    for name, expected, actual, documented in parts:
        difference = first_difference(expected, actual, f"{where}/{name}", documented=documented)
        if difference is not None:
            return difference
    return None
