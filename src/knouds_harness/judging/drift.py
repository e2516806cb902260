"""Drift: what responses hold beyond the document. Every exchange adds to it; it never fails a run."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from knouds_harness.contract.document import Document
from knouds_harness.contract.known_places import FREE, KnownPlaces
from knouds_harness.contract.operations import Action, Fact
from knouds_harness.exchange.curl import ShellNames, curl
from knouds_harness.exchange.evidence import Exchange, KeptBodies, Pairs
from knouds_harness.judging.observed_schema import (
    MOST_PER_PLACE,
    ObservedPlace,
    SentValues,
    Sighting,
    look,
    note,
)
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


@dataclass(frozen=True, kw_only=True)
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
    value: str = ""
    says: str
    seen: Sighting


@dataclass(kw_only=True)
class _Answers:
    """What was seen in all responses of one operation and status, or in all deliveries of one event."""

    operation: str | None
    is_documented: bool
    body: ObservedPlace
    codes: dict[str, Sighting] = field(default_factory=dict)
    headers: dict[str, ObservedPlace] = field(default_factory=dict)
    count: int = 0


class Gatherer:
    """Collects what exchanges show, one by one; sends, writes and judges nothing."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._known = KnownPlaces(document)
        self._answers: dict[tuple[str, int], _Answers] = {}
        self._deliveries: dict[str, _Answers] = {}
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
        found, kept = self._answers.get((operation.id, status)), self._bodies.kept(exchange)
        if found is None:
            found = self._answers[operation.id, status] = _Answers(
                operation=operation.id,
                is_documented=status in operation.responses,
                body=ObservedPlace(known=self._known.body(operation, status), first=kept),
            )
        sent = self._sent_values if operation.tag == _SHOWS_WHAT_WAS_SENT else None
        found.count += 1
        self._add_headers(found, exchange.headers, kept)
        if exchange.body and (body := exchange.json_or_none()) is not None:
            look(found.body, body, kept, sent=sent)
        if status >= 400 and exchange.code is not None:
            note(found.codes, exchange.code, kept)

    def add_delivery(self, exchange: Exchange) -> None:
        """Add a webhook delivery: its request is the server's, its response ours."""
        payload = exchange.request.members
        event = payload.get("event")
        if not isinstance(event, str):
            return
        found = self._deliveries.get(event)
        if found is None:
            if len(self._deliveries) >= MOST_PER_PLACE:
                return
            body = ObservedPlace(known=self._known.delivery, first=exchange)
            found = self._deliveries[event] = _Answers(operation=None, is_documented=True, body=body)
        found.count += 1
        self._add_headers(found, exchange.request.headers, exchange)
        look(found.body, payload, exchange, sent=None)

    def novelties(self, findings: Collection[Finding] = ()) -> list[Novelty]:
        """Return what the document does not name, once per operation and place.

        Statuses and codes that one of ``findings`` reports as a breach or conflict are left out.
        """
        broken = {(each.operation, each.status) for each in findings if each.verdict in _BREAKING}
        with_code = {
            (each.operation, each.status, each.code) for each in findings if each.verdict in _BREAKING
        }
        found: dict[tuple[str, str | None, str, str], Novelty] = {}
        for (operation, status), answers in self._answers.items():
            for new in self._new_in(answers, status):
                if new.kind == "status" and (operation, status) in broken:
                    continue
                if new.kind == "code" and (operation, status, new.value) in with_code:
                    continue
                _join(found, new)
        for answers in self._deliveries.values():
            for new in self._new_in(answers, None):
                _join(found, replace(new, where=f"delivery {new.where}"))
        return list(found.values())

    def _add_headers(self, found: _Answers, headers: Pairs, exchange: Exchange) -> None:
        for name in dict.fromkeys([name.lower() for name, _ in headers]):
            if name in TRANSPORT_HEADERS or name.startswith(_TRANSPORT_PREFIXES):
                continue
            seen = found.headers.get(name)
            if seen is None:
                if len(found.headers) >= MOST_PER_PLACE:
                    continue
                is_drift = name not in self._known.headers
                seen = found.headers[name] = ObservedPlace(known=FREE, first=exchange, is_drift=is_drift)
            seen.count += 1

    def _new_in(self, found: _Answers, status: int | None) -> Iterator[Novelty]:
        operation = found.operation
        if not found.is_documented and status is not None and 400 <= status < 500:
            seen = Sighting(first=found.body.first, count=found.count)
            yield Novelty(
                kind="status",
                operation=operation,
                where="",
                value=str(status),
                says=f"status {status}",
                seen=seen,
            )
        for code, seen in found.codes.items():
            if code not in self._known.codes:
                yield Novelty(
                    kind="code",
                    operation=operation,
                    where="/code",
                    value=code,
                    says=f"the code {code}",
                    seen=seen,
                )
        for name, header in found.headers.items():
            if header.is_drift:
                seen = Sighting(first=header.first, count=header.count)
                yield Novelty(
                    kind="header", operation=operation, where=f"header {name}", says="a header", seen=seen
                )
        for place in found.body.all():
            if place.is_drift:
                seen = Sighting(first=place.first, count=place.count)
                says = f"a member ({' or '.join(sorted(place.types))})"
                yield Novelty(kind="member", operation=operation, where=place.pointer, says=says, seen=seen)
            for value, seen in place.values.items():
                if value not in (place.known.listed or ()):
                    says = f"the value {value}"
                    yield Novelty(
                        kind="value",
                        operation=operation,
                        where=place.pointer,
                        value=value,
                        says=says,
                        seen=seen,
                    )


def _join(found: dict[tuple[str, str | None, str, str], Novelty], new: Novelty) -> None:
    key = (new.kind, new.operation, new.where, new.value)
    known = found.get(key)
    if known is None:
        found[key] = new
        return
    first = min(known.seen.first, new.seen.first, key=lambda exchange: exchange.started_at)
    found[key] = replace(known, seen=Sighting(first=first, count=known.seen.count + new.seen.count))


def drift_finding(novelty: Novelty, fact: Fact, names: ShellNames | None = None) -> Finding:
    """Turn a novelty into a finding."""
    first = novelty.seen.first
    check = f"drift.{novelty.kind}"
    return Finding(
        check=check,
        family="drift",
        fact=fact.id,
        operation=novelty.operation,
        persona=first.request.persona,
        verdict=Verdict.ADDITIVE,
        source=fact.source,
        expected="nothing that the document does not name",
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
        count=novelty.seen.count,
    )
