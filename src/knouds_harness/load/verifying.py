"""Answers under load against the contract, by the checks that judge every exchange.

Most answers are right, and a compiled schema says so in microseconds; only for the others is it asked what is
wrong. An answer that is byte for byte one that was right needs no second look.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from locust.exception import CatchResponseError

from knouds_harness.conformance.claims import Check, Claim
from knouds_harness.conformance.common_checks import common_claims
from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import Operation
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.exchange.evidence import Exchange, Request
from knouds_harness.load.response import Response
from knouds_harness.load.tallies import Tallies
from knouds_harness.runs.findings import fingerprint
from knouds_harness.runs.verdicts import fails_run, verdict_for
from knouds_harness.target.waivers import Waiver

_MOST_KNOWN: Final = 64
_MOST_FORMS: Final = 256
_LONGEST_KNOWN_BYTES: Final = 65_536


class ContractBroken(CatchResponseError):
    """What Locust is told of a success that breaks the contract.

    Attributes:
        code: The fact, in place of the ``code`` that a success does not have.
    """

    def __init__(self, claim: Claim) -> None:
        """Say which promise is broken."""
        super().__init__(f"{claim.fact}: {_shown(claim)}")
        self.code = claim.fact


@dataclass(kw_only=True)
class _Form:
    """Right answers with the same members, which show the same facts."""

    facts: frozenset[str]
    seen: int = 0


@dataclass(kw_only=True)
class _Kind:
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

    def __init__(self, document: Document, *, waivers: Sequence[Waiver] = ()) -> None:
        """Judge nothing yet.

        Args:
            document: Says what is right.
            waivers: What the profile accepts.
        """
        self._document = document
        self._shapes = ShapeJudge(document)
        self._waivers = waivers
        self._kinds: dict[tuple[str, int], _Kind | None] = {}
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

    def _new_kind(self, name: str, status: int) -> _Kind | None:
        operation = self._document.operation_by_id.get(name.partition(" ")[0])
        kind = None
        if operation is not None:
            documented = operation.responses.get(status)
            headers = ("content-type", *(each.lower() for each in (documented.headers if documented else ())))
            kind = _Kind(operation=operation, status=status, headers=headers)
        self._kinds[name, status] = kind
        return kind

    def _form_if_right(self, kind: _Kind, response: Response, body: object) -> _Form | None:
        """The form of an answer that keeps the contract; None where that is in doubt, or the form is new."""
        present = self._right_headers(kind, response)
        if present is None:
            return None
        content = response.content
        form = kind.known.get((present, content))
        if form is not None:
            return form
        if body is None:
            try:
                body = json.loads(content)
            except ValueError:
                return None
        form = kind.forms.get(_form_of(present, body))
        if form is None or not self._shapes.is_fitting_body(kind.operation, kind.status, body):
            return None
        if len(content) <= _LONGEST_KNOWN_BYTES:
            if len(kind.known) >= _MOST_KNOWN:
                kind.known.clear()
            kind.known[present, content] = form
        return form

    def _right_headers(self, kind: _Kind, response: Response) -> tuple[bool, ...] | None:
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

    def _judge_closely(self, kind: _Kind, response: Response) -> ContractBroken | None:
        """Have every check judge an answer, and remember its form if it is right."""
        exchange = _as_exchange(kind.operation, response)
        claims = [
            (check, claim)
            for check, made in common_claims(exchange, document=self._document, shapes=self._shapes)
            for claim in made
        ]
        facts = frozenset(claim.fact for _, claim in claims)
        unkept = {claim.fact: (check, claim) for check, claim in claims if not claim.holds}
        if not unkept and 200 <= kind.status < 300:
            self._remember(kind, response, facts)
        for fact in facts:
            self._tallies.see(fact, self._says(fact))
        first: Claim | None = None
        for fact, (check, claim) in unkept.items():
            is_excused = not self._fails(check, claim, exchange)
            example = f"{kind.operation.id} {kind.status}: {_shown(claim)}"
            self._tallies.break_(fact, self._says(fact), example=example, is_excused=is_excused)
            if first is None and not is_excused:
                first = claim
        return ContractBroken(first) if first and 200 <= kind.status < 300 else None

    def _remember(self, kind: _Kind, response: Response, facts: frozenset[str]) -> None:
        present = self._right_headers(kind, response)
        try:
            form = _form_of(present, json.loads(response.content))
        except ValueError:
            return
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
        mark = fingerprint(
            check=check.id,
            fact=claim.fact,
            operation=exchange.request.operation_id,
            where=claim.where,
            status=exchange.status,
            code=exchange.code,
        )
        is_waived = any(
            waiver.matches(
                fingerprint=mark,
                fact=claim.fact,
                check=check.id,
                operation=exchange.request.operation_id,
                status=exchange.status,
                code=exchange.code,
            )
            for waiver in self._waivers
            if not waiver.is_expired(datetime.now(UTC).date())
        )
        verdict = verdict_for(self._document.facts[claim.fact])
        return fails_run(verdict, strict=False, is_waived=is_waived)

    def _says(self, fact: str) -> str:
        return self._document.facts[fact].says


def _form_of(headers: tuple[bool, ...] | None, body: Any) -> Hashable:  # noqa: ANN401 - any JSON
    """What decides which schemas apply: the headers, the members, the status of an execution."""
    if isinstance(body, dict):
        status = body.get("status")
        return headers, status if isinstance(status, str) else None, *body
    return headers, type(body), bool(body)


def _as_exchange(operation: Operation, response: Any) -> Exchange:  # noqa: ANN401 - of any client
    url = urlsplit(response.url or "")
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
        status=response.status_code,
        headers=tuple(response.headers.items()),
        body=response.content or b"",
        started_at=datetime.now(UTC),
        elapsed_ms=0.0,
    )


def _shown(claim: Claim) -> str:
    place = f" at {claim.where}" if claim.where else ""
    return f"expected {claim.expected}{place}, observed {claim.observed}"
