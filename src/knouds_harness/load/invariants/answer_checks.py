"""Answers under load against the contract, by the checks that judge every exchange.

Most answers are right, and a compiled schema says so in microseconds; only for the others is it asked what is
wrong. An answer that is byte for byte one that was right needs no second look.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from locust.exception import CatchResponseError

from knouds_harness.conformance.judging.claim import Check, Claim
from knouds_harness.conformance.judging.context import Context
from knouds_harness.conformance.judging.engine import judge
from knouds_harness.conformance.judging.findings import finding_of
from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import Operation
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.exchange.evidence import Exchange, Request, is_too_deep, parsed_json
from knouds_harness.exchange.failures import MAX_BODY_BYTES, TOO_LONG
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.load.client.response import Response
from knouds_harness.load.invariants.tallies import Tallies
from knouds_harness.targets.waivers import Waiver

_MOST_KNOWN: Final = 64
_MOST_FORMS: Final = 256
_LONGEST_KNOWN_BYTES: Final = 65_536


class ContractBroken(CatchResponseError):
    """What Locust is told of a success that breaks the contract.

    Attributes:
        code: The fact, in place of the ``code`` that a success does not have.
    """

    def __init__(self, fact: str, shown: str) -> None:
        """Say which fact is broken, and how."""
        super().__init__(f"{fact}: {shown}")
        self.code = fact


@dataclass(kw_only=True)
class _Form:
    """Right answers with the same members, which show the same facts."""

    facts: frozenset[str]
    seen: int = 0


@dataclass(kw_only=True)
class _AnswerKind:
    """Answers of one operation with one status.

    Attributes:
        headers: Names of those that matter.
        right_headers: Values of those that were right, and which of them were there.
        forms: By what decides which schemas apply.
        known: Bodies that were right, with which headers.
    """

    operation: Operation
    status: int
    headers: tuple[str, ...]
    right_headers: dict[tuple[str | None, ...], tuple[bool, ...]] = field(default_factory=dict)
    forms: dict[Hashable, _Form] = field(default_factory=dict)
    known: dict[tuple[tuple[bool, ...], bytes], _Form] = field(default_factory=dict)


class Verifier:
    """Judges answers that come to one process."""

    def __init__(
        self, document: Document, *, waivers: Sequence[Waiver] = (), redactor: Redactor | None = None
    ) -> None:
        """Judge nothing yet.

        Args:
            document: Says what is right.
            waivers: What the profile accepts.
            redactor: Knows the secrets of the target, which answers may hold.
        """
        self._redactor = redactor or Redactor()
        self._document = document
        self._shapes = ShapeJudge(document)
        self._waivers = waivers
        self._kinds: dict[tuple[str, int], _AnswerKind | None] = {}
        self._tallies = Tallies()

    def judge(self, name: str, response: Response, body: object = None) -> ContractBroken | None:
        """Judge an answer.

        Args:
            name: What statistics call the request: an operationId, and perhaps more after a space.
            response: The answer.
            body: Of the answer, if it was parsed already.

        Returns:
            What a success is to be counted as; None where it keeps the contract, or is no success.
        """
        if not response.status_code:
            return None
        key = name, response.status_code
        kind = self._kinds[key] if key in self._kinds else self._new_kind(*key)
        if kind is None:
            return None
        form = self._form_if_right(kind, response, body) if 200 <= kind.status < 300 else None
        if form is None:
            return self._judge_closely(kind, response)
        form.seen += 1
        return None

    def take(self) -> Tallies:
        """What was judged since the last time."""
        for kind in filter(None, self._kinds.values()):
            for form in kind.forms.values():
                self._count(form)
        taken, self._tallies = self._tallies, Tallies()
        return taken

    def _new_kind(self, name: str, status: int) -> _AnswerKind | None:
        operation = self._document.operation_by_id.get(name.partition(" ")[0])
        kind = None
        if operation is not None:
            documented = operation.responses.get(status)
            headers = ("content-type", *(each.lower() for each in (documented.headers if documented else ())))
            kind = _AnswerKind(operation=operation, status=status, headers=headers)
        self._kinds[name, status] = kind
        return kind

    def _form_if_right(self, kind: _AnswerKind, response: Response, body: object) -> _Form | None:
        """The form of an answer that keeps the contract; None where that is in doubt, or the form is new."""
        present = self._right_headers(kind, response)
        if present is None:
            return None
        try:
            content = response.content
        except ValueError:  # not of the encoding that it claims to have
            return None
        form = kind.known.get((present, content))
        if form is not None:
            return form
        if body is None:
            body = parsed_json(content)[0]
        if is_too_deep(content, body):
            return None
        form = kind.forms.get(_form_of(present, body))
        if form is None or not self._shapes.is_fitting_body(kind.operation, kind.status, body):
            return None
        if len(content) <= _LONGEST_KNOWN_BYTES:
            if len(kind.known) >= _MOST_KNOWN:
                kind.known.clear()
            kind.known[present, content] = form
        return form

    def _right_headers(self, kind: _AnswerKind, response: Response) -> tuple[bool, ...] | None:
        """Which of the headers that matter are there; None where one of them is wrong."""
        headers = response.headers
        values = tuple(
            [headers[each] if each in headers else None for each in kind.headers]  # noqa: SIM401 - get() raises
        )
        present = kind.right_headers.get(values)
        if present is not None:
            return present
        declared = values[0] or ""
        if declared.partition(";")[0].strip().lower() != "application/json":
            return None
        if self._shapes.header_mismatches(kind.operation, kind.status, headers.items()):
            return None
        if len(kind.right_headers) >= _MOST_KNOWN:
            kind.right_headers.clear()
        present = kind.right_headers[values] = tuple(each is not None for each in values)
        return present

    def _judge_closely(self, kind: _AnswerKind, response: Response) -> ContractBroken | None:
        """Have every check judge an answer, and remember its form if it is right."""
        exchange = self._as_exchange(kind.operation, response)
        context = Context(document=self._document, shapes=self._shapes, is_ours=False)
        claims = list(judge(exchange, context))
        facts = frozenset(claim.fact for _, claim in claims)
        unkept = {claim.fact: (check, claim) for check, claim in claims if not claim.holds}
        if not unkept and 200 <= kind.status < 300:
            self._remember(kind, response, facts)
        for fact in facts:
            self._tallies.see(fact, self._says(fact))
        first: ContractBroken | None = None
        for fact, (check, claim) in unkept.items():
            is_excused = not self._fails(check, claim, exchange)
            shown = self._redactor.safe(_shown(claim))
            example = f"{kind.operation.id} {kind.status}: {shown}"
            self._tallies.break_(fact, self._says(fact), example=example, is_excused=is_excused)
            if first is None and not is_excused:
                first = ContractBroken(fact, shown)
        return first if 200 <= kind.status < 300 else None

    def _remember(self, kind: _AnswerKind, response: Response, facts: frozenset[str]) -> None:
        body = parsed_json(response.content)[0]
        if body is None:
            return
        form = _form_of(self._right_headers(kind, response), body)
        if len(kind.forms) >= _MOST_FORMS:
            for each in kind.forms.values():
                self._count(each)
            kind.forms.clear()
            kind.known.clear()
        kind.forms.setdefault(form, _Form(facts=facts))

    def _count(self, form: _Form) -> None:
        for fact in form.facts if form.seen else ():
            self._tallies.see(fact, self._says(fact), form.seen)
        form.seen = 0

    def _fails(self, check: Check[...], claim: Claim, exchange: Exchange) -> bool:
        found = finding_of(check, exchange, claim, document=self._document, waivers=self._waivers)
        return found.fails(strict=False)

    def _says(self, fact: str) -> str:
        return self._document.facts[fact].says

    def _as_exchange(self, operation: Operation, response: Any) -> Exchange:  # noqa: ANN401 - of any client
        url = urlsplit(response.url or "")
        failure = None
        try:
            body = response.content or b""
            if len(body) > MAX_BODY_BYTES:
                body, failure = b"", TOO_LONG
        except ValueError as error:
            body, failure = b"", str(error)
        return Exchange(
            id="",
            request=Request(
                method=operation.method,
                path=url.path,
                query=tuple(parse_qsl(url.query, keep_blank_values=True)),  # whether a run is waited for
                action=operation.action,
                operation_id=operation.id,
            ),
            url=response.url or "",
            sent_headers=(),
            status=None if failure else response.status_code,
            headers=self._redactor.pairs(tuple(response.headers.items())),
            body=self._redactor.content(body),
            started_at=datetime.now(UTC),
            elapsed_ms=0.0,
            failure=failure,
        )


def _form_of(headers: tuple[bool, ...] | None, body: Any) -> Hashable:  # noqa: ANN401 - any JSON
    """What decides which schemas apply: the headers, the members, the status of an execution."""
    if isinstance(body, dict):
        status = body.get("status")
        return headers, status if isinstance(status, str) else None, *body
    return headers, type(body), bool(body)


def _shown(claim: Claim) -> str:
    place = f" at {claim.where}" if claim.where else ""
    return f"expected {claim.expected}{place}, observed {claim.observed}"
