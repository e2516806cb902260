"""Judges responses under load by the checks that judge every exchange.

Every success is looked at, and judged unless it is JSON with members that were judged before. The first
responses of each kind are judged too, and a share of the others. Most are right, and a compiled schema says
so in microseconds; only the rest goes through all checks.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from knouds_harness.body_bounds import MAX_BODY_BYTES, TOO_LONG, is_too_deep
from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import Operation
from knouds_harness.contract.shapes import header_mismatches, is_fitting_body
from knouds_harness.exchange.evidence import Exchange, Request
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.judging.context import Context
from knouds_harness.judging.engine import finding_of, judge
from knouds_harness.load.client.response import Response
from knouds_harness.load.invariants.tallies import Tallies
from knouds_harness.targets.resources import Waiver

_JUDGED_FIRST: Final = 20
"""How many first responses of each operation and status are judged, even if the share is small."""
_MOST_FORMS: Final = 256


class ContractBroken(NamedTuple):
    """Why a success that breaks the contract is none: the fact, and what was shown."""

    fact: str
    shown: str


@dataclass(kw_only=True, slots=True)
class _AnswerKind:
    """Responses of one operation with one status.

    Attributes:
        headers: Those that the document has.
        forms: Of forms of which one was judged and broke nothing: the facts that each shows that fits the
            schemas. Empty if something was excused: then all are judged.
        outside: What answered the last that was judged, in front of the API; empty if the API itself did.
    """

    operation: Operation
    status: int
    is_success: bool
    headers: tuple[str, ...]
    forms: dict[Hashable, frozenset[str]] = field(default_factory=dict)
    first_left: int = _JUDGED_FIRST
    outside: str = ""


class Verifier:
    """Judges responses in one process; of those with known members, a ``share``."""

    def __init__(
        self,
        document: Document,
        tallies: Tallies,
        *,
        waivers: Sequence[Waiver] = (),
        redactor: Redactor | None = None,
        share: float = 1.0,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._share = share
        self._draw = draw
        self._redactor = redactor or Redactor()
        self._document = document
        self._waivers = waivers
        self._kinds: dict[tuple[str, int], _AnswerKind | None] = {}
        self._tallies = tallies
        self._shown: Counter[frozenset[str]] = Counter()

    def judge(self, name: str, response: Response) -> ContractBroken | None:
        """Judge a response; return what a success breaks, or None."""
        kind = self._kind(name, response.status_code)
        if kind is None:
            return None
        self._tallies.answers += 1
        facts = kind.forms.get(_form_of(kind, response)) if kind.is_success else None
        if kind.first_left:
            kind.first_left -= 1
        elif (facts is not None or not kind.is_success) and self._draw() >= self._share:
            return None
        self._tallies.verified += 1
        if facts and self._fits(kind, response):
            self._shown[facts] += 1
            return None
        return self._judge_closely(kind, response)

    def pass_by(self, name: str, status: int) -> None:
        """Count a response that was not copied: its body is one that was judged before."""
        if self._kind(name, status) is not None:
            self._tallies.answers += 1

    def outside(self, name: str, status: int) -> str:
        """Return what answered in front of the API, such as ``text/html from nginx``; empty if it did."""
        kind = self._kind(name, status)
        return kind.outside if kind else ""

    def add_up(self) -> None:
        """Add the facts that were shown since the last call to the tallies."""
        for facts, count in self._shown.items():
            for fact in facts:
                self._tallies.see(fact, self._says(fact), count)
        self._shown.clear()

    def _kind(self, name: str, status: int) -> _AnswerKind | None:
        if (name, status) not in self._kinds:
            operation = self._document.operation_by_id.get(name.partition(" ")[0])
            kind = None
            if operation is not None and status:
                documented = operation.responses.get(status)
                headers = tuple(each.lower() for each in (documented.headers if documented else ()))
                is_success = 200 <= status < 300
                kind = _AnswerKind(operation=operation, status=status, is_success=is_success, headers=headers)
            self._kinds[name, status] = kind
        return self._kinds[name, status]

    def _fits(self, kind: _AnswerKind, response: Response) -> bool:
        """Whether headers and body fit their schemas, so that a known form says what they show."""
        declared = response.headers.get("content-type", "")
        if declared.partition(";")[0].strip().lower() != "application/json":
            return False
        body = response.json()
        return (
            not header_mismatches(kind.operation, kind.status, response.headers.items())
            and not is_too_deep(response.content, body)
            and is_fitting_body(kind.operation, kind.status, body)
        )

    def _judge_closely(self, kind: _AnswerKind, response: Response) -> ContractBroken | None:
        exchange = self._as_exchange(kind.operation, response)
        claims = list(judge(exchange, Context(is_ours=False)))
        facts = frozenset(claim.fact for _, claim in claims)
        self._shown[facts] += 1
        unkept = {claim.fact: (check, claim) for check, claim in claims if not claim.holds}
        kind.outside = next((claim.cause.partition(" ")[2] for _, claim in claims if claim.cause), "")
        first: ContractBroken | None = None
        for fact, (check, claim) in unkept.items():
            found = finding_of(check, exchange, claim, waivers=self._waivers)
            is_excused = not found.fails(strict=False)
            shown = self._redactor.safe(claim.difference)
            example = f"{kind.operation.id} {kind.status}: {shown}"
            self._tallies.break_(fact, self._says(fact), example=example, is_excused=is_excused)
            if first is None and not is_excused:
                first = ContractBroken(fact, shown)
        if not kind.is_success:
            return None
        form = _form_of(kind, response)
        if first is None and form is not None:
            if len(kind.forms) >= _MOST_FORMS:
                kind.forms.clear()
            kind.forms.setdefault(form, frozenset() if unkept else facts)
        return first

    def _says(self, fact: str) -> str:
        return self._document.facts[fact].says

    def _as_exchange(self, operation: Operation, response: Response) -> Exchange:
        url = urlsplit(response.url)
        failure = None
        try:
            body = response.content
            if len(body) > MAX_BODY_BYTES:
                body, failure = b"", TOO_LONG
        except ValueError as error:
            body, failure = b"", str(error)
        return Exchange(
            id="",
            request=Request(
                method=operation.method,
                path=url.path,
                query=tuple(parse_qsl(url.query, keep_blank_values=True)),  # says whether a run is async
                path_values=operation.path_values(url.path) or {},
                operation_id=operation.id,
            ),
            url=response.url,
            sent_headers=(),
            status=None if failure else response.status_code,
            headers=self._redactor.pairs(tuple(response.headers.items())),
            body=self._redactor.content(body),
            started_at=datetime.now(UTC),
            elapsed_ms=0.0,
            failure=failure,
        )


def _form_of(kind: _AnswerKind, response: Response) -> Hashable:
    """Return what decides which schemas apply: headers present, members, the status of an execution.

    None if the body is not strict JSON.
    """
    try:
        _ = response.content  # fails if it is not of the encoding that it claims to have
        body = response.json()
    except ValueError:
        return None
    if not response.is_strict_json:
        return None
    headers = tuple([each in response.headers for each in kind.headers])
    if isinstance(body, dict):
        status = body.get("status")
        return headers, status if isinstance(status, str) else None, *body
    return headers, type(body), bool(body)
