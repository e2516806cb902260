"""Find the API's exchanges and its address in captured traffic."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from knouds_harness.contract.document import Document
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


@dataclass(frozen=True, kw_only=True)
class ApiEntry:
    """An entry of the API; its operation is None only if this harness sent it to none on purpose."""

    recorded: Recorded
    operation: Operation | None
    base_url: str


def read_captured(path: Path, document: Document, *, base_url: str | None) -> Captured:
    """Read a HAR file, find the API's exchanges in it and redact them.

    Raises:
        UsageError: The file is not a HAR file, or holds nothing that can be judged.
    """
    traffic = read_traffic(path)
    redactor = TrafficRedactor(traffic)
    asked = _checked(base_url)
    placed, others = find_api(traffic, document, base_url=asked)
    where = _one_base_url(placed, path) or asked or ""
    elsewhere = [each.recorded for each in placed if each.base_url != where]
    deliveries = [each for each in elsewhere if each.exchange.is_delivery]
    others += [each for each in elsewhere if each not in deliveries]
    here = [each for each in placed if each.base_url == where]
    exchanges, obstacles = _redacted(here, redactor)
    reasons = {
        "other hosts": Counter(origin for origin in map(_origin_of, others) if origin != _origin(where)),
        "unknown routes": Counter(
            _route(each.exchange, redactor) for each in others if _origin_of(each) == _origin(where)
        ),
        "not judgeable": obstacles,
    }
    left_out = _left_out(reasons, len(traffic))
    if not exchanges:
        like = first_few(sorted({each.base_url for each in find_api(traffic, document)[0]}), _MOST_LISTED)
        hint = f"\nRequests like the API's went to {like}: name one as --base-url." if asked and like else ""
        remarks = f"{left_out}{hint}".replace("\n", "\n  ")
        raise UsageError(f"{path}: nothing in it can be judged\n  {remarks}")
    return Captured(
        base_url=where,
        exchanges=tuple(exchanges),
        ours=frozenset(each.recorded.exchange.id for each in here if each.recorded.is_ours),
        deliveries=tuple(redactor.ours(each.exchange) for each in deliveries),
        redactor=redactor,
        left_out=left_out,
    )


def find_api(
    traffic: Iterable[Recorded], document: Document, *, base_url: str | None = None
) -> tuple[list[ApiEntry], list[Recorded]]:
    """Return the API's entries, also under a base path like ``/v1``, and all others.

    With ``base_url``, only those under it are the API's.
    """
    found = [(each, _placed(each, document, base_url)) for each in traffic]
    return [entry for _, entry in found if entry], [each for each, entry in found if entry is None]


def _placed(recorded: Recorded, document: Document, base_url: str | None) -> ApiEntry | None:
    exchange = recorded.exchange
    if recorded.is_ours:
        return _placed_ours(recorded, document, base_url)
    origin, path = _origin(exchange.url), exchange.request.path
    if base_url is None:
        starts = [match.start() for match in _API.finditer(path)]
    else:
        prefix = urlsplit(base_url).path
        starts = [len(prefix)] if _origin(base_url) == origin and path.startswith(f"{prefix}/") else []
    for start in starts:
        found = document.recognise(exchange.request.method, path[start:])
        if found is not None:
            operation, values = found
            request = replace(
                exchange.request, path=path[start:], operation_id=operation.id, path_values=values
            )
            return ApiEntry(
                recorded=replace(recorded, exchange=replace(exchange, request=request)),
                operation=operation,
                base_url=f"{origin}{path[:start]}",
            )
    return None


def _placed_ours(recorded: Recorded, document: Document, base_url: str | None) -> ApiEntry | None:
    """Place an exchange of this harness: it was sent to the API, and its request names the operation."""
    exchange = recorded.exchange
    origin = _origin(exchange.url)
    prefix, _, _ = exchange.url.removeprefix(origin).partition(exchange.request.path)
    where = f"{origin}{prefix}" if exchange.request.path in exchange.url else origin
    if base_url is not None and where != base_url:
        return None
    operation = document.operation_by_id.get(exchange.request.operation_id or "")
    return ApiEntry(recorded=recorded, operation=operation, base_url=where)


def _origin_of(recorded: Recorded) -> str:
    return _origin(recorded.exchange.url)


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


def _one_base_url(placed: Sequence[ApiEntry], path: Path) -> str:
    """Return where the API is; if several hosts look like it, refuse to guess."""
    meant = [each for each in placed if each.operation]  # our own runs also hold deliveries to us
    counts = Counter(each.base_url for each in meant or placed)
    if len(counts) > 1:
        listed = ", ".join(f"{where} ({count})" for where, count in counts.most_common(_MOST_LISTED))
        raise UsageError(
            f"{path}: requests like the API's went to {len(counts)} places: {listed}\n"
            "  Choose one with --base-url."
        )
    return next(iter(counts), "")


def _redacted(placed: Iterable[ApiEntry], redactor: TrafficRedactor) -> tuple[list[Exchange], Counter[str]]:
    """Return the exchanges that can be judged, without secrets, and the count of others by reason."""
    exchanges, obstacles = [], Counter[str]()
    for each in placed:
        exchange = each.recorded.exchange
        if each.recorded.is_ours:
            exchanges.append(redactor.ours(exchange))
        elif each.recorded.obstacle is not None or each.operation is None:
            obstacles[each.recorded.obstacle or "unknown operation"] += 1
        else:
            try:
                exchanges.append(redactor.foreign(exchange, each.operation))
            except RecursionError:
                obstacles["body nested too deeply"] += 1
    return exchanges, obstacles


def _left_out(reasons: Mapping[str, Counter[str]], total: int) -> str:
    counts_by_reason = {what: counts for what, counts in reasons.items() if counts}
    if not counts_by_reason:
        return ""
    left_out = sum(counts.total() for counts in counts_by_reason.values())
    return "\n".join(
        [
            f"{left_out} of {total} entries were not judged.",
            *(
                f"{what}: {counts.total()} ({_listed(counts.most_common())})"
                for what, counts in counts_by_reason.items()
            ),
            *(["Export the HAR file with content."] if reasons["not judgeable"][NO_BODY] else []),
        ]
    )


def _route(exchange: Exchange, redactor: TrafficRedactor) -> str:
    path = _LIKE_A_TOKEN.sub("…", redactor.text(exchange.request.path))
    return f"{redactor.text(exchange.request.method)} {path}"


def _listed(counts: Sequence[tuple[str, int]]) -> str:
    listed = ", ".join(f"{name} {count}" for name, count in counts[:_MOST_LISTED])
    more = len(counts) - _MOST_LISTED
    return f"{listed}, … and {more} more" if more > 0 else listed
