"""Other headers that a client may send with the same request, by HTTP, for the same answer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from knouds_harness.exchange.evidence import KEY_HEADER, KEY_HERE, Pairs, Request
from knouds_harness.exchange.sender import DEFAULT_HEADERS

_Change = Callable[[Pairs], Pairs]
_AT_A_TIME: Final = 3
HeaderForm = Mapping[str, str]
"""A variation by its dimension, such as ``{"Accept": "*/*"}``."""


def _named(spell: Callable[[str], str]) -> _Change:
    return lambda headers: tuple((spell(name), value) for name, value in headers)


def _having(name: str, *values: str) -> _Change:
    """Send a header with these values, one line for each."""

    def change(headers: Pairs) -> Pairs:
        others = [pair for pair in headers if pair[0].lower() != name]
        return (*((name, value) for value in values), *others)

    return change


DIMENSIONS: Final[Mapping[str, Mapping[str, _Change]]] = MappingProxyType(
    {
        "Accept": {
            "*/*": _having("accept", "*/*"),
            "with parameters": _having("accept", "application/json;q=0.9, */*;q=0.1"),
            "twice": _having("accept", "application/json", "text/plain;q=0.5"),
        },
        "Accept-Encoding": {
            each: _having("accept-encoding", each)
            for each in ("gzip", "gzip, deflate, br", "br;q=1.0, *;q=0.1")
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
)
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
