"""Judges responses under load by the checks that judge every exchange.

Every success is looked at, and judged unless it is JSON with members that were judged before. The first
responses of each kind are judged too, and a share of the others. Most are right, and a compiled schema says
so in microseconds; only the rest goes through all checks. A body that is byte for byte one that was right is
not judged again.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from knouds_harness.body_bounds import MAX_BODY_BYTES, TOO_LONG, is_too_deep
from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import Operation
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.exchange.evidence import JSON, Exchange, Request, parsed_json
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.judging.claim import Check, Claim
from knouds_harness.judging.context import Context
from knouds_harness.judging.engine import finding_of, judge
from knouds_harness.load.client.response import Response
from knouds_harness.load.invariants.tallies import Tallies
from knouds_harness.targets.resources import Waiver

_JUDGED_FIRST: Final = 20
"""How many first responses of each operation and status are judged, even if the share is small."""
_JUDGED_TOGETHER: Final = 16
"""Batch size for judging responses: a batch costs half as much as judging scattered ones."""
_MOST_KNOWN: Final = 64
_MOST_FORMS: Final = 256
_LONGEST_KNOWN_BYTES: Final = 65_536
_LONGEST_ADMITTED_BYTES: Final = 1_000_000


class ContractBroken(NamedTuple):
    """Why a success that breaks the contract is none: the fact, and what was shown."""

    fact: str
    shown: str


@dataclass(kw_only=True)
class _Form:
    """Right responses with the same members, which show the same facts."""

    facts: frozenset[str]
    seen: int = 0


@dataclass(kw_only=True, slots=True)
class _AnswerKind:
    """Responses of one operation with one status.

    Attributes:
        right_headers: Header values that were right, and which headers were present.
        forms: Forms by what decides which schemas apply.
        known: Forms of bodies that were right, by the headers present and the body.
        judged_left: How many of the next responses are judged, once those of ``passed_left`` have come.
        passed_left: How many of the next responses pass by their members.
        admitted: Members of bodies that had no finding that fails a run.
        last_admitted: The last of these bodies, as it was sent.
        verified: How many responses were judged, and did not pass by their members.
    """

    operation: Operation
    status: int
    is_success: bool
    headers: tuple[str, ...]
    right_headers: dict[tuple[str | None, ...], tuple[bool, ...]] = field(default_factory=dict)
    forms: dict[Hashable, _Form] = field(default_factory=dict)
    known: dict[tuple[tuple[bool, ...], bytes], _Form] = field(default_factory=dict)
    judged_left: int = _JUDGED_FIRST
    passed_left: int = 0
    admitted: set[Hashable] = field(default_factory=set)
    last_admitted: bytes | None = None
    seen: int = 0
    verified: int = 0


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
        self._shapes = ShapeJudge(document)
        self._waivers = waivers
        self._kinds: defaultdict[str, dict[int, _AnswerKind | None]] = defaultdict(dict)
        self._tallies = tallies

    def judge(self, name: str, response: Response, body: JSON = None) -> ContractBroken | None:
        """Judge a response.

        Returns:
            The failure that a success counts as; None if it keeps the contract, or is not a success.
        """
        try:
            kind = self._kinds[name][response.status_code]
        except KeyError:
            kind = self._new_kind(name, response.status_code)
        if kind is None:
            return None
        kind.seen += 1
        if kind.passed_left:  # most responses end here, so it calls as little as possible
            kind.passed_left -= 1
            if type(body) is dict and tuple(body) in kind.admitted and response.is_strict_json:
                return None
            if not kind.is_success or response.raw_body == kind.last_admitted or _is_admitted(kind, response):
                return None
        else:
            kind.judged_left -= 1
            if not kind.judged_left:
                kind.judged_left, kind.passed_left = _JUDGED_TOGETHER, self._gap()
        kind.verified += 1
        form = self._form_if_right(kind, response) if kind.is_success else None
        if form is None:
            return self._judge_closely(kind, response)
        form.seen += 1
        _keep(kind, response.raw_body)
        return None

    def pass_by(self, name: str, status: int) -> None:
        """Count a response that was not copied: its body is one that was judged before."""
        try:
            kind = self._kinds[name][status]
        except KeyError:
            kind = self._new_kind(name, status)
        if kind is not None:
            kind.seen += 1

    def add_up(self) -> None:
        """Add what was seen since the last call to the tallies."""
        for kind in filter(None, chain(*map(dict.values, self._kinds.values()))):
            self._tallies.answers += kind.seen
            self._tallies.verified += kind.verified
            kind.seen = kind.verified = 0
            for form in kind.forms.values():
                self._count(form)

    def _gap(self) -> int:
        """Draw how many responses pass by their members before the next ones are judged."""
        if self._share >= 1:
            return 0
        return _JUDGED_TOGETHER * int(math.log(1 - self._draw()) / math.log1p(-self._share))

    def _new_kind(self, name: str, status: int) -> _AnswerKind | None:
        operation = self._document.operation_by_id.get(name.partition(" ")[0])
        kind = None
        if operation is not None and status:
            documented = operation.responses.get(status)
            headers = ("content-type", *(each.lower() for each in (documented.headers if documented else ())))
            kind = _AnswerKind(
                operation=operation, status=status, is_success=200 <= status < 300, headers=headers
            )
        self._kinds[name][status] = kind
        return kind

    def _form_if_right(self, kind: _AnswerKind, response: Response) -> _Form | None:
        """Return the form of a response that keeps the contract; None if in doubt, or if the form is new."""
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
        body = _body_of(response)
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
        """Return which of the documented headers are present; None if one of them is wrong."""
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
        exchange = self._as_exchange(kind.operation, response)
        context = Context(document=self._document, shapes=self._shapes, is_ours=False)
        claims = list(judge(exchange, context))
        facts = frozenset(claim.fact for _, claim in claims)
        unkept = {claim.fact: (check, claim) for check, claim in claims if not claim.holds}
        if not unkept and kind.is_success:
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
        if not kind.is_success:
            return None
        if first is None:
            if len(kind.admitted) >= _MOST_FORMS:
                kind.admitted.clear()
            members = _members_of(_body_of(response))
            if members is not None:
                kind.admitted.add(members)
            _keep(kind, response.raw_body)
        return first

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
                query=tuple(parse_qsl(url.query, keep_blank_values=True)),  # says whether a run is async
                path_values=operation.path_values(url.path) or {},
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


def _is_admitted(kind: _AnswerKind, response: Response) -> bool:
    try:
        members = _members_of(response.json())
    except ValueError:
        return False
    return members in kind.admitted and response.is_strict_json


def _members_of(body: JSON) -> Hashable:
    """Return the members of an object, with its status, which decides those of an execution; else None."""
    if type(body) is not dict:
        return None
    members = tuple(body)
    return (str(body["status"]), members) if "status" in body else members


def _keep(kind: _AnswerKind, raw_body: bytes) -> None:
    if len(raw_body) <= _LONGEST_ADMITTED_BYTES:
        kind.last_admitted = raw_body


def _body_of(response: Response) -> JSON:
    try:
        body = response.json()
        return body if response.is_strict_json else parsed_json(response.content)[0]
    except ValueError:
        return None


def _form_of(headers: tuple[bool, ...] | None, body: Any) -> Hashable:  # noqa: ANN401 - any JSON
    """Return what decides which schemas apply: headers present, members, the status of an execution."""
    if isinstance(body, dict):
        status = body.get("status")
        return headers, status if isinstance(status, str) else None, *body
    return headers, type(body), bool(body)


def _shown(claim: Claim) -> str:
    place = f" at {claim.where}" if claim.where else ""
    return f"{claim.difference}{place}"
