"""Where what was written to a workflow is not what is read back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from knouds_harness.exchange.evidence import JSON


def first_difference(expected: JSON, actual: JSON, where: str = "") -> tuple[str, JSON, JSON] | None:
    """The first place where something written is not read back.

    Members that a server added are no difference, a null that it leaves out neither; parts with an id are
    matched by it, and the order of texts does not count, since no source says that it is kept.

    Returns:
        JSON pointer, what was written there, and what was read; None where all was read back.
    """
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        pairs = ((name, value, actual.get(name)) for name, value in expected.items())
        return _first(pairs, where)
    if isinstance(expected, list) and isinstance(actual, list):
        return _first_list_difference(expected, actual, where)
    is_same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return None if is_same else (where, expected, actual)


def _first_list_difference(
    expected: list[JSON], actual: list[JSON], where: str
) -> tuple[str, JSON, JSON] | None:
    if len(expected) != len(actual):
        return where, f"{len(expected)} items", f"{len(actual)} items"
    if all(isinstance(item, str) for item in (*expected, *actual)):
        return None if Counter(expected) == Counter(actual) else (where, expected, actual)
    if all(isinstance(item, Mapping) and isinstance(item.get("id"), str) for item in (*expected, *actual)):
        part_by_id = {item["id"]: item for item in actual}
        return _first(
            ((number, item, part_by_id.get(item["id"])) for number, item in enumerate(expected)), where
        )
    pairs = zip(expected, actual, strict=True)
    return _first(((number, *pair) for number, pair in enumerate(pairs)), where)


def _first(parts: Iterable[tuple[str | int, JSON, JSON]], where: str) -> tuple[str, JSON, JSON] | None:
    for name, expected, actual in parts:
        difference = first_difference(expected, actual, f"{where}/{name}")
        if difference is not None:
            return difference
    return None
