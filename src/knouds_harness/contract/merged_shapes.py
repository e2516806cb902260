"""Merge all schemas that apply at one place into one, with references and ``allOf`` resolved."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import jsonschema_rs

from knouds_harness.contract.document import Document
from knouds_harness.contract.nodes import is_for_generators, resolve
from knouds_harness.contract.sources import Source
from knouds_harness.errors import DocumentError

Schema: TypeAlias = Mapping[str, Any] | bool
Shape: TypeAlias = tuple[tuple[Schema, bool], ...]
"""Schemas that apply together, each with whether the schema around it is only assumed."""

NO_SHAPE: Final[Shape] = ()

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_RULES = (
    *("pattern", "format", "multipleOf", "uniqueItems", "not", "anyOf", "oneOf", "contains"),
    *("additionalProperties", "unevaluatedProperties", "patternProperties", "propertyNames", "prefixItems"),
    *("dependentRequired", "dependentSchemas"),
)
_ANNOTATIONS = frozenset(
    {
        "title",
        "description",
        "default",
        "example",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$comment",
    }
)
_OF_NAMES = frozenset({"properties", "patternProperties", "dependentSchemas"})
_NOTHING_SAID = {"additionalProperties": True, "unevaluatedProperties": True, "uniqueItems": False}


@dataclass(kw_only=True)
class Merged:
    """The requirements of a shape, merged.

    Attributes:
        types: Allowed JSON types; ``number`` includes ``integer``; None for any.
        values: Allowed values as JSON; None if the set is open.
        rules: The keyword of every other rule, by the rule in the text form that is compared.
        members: Shapes by name; ``NO_SHAPE`` for a member that is only required.
        conditions: Shapes of ``then`` and ``else``, by the rule of the ``if``.
        known: Examples of an open set, as JSON.
        assumed: Whether a requirement is only assumed, by keyword, rule or ``required NAME``.
    """

    types: frozenset[str] | None = None
    values: tuple[str, ...] | None = None
    bounds: dict[str, float] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    members: dict[str, Shape] = field(default_factory=dict)
    items: Shape = NO_SHAPE
    conditions: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    default: str | None = None
    assumed: dict[str, bool] = field(default_factory=dict)


def merge(shape: Shape, document: Document) -> Merged:
    """Merge the schemas of a shape, including those that they refer to in their document."""
    merged = Merged()
    for schema, enclosing_is_assumed in shape:
        for part, is_assumed in _parts(schema, document, enclosing_is_assumed, frozenset()):
            for keyword in (
                *_take_values(merged, part),
                *_take_rules(merged, part, document),
                *_take_members(merged, part, is_assumed=is_assumed),
            ):
                merged.assumed[keyword] = merged.assumed.get(keyword, True) and is_assumed
            if "if" in part:
                _take_condition(merged, part, document, is_assumed=is_assumed)
    if merged.types is None and merged.values is not None:
        merged.types = frozenset(_type_of(json.loads(value)) for value in merged.values)
        merged.assumed["type"] = merged.assumed["enum"]
    return merged


def check_schemas(document: Document) -> None:
    """Refuse a document with an invalid schema.

    Raises:
        DocumentError: A schema is invalid; the message says where.
    """
    schemas: dict[str, Schema] = dict(document.raw["components"].get("schemas") or {})
    for operation in document.operations:
        schemas |= {f"{operation.id}?{name}": schema for name, schema in operation.query_parameters.items()}
        if operation.request_schema is not None:
            schemas[f"{operation.id} request"] = operation.request_schema
        for response in operation.responses.values():
            schemas |= {header.pointer: header.schema for header in response.headers.values()}
            if response.schema is not None and response.schema_pointer is not None:
                schemas[response.schema_pointer] = response.schema
    try:
        jsonschema_rs.meta.validate({"$schema": _DIALECT, "$defs": schemas})
    except jsonschema_rs.ValidationError as problem:
        where = "/".join(map(str, problem.instance_path[1:]))
        raise DocumentError(f"{where}: not a JSON Schema: {problem.message}.") from problem
    except ValueError as problem:  # nested deeper than the validator follows
        raise DocumentError("a schema is nested too deeply") from problem


def is_ruled_out(shape: Shape) -> bool:
    """Return whether no value fits the shape, as for a member that must be absent."""
    return any(
        not schema if isinstance(schema, bool) else schema.get("not") in ({}, True) for schema, _ in shape
    )


def _take_values(merged: Merged, part: Mapping[str, Any]) -> Iterator[str]:
    if "type" in part:
        types = _types(part["type"])
        merged.types = types if merged.types is None else merged.types & types
        yield "type"
    if "enum" in part or "const" in part:
        values = tuple(json.dumps(value) for value in part.get("enum", [part.get("const")]))
        merged.values = tuple(v for v in values if merged.values is None or v in merged.values)
        yield "enum"
    if str(part.get("description", "")).startswith("Open set:"):
        merged.known.update(json.dumps(value) for value in part.get("examples", ()))
    if "default" in part:
        merged.default = json.dumps(part["default"])
        yield "default"


def _take_rules(merged: Merged, part: Mapping[str, Any], document: Document) -> Iterator[str]:
    for keyword in (*LOWER_BOUNDS, *UPPER_BOUNDS):
        if keyword in part:
            tighter = max if keyword in LOWER_BOUNDS else min
            merged.bounds[keyword] = tighter(part[keyword], merged.bounds.get(keyword, part[keyword]))
            yield keyword
    for keyword in _RULES:
        says_something = keyword in part and part[keyword] != _NOTHING_SAID.get(keyword)
        if says_something and not is_for_generators(keyword, part):
            merged.rules[_rule({keyword: part[keyword]}, document)] = keyword
            yield keyword


def _take_members(merged: Merged, part: Mapping[str, Any], *, is_assumed: bool) -> Iterator[str]:
    for name, member in part.get("properties", {}).items():
        merged.members[name] = _joined(merged.members.get(name, NO_SHAPE), member, is_assumed=is_assumed)
    for name in part.get("required", ()):
        merged.required.add(name)
        merged.members.setdefault(name, NO_SHAPE)
        yield f"required {name}"
    if "items" in part:
        merged.items = _joined(merged.items, part["items"], is_assumed=is_assumed)


def _take_condition(merged: Merged, part: Mapping[str, Any], document: Document, *, is_assumed: bool) -> None:
    rule = _rule({"if": part["if"]}, document)
    merged.rules[rule] = rule
    merged.assumed[rule] = merged.assumed.get(rule, True) and is_assumed
    then, otherwise = merged.conditions.get(rule, (NO_SHAPE, NO_SHAPE))
    merged.conditions[rule] = (
        _joined(then, part.get("then", True), is_assumed=is_assumed),
        _joined(otherwise, part.get("else", True), is_assumed=is_assumed),
    )


def _joined(shape: Shape, schema: Schema, *, is_assumed: bool) -> Shape:
    return shape if (schema, is_assumed) in shape else (*shape, (schema, is_assumed))


def _parts(
    schema: Schema,
    document: Document,
    is_assumed: bool,  # noqa: FBT001  passed down the recursion
    followed: frozenset[str],
) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Yield a schema, its ``$ref`` target and ``allOf`` branches, each with whether it is only assumed."""
    if isinstance(schema, bool):
        if not schema:
            yield {"not": {}}, is_assumed
        return
    if "x-fact" in schema:
        is_assumed = document.facts[schema["x-fact"]].source is Source.ASSUMED
    reference = schema.get("$ref")
    if reference is not None and reference not in followed:
        target = resolve(document.raw, reference, at="").value
        yield from _parts(target, document, is_assumed, followed | {reference})
    for branch in schema.get("allOf", ()):
        yield from _parts(branch, document, is_assumed, followed)
    yield schema, is_assumed


def _rule(schema: Schema, document: Document) -> str:
    return json.dumps(_plain(schema, document, frozenset()), sort_keys=True, ensure_ascii=False)


def _plain(schema: Any, document: Document, followed: frozenset[str]) -> Any:  # noqa: ANN401  any JSON
    """Return a schema without texts and with references resolved, so that it can be compared as text."""
    if isinstance(schema, list):
        return [_plain(item, document, followed) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref" and value not in followed:
            target = resolve(document.raw, value, at="").value
            plain.update(_plain(target, document, followed | {value}))
        elif key in _OF_NAMES:
            plain[key] = {name: _plain(member, document, followed) for name, member in value.items()}
        elif key in ("required", "enum"):
            plain[key] = sorted(value, key=json.dumps)
        elif key == "const":
            plain[key] = value
        elif key not in _ANNOTATIONS and not key.startswith("x-"):
            plain[key] = _plain(value, document, followed)
    return plain


def _types(value: str | list[str]) -> frozenset[str]:
    types = frozenset([value] if isinstance(value, str) else value)
    return types | {"integer"} if "number" in types else types


def _type_of(value: object) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case None:
            return "null"
    return "array" if isinstance(value, list) else "object"
