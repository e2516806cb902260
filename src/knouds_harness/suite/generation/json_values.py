"""JSON texts of values that parsers and databases stumble over: numbers beyond doubles, broken texts, depth.

A server may accept or refuse each of them, but must not fail.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from types import MappingProxyType
from typing import Final

from knouds_harness.exchange.evidence import JSON, Exchange

_LONG = 100_000
_DEEP = 5_000

TEXTS: Final = MappingProxyType(
    {
        "empty": "",
        "long": "x" * _LONG,
        "NUL": r"a\u0000b",
        "control characters": r"\u0001\u001f\u007f\u0085",
        "half of a surrogate pair": r"a\ud800b",
        "the other half": r"\udc00",
        "beyond the first plane": r"\ud83d\ude00",
        "no characters": r"\uffff\ufeff\u202e",
    }
)
"""Strings as written in JSON, without quotes."""

_OTHERS: Final = MappingProxyType(
    {
        "beyond 2^53": "9007199254740993",
        "beyond 64 bits": "-123456789012345678901234567890",
        "minus zero": "-0",
        "minus zero with a fraction": "-0.0",
        "least above zero": "5e-324",
        "less than that": "1e-400",
        "repeated names": '{"a": 1, "a": "2", "a": null}',
        "names of prototypes": '{"__proto__": {"a": 1}, "constructor": {"prototype": null}, "": 1}',
        "beyond all doubles": "1e400",
        "nested deeply": "[" * _DEEP + "]" * _DEEP,
    }
)
VALUES: Final = MappingProxyType({**{name: f'"{text}"' for name, text in TEXTS.items()}, **_OTHERS})
"""Values as written in JSON."""

_LIKELY_REFUSED: Final = frozenset({"long", "beyond all doubles", "nested deeply"})


def as_inputs(names: Iterable[str], *, in_a_list: bool = False) -> bytes:
    """Return the body of a run whose inputs hold the named values; as a list they must be refused."""
    inputs = f"[{', '.join(VALUES[name] for name in names)}]" if in_a_list else _as_object(names)
    return f'{{"inputs": {inputs}}}'.encode()


def as_document(names: Iterable[str], *, name: str, node: JSON) -> bytes:
    """Return a workflow that holds the named values in a node's data, and the texts in its name and tag."""
    names = list(names)
    text = "".join(TEXTS[each] for each in names if each in TEXTS)
    data = "@harness-data@"
    document = json.dumps({"name": f"{name} {data}", "tags": [data], "nodes": [{**node, "data": data}]})
    document = document.replace(f'"data": "{data}"', f'"data": {_as_object(names)}')
    return document.replace(data, text or "plain").encode()


def _as_object(names: Iterable[str]) -> str:
    return "{" + ", ".join(f'"harness{number}": {VALUES[name]}' for number, name in enumerate(names)) + "}"


def each_sent(
    send: Callable[[list[str]], Exchange], names: Iterable[str], *, is_refused: bool = False
) -> Iterator[Exchange]:
    """Send values in few requests: together those that servers usually accept, and each alone if refused.

    With ``is_refused``, the requests are refused anyway, so a refusal tells nothing.
    """
    names = list(names)
    alone = [name for name in names if name in _LIKELY_REFUSED]
    together = [name for name in names if name not in _LIKELY_REFUSED]
    answered = send(together)
    yield answered
    if not is_refused and (answered.status is None or answered.status >= 300):
        alone = together + alone
    for name in alone:
        yield send([name])
