"""Drift: what responses hold beyond the document. Every exchange adds to it; it never fails a run."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from knouds_harness.contract.document import Document, escape
from knouds_harness.contract.known_places import (
    KnownPlace,
    known_body,
    known_delivery,
    known_headers,
    named_form,
)
from knouds_harness.contract.operations import Action, Fact
from knouds_harness.exchange.curl import ShellNames, curl
from knouds_harness.exchange.evidence import JSON, Exchange, Pairs
from knouds_harness.exchange.har import KeptBodies
from knouds_harness.runs.findings import Finding, Verdict, fingerprint

FACT: Final = "ground.additive-change-is-legal"

# Headers about transport, caching and browsers, not about the API.
TRANSPORT_HEADERS: Final = frozenset(
    {
        # HTTP itself: RFC 9110 and 9112
        *("accept", "accept-encoding", "accept-ranges", "allow", "connection", "content-encoding"),
        *("content-language", "content-length", "content-type", "date", "host", "keep-alive", "server"),
        *("trailer", "transfer-encoding", "upgrade", "user-agent", "vary", "via", "www-authenticate"),
        # caches
        *("age", "cache-control", "etag", "expires", "last-modified", "pragma"),
        # instructions to browsers
        *("alt-svc", "content-security-policy", "permissions-policy", "referrer-policy"),
        *("strict-transport-security", "x-content-type-options", "x-dns-prefetch-control"),
        *("x-download-options", "x-frame-options", "x-xss-protection", "origin-agent-cluster"),
        # proxies, reporting and tracing
        *("nel", "report-to", "reporting-endpoints", "server-timing", "traceparent", "tracestate"),
        *("x-cache", "x-forwarded-for", "x-forwarded-proto", "x-powered-by", "x-served-by", "x-timer"),
    }
)
_TRANSPORT_PREFIXES: Final = (
    *("access-control-", "cross-origin-", "cf-", "fly-", "x-amz-cf-", "x-vercel-", "x-matched-path"),
)
_SHOWS_WHAT_WAS_SENT: Final = "Workflows"
_BREAKING: Final = frozenset({Verdict.BREACH, Verdict.CONFLICT})
_TYPE_BY_CLASS: Final = {
    dict: "object",
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}
_MOST: Final = 100
"""Limits what is new by operation and kind, so that a server that invents names cannot fill the record."""
_LONGEST_NAME: Final = 80
_LARGEST_BYTES: Final = 200_000
_Note = Callable[..., None]


@dataclass(kw_only=True, slots=True)
class Novelty:
    """Something that one operation shows and the document does not name.

    Attributes:
        kind: ``member``, ``header``, ``code``, ``status`` or ``value``.
        operation: The operationId; None for webhook deliveries.
        where: A JSON pointer, ``header NAME``, or empty for a status; after ``delivery`` for webhooks.
        value: The new code, status or value; empty for members and headers.
    """

    kind: str
    operation: str | None
    where: str
    value: str
    first: Exchange
    count: int = 0
    types: set[str] = field(default_factory=set)
    statuses: set[int | None] = field(default_factory=set)

    @property
    def says(self) -> str:
        if self.kind == "member":
            return f"a member ({' or '.join(sorted(self.types))})"
        return {"header": "a header", "status": f"status {self.value}"}.get(
            self.kind, f"the {self.kind} {self.value}"
        )


class Gatherer:
    """Collects what exchanges show, one by one; sends, writes and judges nothing."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: dict[tuple[str | None, str, str, str], Novelty] = {}
        self._counts = Counter[tuple[str, str | None]]()
        self._sent_values = SentValues()
        self._bodies = KeptBodies()

    def add(self, exchange: Exchange) -> None:
        """Add a response to one of our requests; ignored if the request is to no documented operation."""
        operation = self._document.operation_by_id.get(exchange.request.operation_id or "")
        status = exchange.status
        if operation is None or status is None:
            return
        if exchange.request.action is Action.WRITE and exchange.request.body:
            self._sent_values.remember(exchange.request.body)
        note = partial(self._note, exchange, operation.id)
        if status not in operation.responses and 400 <= status < 500:
            note("status", "", str(status))
        if status >= 400 and exchange.code is not None and exchange.code not in self._document.error_codes:
            note("code", "/code", exchange.code)
        self._look_at_headers(exchange.headers, note)
        if exchange.body and (body := exchange.json_or_none()) is not None:
            sent = self._sent_values if operation.tag == _SHOWS_WHAT_WAS_SENT else None
            _look(known_body(operation, status), "", body, note, sent)

    def add_delivery(self, exchange: Exchange) -> None:
        """Add a webhook delivery: its request is the server's, its response ours."""
        payload = exchange.request.members
        if isinstance(payload.get("event"), str):
            note = partial(self._note, exchange, None)
            self._look_at_headers(exchange.request.headers, note)
            _look(known_delivery(), "", payload, note, None)

    def novelties(self, findings: Collection[Finding] = ()) -> list[Novelty]:
        """Return what the document does not name, once per operation and place.

        Statuses and codes that one of ``findings`` reports as a breach or conflict are left out.
        """
        broken = [each for each in findings if each.verdict in _BREAKING]
        statuses = {("status", each.operation, str(each.status)) for each in broken}
        codes = {(each.operation, each.status, each.code) for each in broken}
        return [
            new
            for new in self._found.values()
            if (new.kind, new.operation, new.value) not in statuses
            and not (new.kind == "code" and {(new.operation, s, new.value) for s in new.statuses} <= codes)
        ]

    def _look_at_headers(self, headers: Pairs, note: _Note) -> None:
        for name in {name.lower(): None for name, _ in headers}:
            is_of_transport = name in TRANSPORT_HEADERS or name.startswith(_TRANSPORT_PREFIXES)
            if not is_of_transport and name not in known_headers():
                note("header", f"header {name}")

    def _note(
        self,
        exchange: Exchange,
        operation: str | None,
        kind: str,
        where: str,
        value: str = "",
        *,
        shown: JSON = None,
    ) -> None:
        where = where if operation else f"delivery {where}"
        new = self._found.get((operation, kind, where, value))
        if new is None:
            if len(value) > _LONGEST_NAME or self._counts[kind, operation] >= _MOST:
                return
            self._counts[kind, operation] += 1
            first = self._bodies.kept(exchange)
            new = Novelty(kind=kind, operation=operation, where=where, value=value, first=first)
            self._found[operation, kind, where, value] = new
        new.count += 1
        new.types.add(_TYPE_BY_CLASS[type(shown)])
        new.statuses.add(exchange.status)


def _look(place: KnownPlace, pointer: str, value: JSON, note: _Note, sent: SentValues | None) -> None:
    """Note what is new in a body. Called for every response, so it has to be fast.

    A map with names of the user's own, or a member that is new itself, is not searched.
    """
    if isinstance(value, dict):
        for name, each in value.items() if place.members else ():
            known = place.members.get(name)
            if known is None:
                where = f"{pointer}/{escape(name)}"
                is_named = not place.is_free and len(_last(where)) <= _LONGEST_NAME
                if is_named and (sent is None or not sent.is_our_member(where)):
                    note("member", where, shown=each)
            elif known.members or known.items or known.listed is not None:
                _look(known, f"{pointer}/{escape(name)}", each, note, sent)
    elif isinstance(value, list) and place.items is not None:
        for each in value:
            _look(place.items, f"{pointer}/*", each, note, sent)
    elif isinstance(value, str) and place.listed is not None:
        name = named_form(value)
        if name not in place.listed and (sent is None or not sent.is_our_text(value)):
            note("value", pointer, name)


class SentValues:
    """Members and texts that the suite wrote into workflows: when they come back, they are not drift.

    A workflow that is read and written again also holds what the server added to it. So the side that sent a
    member or text first counts as its author.
    """

    def __init__(self) -> None:
        self._is_ours_by_name: dict[str, dict[str, bool]] = defaultdict(dict)
        self._is_ours_by_text: dict[str, bool] = {}

    def remember(self, body: bytes) -> None:
        """Note the members and texts of a request body, if it is JSON."""
        if len(body) > _LARGEST_BYTES:
            return
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return
        pending: list[tuple[str, JSON]] = [("", value)]
        while pending:
            where, each = pending.pop()
            if isinstance(each, dict):
                for name, member in each.items():
                    pointer = f"{where}/{escape(name)}"
                    self.is_our_member(pointer, is_sent=True)
                    pending.append((pointer, member))
            elif isinstance(each, list):
                pending += [(f"{where}/*", item) for item in each]
            elif isinstance(each, str):
                self.is_our_text(each, is_sent=True)

    def is_our_member(self, pointer: str, *, is_sent: bool = False) -> bool:
        """Return whether a member came from us, or does so now; if not, it is the server's from now on.

        Lists and schemas show parts of a workflow elsewhere, so one pointer may end with the other.
        """
        known = self._is_ours_by_name[_last(pointer)]
        same = (known[each] for each in known if each.endswith(pointer) or pointer.endswith(each))
        return known.setdefault(pointer, next(same, is_sent))

    def is_our_text(self, text: str, *, is_sent: bool = False) -> bool:
        """Return whether a text came from us, or does so now; if not, it is the server's from now on."""
        return self._is_ours_by_text.setdefault(text, is_sent)


def _last(pointer: str) -> str:
    return pointer.rpartition("/")[2]


def drift_finding(novelty: Novelty, fact: Fact, names: ShellNames | None = None) -> Finding:
    first = novelty.first
    check = f"drift.{novelty.kind}"
    return Finding(
        check=check,
        family="drift",
        fact=fact.id,
        operation=novelty.operation,
        persona=first.request.persona,
        verdict=Verdict.ADDITIVE,
        source=fact.source,
        expected="only what the document names",
        observed=novelty.says,
        where=novelty.where,
        status=first.status,
        code=first.code,
        exchange_id=first.id,
        curl=curl(first, names),
        fingerprint=fingerprint(
            check=check,
            fact=fact.id,
            operation=novelty.operation,
            where=novelty.where,
            code=novelty.value or None,
        ),
        count=novelty.count,
    )
