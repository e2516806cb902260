"""Our checks as schemathesis checks: ``st run`` loads this module as its ``hooks``.

Each check that can judge a single response is registered under its id with the prefix ``knouds_``:
``envelopes.envelope`` is ``knouds_envelopes_envelope``. A wrong assumption fails nothing. Importing the
module registers the checks, as schemathesis requires of hooks; so no other module imports it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import schemathesis
from pydantic import TypeAdapter

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import LIMIT_BY_TIER, RUN_OPERATIONS
from knouds_harness.exchange.evidence import Exchange, members_of
from knouds_harness.exchange.har import observed_request
from knouds_harness.judging.checks import validation
from knouds_harness.judging.claim import Check, Claim, is_limited_run
from knouds_harness.judging.context import Case, Context
from knouds_harness.judging.engine import checks_of_every_answer, checks_that_apply, claims_of, finding_of
from knouds_harness.judging.rule.reading import claims_by_rule
from knouds_harness.runs.findings import verdict_for
from knouds_harness.targets.profile_format import ONLY_KNOWN_KEYS
from knouds_harness.targets.resources import Waiver

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
"""The methods that are judged; a response to OPTIONS or HEAD has no body to judge."""


def exchange_of(response: schemathesis.Response, case: schemathesis.Case[Any]) -> Exchange:
    """Make an exchange of a schemathesis request and its response; the key is left out.

    The operation is the one that the request really addresses: a generated path can match another operation.
    """
    sent = response.request
    body = sent.body
    declared = sent.headers.get("content-type")
    return Exchange(
        id=case.id,
        request=observed_request(
            (sent.method or "").upper(),
            sent.url or "",
            body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else None,
            base_path=urlsplit(case.operation.base_url or "").path.rstrip("/"),
        ),
        url=sent.url or "",
        sent_headers=(("content-type", str(declared)),) if declared else (),
        status=response.status_code,
        headers=tuple((name, value) for name, values in response.headers.items() for value in values),
        body=response.content or b"",
        started_at=datetime.now(UTC) - timedelta(seconds=response.elapsed),
        elapsed_ms=response.elapsed * 1000,
    )


class ContractCheck:
    """One of our checks in the form that schemathesis calls; each check is registered as its own subclass."""

    check: ClassVar[Check[...]]

    def __init__(self, *, waivers: Sequence[Mapping[str, Any]] = ()) -> None:
        """Read the check's table of ``schemathesis.toml``.

        Args:
            waivers: Waivers as in a target's profile, with ``expires`` as text.

        Raises:
            ValueError: A waiver lacks a reason or an expiry date, or does not say what it accepts.
        """
        tables = TypeAdapter(tuple[Waiver, ...], config=ONLY_KNOWN_KEYS)
        self._waivers = tables.validate_python([dict(each) for each in waivers], strict=False)
        if not all(str(waiver) for waiver in self._waivers):
            raise ValueError("a waiver does not say which findings it accepts: name a fact")

    def after_response(
        self, _ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
    ) -> bool | None:
        """Judge one response; return True if there was nothing to judge, which schemathesis does not count.

        Raises:
            AssertionError: A documented fact is broken and not waived.
        """
        if response.request.method not in _METHODS:
            return True
        exchange = exchange_of(response, case)
        claims = list(self.claims(exchange, key=str(response.request.headers.get("x-api-key", ""))))
        findings = [
            (claim, finding_of(self.check, exchange, claim, waivers=self._waivers))
            for claim in claims
            if not claim.holds
        ]
        broken = [_described(claim) for claim, found in findings if found.fails(strict=False)]
        if broken:
            raise AssertionError("\n".join(broken))
        return None if claims else True

    def claims(self, exchange: Exchange, *, key: str) -> Iterable[Claim]:  # noqa: ARG002 - for subclasses
        """Return the claims of the check about a response to a request with this key."""
        return claims_of(self.check.id, exchange, Context()) or ()


class RateLimitCheck(ContractCheck):
    """A check of the rate-limit headers of a run, which are promised only to accounts on a limited tier.

    ``getWhoami`` tells the account's tier: runs of a key are judged only after it has answered for that key.
    """

    def __init__(self, *, waivers: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(waivers=waivers)
        self._tier_by_key: dict[str, str] = {}

    def claims(self, exchange: Exchange, *, key: str) -> Iterable[Claim]:
        operation_id = exchange.request.operation_id
        user = members_of(exchange.members.get("user"))
        is_told = operation_id == "getWhoami" and exchange.status == 200 and user.get("role") == "user"
        if is_told and isinstance(user.get("tier"), str):
            self._tier_by_key[key] = user["tier"]
        tier = self._tier_by_key.get(key)
        if operation_id not in RUN_OPERATIONS or tier not in LIMIT_BY_TIER:
            return ()
        return claims_of(self.check.id, exchange, Context(known={"tier": tier})) or ()


class RequestCheck(ContractCheck):
    """A check of the rule, by the request alone: nothing is known of keys, accounts and resources."""

    def claims(self, exchange: Exchange, *, key: str) -> Iterable[Claim]:  # noqa: ARG002 - nothing is known of it
        by_rule = claims_by_rule(Case(exchange=exchange, context=Context(is_ours=False)))
        return (claim for check_id, claim in by_rule if check_id == self.check.id)


def _described(claim: Claim) -> str:
    fact = shipped_document().facts[claim.fact]
    where = f" ({claim.where})" if claim.where else ""
    verdict = verdict_for(fact)
    return f"{verdict}: {fact.id}{where}\n    expected: {claim.expected}\n    observed: {claim.observed}"


def _register(check: Check[...], kind: type[ContractCheck]) -> None:
    name = f"knouds_{re.sub(r'[.-]', '_', check.id)}"
    schemathesis.check(type(name, (kind,), {"check": check, "__doc__": check.sentence}))


for _check in checks_of_every_answer():
    _register(_check, ContractCheck)
for _check in (
    validation.body_not_json,
    validation.inputs_missing,
    validation.inputs_not_object,
    validation.malformed_slug,
    validation.create_without_name,
):
    _register(_check, RequestCheck)
for _check in checks_that_apply(is_limited_run):
    if "earlier_runs" not in _check.given:  # a single response has no earlier runs
        _register(_check, RateLimitCheck)
