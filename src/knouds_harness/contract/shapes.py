"""Compare bodies and headers with the documented shape, and name the fact that a mismatch breaks."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import quote

import jsonschema_rs

from knouds_harness.body_bounds import whole_number
from knouds_harness.contract.document import escape, resolve, shipped_document
from knouds_harness.contract.operations import Operation, Source

DELIVERY: Final = "/components/schemas/Delivery"
"""JSON pointer to the schema of all webhook deliveries."""

_URI = "knouds:document"
_SHOWN = 80
_MOST_VALUES = 3_000  # judged at once: each wrong value takes up to 50 KB until all errors are yielded
_MOST_ITEMS, _MOST_NESTED = 1_000, 3  # of a list, and of lists in it, if a body has more values
_MOST_WRONG_PARTS = 3  # parts of _MOST_ITEMS items: a fourth hardly shows a new error


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One difference between a response or delivery and the document.

    Attributes:
        where: A JSON pointer into the body with ``*`` for any item (``/rows/*/status``), or
            ``header Retry-After``.
    """

    fact: str
    source: Source
    where: str
    expected: str
    observed: str


@cache
def _registry() -> jsonschema_rs.Registry:
    return jsonschema_rs.Registry([(_URI, _judged(shipped_document().raw))], draft=jsonschema_rs.Draft202012)


@cache
def _validator(pointer: str) -> jsonschema_rs.Draft202012Validator:
    schema = {"$ref": f"{_URI}#{quote(pointer, safe='/~')}"}
    return jsonschema_rs.Draft202012Validator(schema, registry=_registry(), validate_formats=True)


def body_mismatches(operation: Operation, status: int, body: Any) -> list[Mismatch]:  # noqa: ANN401  any JSON
    """List what is wrong with a parsed body, once per place and expectation, not per item.

    The list is empty for an undocumented status.
    """
    pointer = _schema_of(operation, status)
    return _mismatches(pointer, body) if pointer else []


def is_fitting_body(operation: Operation, status: int, body: Any) -> bool:  # noqa: ANN401  any JSON
    """Return whether a parsed body has a documented shape; far cheaper than ``body_mismatches``."""
    pointer = _schema_of(operation, status)
    return pointer is not None and _validator(pointer).is_valid(body)


def body_facts(operation: Operation, status: int, body: Any) -> frozenset[str]:  # noqa: ANN401  any JSON
    """Return the facts that a body is evidence for or against, from the schemas that apply to it."""
    pointer = _schema_of(operation, status)
    if pointer is None:
        return frozenset()
    evaluation = _validator(pointer).evaluate(_part(body, 0))  # 10 KB for each value
    # Only the list has annotations that a mismatch drops; it costs five times as much.
    units = evaluation.annotations() if evaluation.valid else evaluation.list()["details"]
    notes = (unit.get("annotations") or unit.get("droppedAnnotations") for unit in units)
    return frozenset(str(note["x-fact"]) for note in notes if isinstance(note, dict) and "x-fact" in note)


def header_mismatches(
    operation: Operation, status: int, headers: Iterable[tuple[str, str]]
) -> list[Mismatch]:
    """Return what is wrong with the documented headers of a response; other headers are ignored."""
    response = operation.responses.get(status)
    value_by_name = {name.lower(): value for name, value in headers}
    mismatches: list[Mismatch] = []
    for header in response.headers.values() if response else ():
        where = f"header {header.name}"
        text = value_by_name.get(header.name.lower())
        if text is not None:
            value = _integer(text) if "integer" in header.schema["type"] else text
            found = _mismatches(header.pointer, value, fact=header.fact)
            mismatches.extend(_mismatch(m.fact, where, m.expected, as_json(text)) for m in found)
        elif header.is_required:
            mismatches.append(_mismatch(header.fact, where, "present", "no such header"))
    return mismatches


def delivery_mismatches(payload: Any) -> list[Mismatch]:  # noqa: ANN401  any JSON
    return _mismatches(DELIVERY, payload)


def _mismatches(pointer: str, value: object, *, fact: str | None = None) -> list[Mismatch]:
    if _validator(pointer).is_valid(value):
        return []
    found: dict[tuple[str, str, str], Mismatch] = {}
    fact_by_path: dict[tuple[str | int, ...], str | None] = {}  # many items share one path
    for error in _errors(_validator(pointer), value):
        path = tuple(error.evaluation_path)
        if path not in fact_by_path:
            fact_by_path[path] = _nearest_fact(pointer, path)
        cited = fact_by_path[path] or fact or ""
        mismatch = _mismatch(cited, *_described(error))
        found.setdefault((cited, mismatch.where, mismatch.expected), mismatch)
    return list(found.values())


def _errors(
    validator: jsonschema_rs.Draft202012Validator, value: object
) -> Iterator[jsonschema_rs.ValidationError]:
    """Yield all errors of a body, or the errors of parts if the whole list would fill the memory.

    The lists of a large body are judged part by part, until three parts have errors. If no part has one,
    as when only the whole list is wrong (``uniqueItems``), the first error of the whole body is yielded.
    """
    if _part(value, 0) is value:
        yield from validator.iter_errors(value)
        return
    wrong_parts = 0
    for start in range(0, _longest_list(value), _MOST_ITEMS):
        errors = [
            error
            for error in validator.iter_errors(_part(value, start))
            if start == 0 or any(isinstance(step, int) for step in error.instance_path)
        ]
        yield from errors
        wrong_parts += bool(errors)
        if wrong_parts == _MOST_WRONG_PARTS:
            return
    if not wrong_parts:
        try:
            validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            yield error


def _mismatch(fact: str, where: str, expected: str, observed: str) -> Mismatch:
    source = shipped_document().facts[fact].source
    return Mismatch(fact=fact, source=source, where=where, expected=expected, observed=observed)


def _nearest_fact(pointer: str, evaluation_path: Sequence[str | int]) -> str | None:
    """Return the innermost fact on the evaluation path through the document's schemas."""
    node: Any = {"$ref": f"#{pointer}"}
    fact = None
    for step in evaluation_path:
        node = resolve(shipped_document().raw, node["$ref"]) if step == "$ref" else node[step]
        if isinstance(node, dict) and isinstance(node.get("x-fact"), str):
            fact = node["x-fact"]
    return fact


def _schema_of(operation: Operation, status: int) -> str | None:
    response = operation.responses.get(status)
    return response.schema_pointer if response else None


def _judged(node: Any) -> Any:  # noqa: ANN401  any JSON
    """Return the document without what serves code generators only: ``anyOf`` beside an ``if``."""
    if isinstance(node, list):
        return [_judged(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {name: _judged(each) for name, each in node.items() if name != "anyOf" or "if" not in node}


def _longest_list(value: object) -> int:
    if isinstance(value, dict):
        return max(map(_longest_list, value.values()), default=0)
    return max(len(value), max(map(_longest_list, value), default=0)) if isinstance(value, list) else 0


def _part(value: object, start: int) -> object:
    """Return the value, with only a part of each list if it is too large to judge at once."""
    return value if _size(value) <= _MOST_VALUES else _thinned(value, start, _MOST_ITEMS)


def _size(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_size, inner))


def _thinned(value: object, start: int, most: int) -> object:
    if isinstance(value, dict):
        return {name: _thinned(member, start, most) for name, member in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) > most:
        value = value[start : start + most] or value[:most]
    return [_thinned(item, 0, _MOST_NESTED) for item in value]


def _integer(text: str) -> int | str:
    number = whole_number(text.removeprefix("-"))
    return text if number is None else -number if text.startswith("-") else number


_EXPECTED: Final = {
    "not": "no such member",
    "falseSchema": "no such member",
    "pattern": "matching {}",
    "format": "in the format {}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} members",
    "uniqueItems": "no two items alike",
}


def _described(error: jsonschema_rs.ValidationError) -> tuple[str, str, str]:
    said: Mapping[str, Any] = error.kind.as_dict()
    where = "".join("/*" if isinstance(step, int) else f"/{escape(step)}" for step in error.instance_path)
    match error.kind.name:
        case "required":
            return f"{where}/{escape(said['property'])}", "present", "no such member"
        case "type":
            expected = " or ".join(said["types"])
        case "enum":
            expected = f"one of {as_json(said['options'])}"
        case "const":
            expected = as_json(said["expected_value"])
        case name:
            expected = _EXPECTED[name].format(*said.values()) if name in _EXPECTED else error.message
    return where, expected, as_json(error.instance)


def as_json(value: object) -> str:
    """Return a value of a body as JSON, shortened for people."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
