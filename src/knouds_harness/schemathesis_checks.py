"""Our checks for people who live in schemathesis: ``st run`` loads this module as its ``hooks``.

Each check that can judge an answer by itself is there under its own id, with ``knouds_`` before it:
``envelopes.envelope`` is ``knouds_envelopes_envelope``. What was only assumed fails nothing. Importing the
module registers the checks, as schemathesis asks of hooks; so nothing else imports it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

import schemathesis
from pydantic import TypeAdapter

from knouds_harness.contract.capabilities import LIMIT_BY_TIER
from knouds_harness.contract.document import Document, shipped_document
from knouds_harness.contract.operations import RUN_OPERATIONS, Action
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.exchange.evidence import Exchange, Request
from knouds_harness.judging.claim import Check, Claim, is_limited_run
from knouds_harness.judging.context import Context
from knouds_harness.judging.engine import checks_of_every_answer, checks_that_apply, claims_of, finding_of
from knouds_harness.runs.findings import verdict_for
from knouds_harness.targets.profile_format import ONLY_KNOWN_KEYS
from knouds_harness.targets.resources import Waiver

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
"""Those whose answers the ground rules are about; a preflight's or a HEAD's has no body to judge."""


def exchange_of(response: schemathesis.Response, case: schemathesis.Case[Any]) -> Exchange:
    """What schemathesis sent and got, as an exchange; the key is left out.

    The operation is the one that the request really addresses: a generated path may have become another's.
    """
    sent = response.request
    address = urlsplit(sent.url or "")
    base_path = urlsplit(case.operation.base_url or "").path.rstrip("/")
    path = address.path.removeprefix(base_path)
    method = (sent.method or "").upper()
    operation, values = _contract()[0].recognise(method, path) or (None, {})
    return Exchange(
        id=case.id,
        request=Request(
            method=method,
            path=path,
            query=tuple(parse_qsl(address.query, keep_blank_values=True)),
            operation_id=operation.id if operation else None,
            path_values=values,
            action=operation.action if operation else Action.READ,
        ),
        url=sent.url or "",
        sent_headers=(),
        status=response.status_code,
        headers=tuple((name, value) for name, values in response.headers.items() for value in values),
        body=response.content or b"",
        started_at=datetime.now(UTC) - timedelta(seconds=response.elapsed),
        elapsed_ms=response.elapsed * 1000,
    )


@lru_cache
def _contract() -> tuple[Document, ShapeJudge]:
    document = shipped_document()
    return document, ShapeJudge(document)


class ContractCheck:
    """One of our checks in the form that schemathesis calls; each registered one is a class of its own."""

    check: ClassVar[Check[...]]

    def __init__(self, *, waivers: Sequence[Mapping[str, Any]] = ()) -> None:
        """Take the check's table in ``schemathesis.toml``.

        Args:
            waivers: As in a target's profile, ``expires`` as text: findings that are accepted for a while.

        Raises:
            ValueError: A waiver lacks its reason or its end, or does not say what it accepts.
        """
        tables = TypeAdapter(tuple[Waiver, ...], config=ONLY_KNOWN_KEYS)
        self._waivers = tables.validate_python([dict(each) for each in waivers], strict=False)
        if not all(str(waiver) for waiver in self._waivers):
            raise ValueError("a waiver does not say which findings it accepts: name a fact")

    def after_response(
        self, _ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
    ) -> bool | None:
        """Judge one answer.

        Returns:
            True where there was nothing to judge; schemathesis then counts no success.

        Raises:
            AssertionError: Something documented is broken, and not waived.
        """
        if response.request.method not in _METHODS:
            return True
        exchange = exchange_of(response, case)
        claims = list(self.claims(exchange, key=str(response.request.headers.get("x-api-key", ""))))
        broken = [claim for claim in claims if not claim.holds and self._fails(claim, exchange)]
        if broken:
            raise AssertionError("\n".join(_described(claim) for claim in broken))
        return None if claims else True

    def claims(self, exchange: Exchange, *, key: str) -> Iterator[Claim]:  # noqa: ARG002 - for those that ask
        """What the check claims of an answer to somebody with this key."""
        return self._claims(exchange, {})

    def _claims(self, exchange: Exchange, known: Mapping[str, object]) -> Iterator[Claim]:
        document, shapes = _contract()
        context = Context(document=document, shapes=shapes, known=known)
        yield from claims_of(self.check.id, exchange, context) or ()

    def _fails(self, claim: Claim, exchange: Exchange) -> bool:
        found = finding_of(self.check, exchange, claim, document=_contract()[0], waivers=self._waivers)
        return found.fails(strict=False)


class RateLimitCheck(ContractCheck):
    """A check of a run's rate-limit headers, which only accounts on a limited tier are promised.

    Whether the account is one, ``getWhoami`` tells: until it has answered for a key, its runs are not judged.
    """

    def __init__(self, *, waivers: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(waivers=waivers)
        self._tier_by_key: dict[str, str] = {}

    def claims(self, exchange: Exchange, *, key: str) -> Iterator[Claim]:
        """Learn of the account, or judge a run of it."""
        operation_id, body = exchange.request.operation_id, exchange.json_or_none()
        if operation_id == "getWhoami" and exchange.status == 200 and isinstance(body, dict):
            user = body.get("user")
            if isinstance(user, dict) and user.get("role") == "user" and isinstance(user.get("tier"), str):
                self._tier_by_key[key] = user["tier"]
        tier = self._tier_by_key.get(key)
        if operation_id in RUN_OPERATIONS and tier in LIMIT_BY_TIER:
            yield from self._claims(exchange, {"tier": tier})


def _described(claim: Claim) -> str:
    fact = _contract()[0].facts[claim.fact]
    where = f" ({claim.where})" if claim.where else ""
    verdict = verdict_for(fact)
    return f"{verdict}: {fact.id}{where}\n    expected: {claim.expected}\n    observed: {claim.observed}"


def _register(check: Check[...], kind: type[ContractCheck]) -> None:
    name = f"knouds_{re.sub(r'[.-]', '_', check.id)}"
    schemathesis.check(type(name, (kind,), {"check": check, "__doc__": check.sentence}))


for _check in checks_of_every_answer():
    _register(_check, ContractCheck)
for _check in checks_that_apply(is_limited_run):
    if "earlier_runs" not in _check.given:  # of which one answer knows nothing
        _register(_check, RateLimitCheck)
