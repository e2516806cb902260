"""Find the API's exchanges and its address in captured traffic."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Operation
from knouds_harness.errors import UsageError
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.har import NO_BODY, Recorded, read_traffic
from knouds_harness.exchange.traffic_redaction import TrafficRedactor
from knouds_harness.printable import first_few

_MOST_LISTED: Final = 10
_API: Final = re.compile(r"(?=/api/)")
_LIKE_A_TOKEN: Final = re.compile(r"(?=[^/]*\d)[^/]{16,}|[^/]{40,}")


@dataclass(frozen=True, kw_only=True)
class Captured:
    """The API's exchanges in a traffic file.

    Attributes:
        exchanges: Those that can be judged, without secrets; at least one.
        ours: Ids of the exchanges that this harness recorded.
        deliveries: Webhook deliveries that this harness recorded.
        left_out: Lines for people on what was not judged; empty if everything was.
    """

    base_url: str
    exchanges: tuple[Exchange, ...]
    ours: frozenset[str]
    deliveries: tuple[Exchange, ...]
    redactor: TrafficRedactor
    left_out: str


def read_captured(path: Path, *, base_url: str | None) -> Captured:
    """Read a HAR file, find the API's exchanges in it and redact them."""
    traffic = read_traffic(path)
    redactor = TrafficRedactor(traffic)
    asked = _checked(base_url)
    placed = [_placed(each, asked) for each in traffic]
    where = _one_base_url(placed, path) or asked or ""
    exchanges: list[Exchange] = []
    deliveries: list[Exchange] = []
    left_out = {reason: Counter[str]() for reason in ("other hosts", "unknown routes", "not judgeable")}
    for recorded, sent_to in placed:
        exchange = recorded.exchange
        origin = _origin(exchange.url)
        if sent_to and sent_to == where:
            obstacle = recorded.obstacle
            operation = _operation_of(exchange)
            try:
                if obstacle is None and operation is not None and not recorded.is_ours:
                    exchanges.append(redactor.foreign(exchange, operation))
                elif obstacle is None:
                    exchanges.append(redactor.ours(exchange))
            except RecursionError:
                obstacle = "body nested too deeply"
            left_out["not judgeable"].update([obstacle] if obstacle else [])
        elif sent_to and exchange.is_delivery:
            deliveries.append(redactor.ours(exchange))
        elif origin == _origin(where):
            route = _LIKE_A_TOKEN.sub("…", redactor.text(exchange.request.path))
            left_out["unknown routes"][f"{redactor.text(exchange.request.method)} {route}"] += 1
        else:
            left_out["other hosts"][origin] += 1
    remarks = _remarks(left_out, len(traffic))
    if not exchanges:
        others = sorted({_placed(each, None)[1] for each in traffic} - {""})
        if asked and others:
            like = first_few(others, _MOST_LISTED)
            remarks += f"\nRequests like the API's went to {like}: name one as --base-url."
        raise UsageError(f"{path}: nothing in it can be judged\n  {remarks.replace(chr(10), chr(10) + '  ')}")
    return Captured(
        base_url=where,
        exchanges=tuple(exchanges),
        ours=frozenset(each.exchange.id for each in traffic if each.is_ours),
        deliveries=tuple(deliveries),
        redactor=redactor,
        left_out=remarks,
    )


def _placed(recorded: Recorded, base_url: str | None) -> tuple[Recorded, str]:
    """Return an entry that names its operation, and the address of the API that it was sent to.

    The address may have a base path like ``/v1``; it is empty if the entry was not sent to the API. With
    ``base_url``, only what is under it is of the API.
    """
    exchange = recorded.exchange
    origin, path = _origin(exchange.url), exchange.request.path
    if recorded.is_ours:  # it was sent to the API, and names its operation already
        prefix, _, _ = exchange.url.removeprefix(origin).partition(path)
        where = f"{origin}{prefix}" if path in exchange.url else origin
        return recorded, where if base_url in (None, where) else ""
    if base_url is None:
        starts = [match.start() for match in _API.finditer(path)]
    else:
        prefix = urlsplit(base_url).path
        starts = [len(prefix)] if _origin(base_url) == origin and path.startswith(f"{prefix}/") else []
    for start in starts:
        if (found := shipped_document().recognise(exchange.request.method, path[start:])) is not None:
            operation, values = found
            request = replace(
                exchange.request, path=path[start:], operation_id=operation.id, path_values=values
            )
            named = replace(recorded, exchange=replace(exchange, request=request))
            return named, f"{origin}{path[:start]}"
    return recorded, ""


def _operation_of(exchange: Exchange) -> Operation | None:
    """Return the operation of a request; None also of one that this harness sent to none on purpose."""
    return shipped_document().operation_by_id.get(exchange.request.operation_id or "")


def _origin(url: str) -> str:
    address = urlsplit(url)
    return f"{address.scheme}://{address.netloc.rpartition('@')[2]}".lower()


def _checked(base_url: str | None) -> str | None:
    if base_url is None:
        return None
    address = urlsplit(base_url)
    if address.scheme not in ("http", "https") or not address.hostname or address.query or address.username:
        raise UsageError(
            "--base-url: give scheme, host and perhaps a path, such as https://staging.example.com/v1"
        )
    return f"{_origin(base_url)}{address.path.rstrip('/')}"


def _one_base_url(placed: Sequence[tuple[Recorded, str]], path: Path) -> str:
    """Return where the API is; if several hosts look like it, refuse to guess."""
    found = [(each.exchange, where) for each, where in placed if where]
    meant = [where for exchange, where in found if _operation_of(exchange)]  # others may be deliveries to us
    counts = Counter(meant or [where for _, where in found])
    if len(counts) > 1:
        listed = ", ".join(f"{where} ({count})" for where, count in counts.most_common(_MOST_LISTED))
        raise UsageError(
            f"{path}: requests like the API's went to {len(counts)} places: {listed}\n"
            "  Choose one with --base-url."
        )
    return next(iter(counts), "")


def _remarks(left_out: Mapping[str, Counter[str]], total: int) -> str:
    lines = [f"{why}: {counts.total()} ({_listed(counts)})" for why, counts in left_out.items() if counts]
    if not lines:
        return ""
    count = sum(counts.total() for counts in left_out.values())
    export = ["Export the HAR file with content."] if left_out["not judgeable"][NO_BODY] else []
    return "\n".join([f"{count} of {total} entries were not judged.", *lines, *export])


def _listed(counts: Counter[str]) -> str:
    listed = ", ".join(f"{name} {count}" for name, count in counts.most_common(_MOST_LISTED))
    more = len(counts) - _MOST_LISTED
    return f"{listed}, … and {more} more" if more > 0 else listed
