"""Answers that never came from the API, but from gateways, balancers, firewalls or proxies before it."""

from typing import Final

from knouds_harness.exchange.evidence import Exchange

_STATUSES: Final = frozenset({403, 407, 408, 413, 414, 421, 429, 431, 494, 502, 503, 504, *range(520, 531)})
"""Statuses with which what stands in between answers by itself; those of an API have the envelope."""
_OF_METHODS: Final = frozenset({405, 501})
"""The same for methods that no operation has."""


def is_from_outside(exchange: Exchange) -> bool:
    """Return whether something in front of the API answered: by its status, and without the envelope.

    An answer to HEAD has no body, so there the declared type has to tell.
    """
    is_bare = not exchange.members and not exchange.is_beyond_bounds
    if exchange.request.method == "HEAD":
        is_bare = "json" not in (exchange.header("content-type") or "json").lower()
    statuses = _STATUSES if exchange.request.operation_id else _STATUSES | _OF_METHODS
    return exchange.status in statuses and is_bare and not exchange.is_delivery


def cause_of(exchange: Exchange) -> str:
    """Name what answered: ``403 text/html from cloudflare``."""
    declared = (exchange.header("content-type") or "no type").partition(";")[0].strip().lower()
    server = exchange.header("server")
    return f"{exchange.status} {declared}{f' from {server}' if server else ''}"
