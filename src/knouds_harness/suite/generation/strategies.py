"""Hypothesis strategies for input that a server must refuse, or must cope with."""

from __future__ import annotations

import json
import string
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from hypothesis import strategies as st

from knouds_harness.contract.document import Document
from knouds_harness.contract.effects import effect_of
from knouds_harness.contract.operations import Action, Operation
from knouds_harness.exchange.created_workflows import marked, with_marked_name
from knouds_harness.exchange.evidence import NO_BODY, NO_SUCH_WORKFLOW, Call
from knouds_harness.judging.checks.authentication import KEY_PREFIX
from knouds_harness.targets.secrets import Secret

if TYPE_CHECKING:  # importing it takes half a second, which listing the suite's tests can do without
    import schemathesis
    from schemathesis.specs.openapi.schemas import OpenApiSchema

_Mode = Literal["POSITIVE", "NEGATIVE"]
_KEY_CHARACTERS = string.ascii_letters + string.digits
_HEADER_SAFE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
_SLUG_CHARACTERS = string.ascii_lowercase + string.digits + "-"


def unknown_keys() -> st.SearchStrategy[Secret]:
    """Keys of the documented form that belong to no account."""
    return st.text(_KEY_CHARACTERS, min_size=32, max_size=48).map(
        lambda text: Secret(f"{KEY_PREFIX}{text}", "key:unknown")
    )


def malformed_keys() -> st.SearchStrategy[Secret]:
    """Strings that a header can carry and that do not begin like a key."""
    texts = st.text(_HEADER_SAFE, min_size=1, max_size=60)
    return texts.filter(lambda text: not text.startswith(KEY_PREFIX)).map(
        lambda text: Secret(text, "key:malformed")
    )


def key_alterations(key: str) -> dict[str, str]:
    """Return a key altered in each way that a careless comparison might overlook, by the way's name."""
    return {
        "upper": key.upper(),
        "lower": key.lower(),
        "swapped": key.swapcase(),
        "first-half": key[: len(key) // 2],
        "last-missing": key[:-1],
        "first-missing": key[1:],
        "one-more": f"{key}0",
        "twice": key + key,
        **{
            f"{name}-changed": key[:place] + _another(key, place) + key[place + 1 :]
            for name, place in (("last", len(key) - 1), ("middle", len(key) // 2), ("first", len(KEY_PREFIX)))
            if place < len(key)
        },
    }


def _another(key: str, place: int) -> str:
    """Return another character of the same key, as a server may check the alphabet first."""
    return next((each for each in key[len(KEY_PREFIX) :] if each != key[place]), "0")


@st.composite
def altered_keys(draw: st.DrawFn, secret: Secret) -> Secret:
    """A key altered in one of the ways above, cut somewhere, or with another character or case somewhere."""
    key = secret.reveal()
    place = draw(st.integers(0, len(key) - 1))
    other = draw(st.sampled_from(key[len(KEY_PREFIX) :] or _KEY_CHARACTERS))
    cut, before, after = key[: place + 1], key[:place], key[place + 1 :]
    anywhere = [cut, before + key[place].swapcase() + after, before + other + after]
    altered = draw(st.sampled_from([*key_alterations(key).values(), *anywhere]))
    return Secret(altered if altered != key else key + other, "key:altered")


def capability_sets(universe: Iterable[str]) -> st.SearchStrategy[frozenset[str]]:
    """Sets of capabilities from a universe, the empty one included."""
    return st.frozensets(st.sampled_from(sorted(universe)), max_size=8)


def json_values() -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
        max_leaves=8,
    )


def wrong_inputs() -> st.SearchStrategy[dict[str, Any]]:
    """Bodies of runs whose inputs are not an object."""
    values = json_values().filter(lambda value: not isinstance(value, dict))
    return values.map(lambda inputs: {"json": {"inputs": inputs}})


def bodies_not_json() -> st.SearchStrategy[dict[str, bytes]]:
    """Bodies that no JSON parser accepts: broken text, cut documents, invalid UTF-8."""
    cut = (
        json_values()
        .map(lambda value: json.dumps({"inputs": value}).encode())
        .flatmap(lambda whole: st.integers(1, len(whole) - 1).map(lambda end: whole[:end]))
    )
    broken = st.binary(min_size=1, max_size=40).map(lambda tail: b'{"inputs": ' + tail)
    known = st.sampled_from([b"inputs=1", b"{'inputs': {}}", b'{"inputs": {}}}', b"\xff\xfe{"])
    return (cut | broken | known).filter(_is_no_json).map(lambda raw: {"raw": raw})


def _is_no_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return True
    return False


@st.composite
def malformed_slugs(draw: st.DrawFn) -> str:
    """A path segment with at least one character that a slug may not have."""
    around = st.text(_SLUG_CHARACTERS, max_size=8)
    # no slash or dot, which would change the path itself
    wrong = st.sampled_from("ABZ_ !$&'()*+,;=:@~%äéßñ漢") | st.characters(
        categories=("Lu", "Lt", "Nd", "Sc"), min_codepoint=0x80
    )
    return draw(around) + draw(wrong) + draw(around)


def misshapen_documents() -> st.SearchStrategy[dict[str, Any]]:
    """Bodies of workflow documents with one member that cannot be one: the name, or one of a wrong type."""
    number, text = st.integers(), st.text()
    wrong_by_member: dict[str, st.SearchStrategy[Any]] = {
        "name": st.none()
        | st.booleans()
        | number
        | st.lists(text, max_size=2)
        | st.sampled_from(["", "   "]),
        "nodes": text | number | st.just({"id": "n1"}),
        "edges": text | number | st.just({"id": "e1"}),
        "tags": number | st.just({"a": 1}),
        "viewport": text | number | st.lists(number, max_size=3),
    }
    return st.sampled_from(sorted(wrong_by_member)).flatmap(
        lambda member: wrong_by_member[member].map(
            lambda wrong: {"json": {"name": "Harness misshapen", member: wrong}}
        )
    )


def garbled_query_values() -> st.SearchStrategy[str]:
    """Values that make no sense for a number or a closed set."""
    return st.one_of(
        st.integers(-(10**30), -1).map(str),
        st.integers(501, 10**30).map(str),
        st.text(max_size=20).filter(lambda text: not text.strip().isdecimal()),
        st.sampled_from(["NaN", "1e3", "0x10", "1.5", "null", "", "' OR 1=1 --", "50;DROP"]),
    )


def valid_calls(document: Document, operation_id: str) -> st.SearchStrategy[Call]:
    """Requests that the document's schemas admit, made by schemathesis."""
    return _calls(document, operation_id, "POSITIVE")


def invalid_calls(document: Document, operation_id: str) -> st.SearchStrategy[Call]:
    """Requests that contradict the document's schemas in at least one place, made by schemathesis."""
    return _calls(document, operation_id, "NEGATIVE")


@lru_cache
def _calls(document: Document, operation_id: str, mode: _Mode) -> st.SearchStrategy[Call]:
    from schemathesis import GenerationMode  # noqa: PLC0415

    operation = document.operation_by_id[operation_id]
    described = _schema(document).find_operation_by_id(operation_id)
    cases = described.as_strategy(generation_mode=GenerationMode[mode])
    return cases.map(lambda case: _as_call(operation, case))


@lru_cache
def _schema(document: Document) -> OpenApiSchema:
    import schemathesis  # noqa: PLC0415

    return schemathesis.openapi.from_dict(
        dict(document.raw),
        # the suite sends the key: altering it would only repeat the authentication family
        config=schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}}),
    )


def _as_call(operation: Operation, case: schemathesis.Case[Any]) -> Call:
    has_body = isinstance(case.body, dict | list | str | int | float | bool | None)
    mark = {"createWorkflow": marked, "updateWorkflow": with_marked_name}.get(operation.id)
    body = mark(case.body) if mark else case.body
    values = {name: str((case.path_parameters or {}).get(name, "")) for name in operation.path_parameters}
    written = effect_of(operation.method, operation.url_path(values)).names(Action.WRITE)
    if any(set(name) <= set(_SLUG_CHARACTERS) for name in written):
        values["slug"] = NO_SUCH_WORKFLOW  # a generated slug may be somebody's
    return Call(
        path_values=values,
        query=tuple((name, _as_text(value)) for name, value in (case.query or {}).items()),
        json=body if has_body else NO_BODY,
        is_deliberate=True,
    )


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
