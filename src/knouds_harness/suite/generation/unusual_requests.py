"""Other spellings, headers and JSON values of a request, which not every router, proxy or parser expects."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from knouds_harness.exchange.evidence import JSON, KEY_HEADER, KEY_HERE, Exchange, Pairs, Request
from knouds_harness.targets.http_settings import DEFAULT_HEADERS

Respell = Callable[[Request], Request]

_Change = Callable[[Pairs], Pairs]
_AT_A_TIME: Final = 3
HeaderForm = Mapping[str, str]
"""A variation by its dimension, such as ``{"Accept": "*/*"}``."""
_LONG = 100_000
_DEEP = 5_000
_OVERRIDDEN = ("PUT", "DELETE")


def _path(change: Callable[[str], str]) -> Respell:
    return lambda request: replace(request, path=change(request.path))


def _with(*headers: tuple[str, str], method: str | None = None) -> Respell:
    return lambda request: replace(
        request, method=method or request.method, headers=(*request.headers, *headers)
    )


def _percent_encoded(path: str) -> str:
    """Encode the last character of a path, which belongs to a name if the path ends with one."""
    return f"{path[:-1]}%{ord(path[-1]):02X}"


def _upper_case(path: str) -> str:
    """Write the first parts of a path in capitals, but not the names of resources."""
    head, _, rest = path.removeprefix("/api/").partition("/")
    return f"/API/{head.upper()}/{rest}".rstrip("/")


def _overriding(header: str) -> Respell:
    """Send a write as a POST with its method in a header."""
    return lambda request: (
        _with((header, request.method), method="POST")(request) if request.method in _OVERRIDDEN else request
    )


def _overriding_in_query(request: Request) -> Request:
    if request.method not in _OVERRIDDEN:
        return request
    return replace(request, method="POST", query=(*request.query, ("_method", request.method)))


def _with_body(request: Request) -> Request:
    if request.body is not None:
        return request
    return replace(request, body=b"{}", headers=(*request.headers, ("content-type", "application/json")))


def _as_text(request: Request) -> Request:
    headers = tuple(each for each in request.headers if each[0] != "content-type")
    return replace(request, headers=(*headers, ("content-type", "text/plain")))


SPELLINGS: Final[Mapping[str, Respell]] = {
    "slash at the end": _path("{}/".format),
    "slash doubled": _path(lambda path: path.replace("/api/", "/api//", 1)),
    "slash doubled at the start": _path("/{}".format),
    "dot segment": _path(lambda path: path.replace("/api/", "/api/./", 1)),
    "parent segment": _path(lambda path: path.replace("/api/", "/api/health/../", 1)),
    "encoded letter": _path(_percent_encoded),
    "upper case": _path(_upper_case),
    "suffix": _path("{}.json".format),
    "path parameter": _path("{};a=b".format),
    "public prefix": _path(lambda path: path.replace("/api/", "/api/pricing/public/../../", 1)),
    "HEAD": lambda request: replace(request, method="HEAD") if request.method == "GET" else request,
    "X-HTTP-Method-Override": _overriding("x-http-method-override"),
    "X-HTTP-Method": _overriding("x-http-method"),
    "_method": _overriding_in_query,
    "X-Original-URL": lambda request: _with(("x-original-url", request.path))(
        replace(request, path="/api/health")
    ),
    "from this host": _with(("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")),
    "as a preflight": _with(
        ("origin", "https://knouds.ai"), ("access-control-request-method", "GET"), method="OPTIONS"
    ),
    "body of a read": _with_body,
    "other content type": _as_text,
}
"""By name. A spelling that does not change a request does not apply to it."""


def spelled(request: Request, name: str) -> Request | None:
    """Return the request in another spelling; None if that does not change it."""
    other = SPELLINGS[name](request)
    return (
        None
        if other == request
        else replace(other, operation_id=None, path_values={}, cost_credits=0.0, is_deliberate=True)
    )


def _named(spell: Callable[[str], str]) -> _Change:
    return lambda headers: tuple((spell(name), value) for name, value in headers)


def _having(name: str, *values: str) -> _Change:
    """Send a header with these values, one line for each."""

    def change(headers: Pairs) -> Pairs:
        others = [pair for pair in headers if pair[0].lower() != name]
        return (*((name, value) for value in values), *others)

    return change


DIMENSIONS: Final[Mapping[str, Mapping[str, _Change]]] = {
    "Accept": {
        "*/*": _having("accept", "*/*"),
        "with parameters": _having("accept", "application/json;q=0.9, */*;q=0.1"),
        "twice": _having("accept", "application/json", "text/plain;q=0.5"),
    },
    "Accept-Encoding": {
        each: _having("accept-encoding", each) for each in ("gzip", "gzip, deflate, br", "br;q=1.0, *;q=0.1")
    },
    "User-Agent": {
        each: _having("user-agent", each)
        for each in (
            "curl/8.5.0",
            "python-requests/2.32.3",
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        )
    },
    "order": {
        "reversed": lambda headers: headers[::-1],
        "rotated": lambda headers: (*headers[1:], *headers[:1]),
    },
    "header names": {"in capitals": _named(str.upper), "capitalised": _named(str.title)},
}
"""The variations of each dimension; they are applied in this order."""


def header_form(number: int) -> dict[str, str]:
    """Return a variation of some dimensions; consecutive numbers have all variations of each."""
    places = [(number + each) % len(DIMENSIONS) for each in range(_AT_A_TIME)]
    return {
        dimension: list(variations)[number % len(variations)]
        for place, (dimension, variations) in enumerate(DIMENSIONS.items())
        if place in places
    }


def in_form(request: Request, form: HeaderForm) -> Request:
    """Return the request with other headers, all of them given, and the place of its key among them."""
    names = {name.lower() for name, _ in request.headers}
    headers = (*(pair for pair in DEFAULT_HEADERS if pair[0] not in names), *request.headers)
    if request.persona is not None:
        headers = (*headers, (KEY_HEADER, KEY_HERE))
    for dimension, variations in DIMENSIONS.items():
        if dimension in form:
            headers = variations[form[dimension]](headers)
    return replace(request, headers=headers)


TEXTS: Final[Mapping[str, str]] = {
    "empty": "",
    "long": "x" * _LONG,
    "NUL": r"a\u0000b",
    "control characters": r"\u0001\u001f\u007f\u0085",
    "half of a surrogate pair": r"a\ud800b",
    "the other half": r"\udc00",
    "beyond the first plane": r"\ud83d\ude00",
    "no characters": r"\uffff\ufeff\u202e",
}
"""Strings as written in JSON, without quotes."""

_OTHERS: Final = {
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
VALUES: Final[Mapping[str, str]] = {**{name: f'"{text}"' for name, text in TEXTS.items()}, **_OTHERS}
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
