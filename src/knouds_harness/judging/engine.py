"""Run checks on an exchange, and turn claims that do not hold into findings.

This is the one place that runs all checks on an exchange: each that applies and knows enough.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, Final

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Fact
from knouds_harness.exchange.curl import ShellNames, curl
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.profile_check import Contradiction
from knouds_harness.judging.checks import all_checks
from knouds_harness.judging.claim import Check, Claim, RuleCheck, is_answer, is_from_elsewhere
from knouds_harness.judging.context import Case, Context
from knouds_harness.judging.rule.reading import claims_by_rule
from knouds_harness.runs.findings import Finding, Verdict, fingerprint, verdict_for
from knouds_harness.targets.resources import Waiver

PROFILE_CHECK: Final = "profile.is-borne-out"
"""The check id of findings about the profile, which is compared with the target before the first test."""
_OF_PROFILE: Final[Check[[]]] = Check(id=PROFILE_CHECK, facts=(), judge=lambda _: iter(()))
_OF_EVERY_ANSWER: Final = (is_answer, is_from_elsewhere)
_CHOICE = re.compile(r"\b(?:code|example|wire)=(?!slow)")
_checks = cache(all_checks)


def judge(exchange: Exchange, context: Context) -> Iterator[tuple[Check[...], Claim]]:
    """Read an exchange by the rule, run all other checks that apply, and yield their claims.

    An outcome that the request chose by ``Prefer`` tells nothing of the server.
    """
    if _is_chosen(exchange):
        return
    case = Case(exchange=exchange, context=context)
    for check_id, claim in claims_by_rule(case):
        yield _checks()[check_id], claim
    for check in _checks().values():
        if check.applies_to(case):
            for claim in check.claims_of(case):
                yield check, claim


def _is_chosen(exchange: Exchange) -> bool:
    """Return whether the answer, or that none came, is what the request asked for."""
    asked = ", ".join(value for name, value in exchange.sent_headers if name.lower() == "prefer")
    applied = (exchange.header("preference-applied") or "") if exchange.status else asked
    return bool(asked and _CHOICE.search(applied))


def claims_of(check_id: str, exchange: Exchange, context: Context) -> list[Claim] | None:
    """Run one check on an exchange to which it applies; return None if it knows too little."""
    case = Case(exchange=exchange, context=replace(context, applying=context.applying | {check_id}))
    check = _checks().get(check_id)
    if isinstance(check, RuleCheck):
        return [claim for of, claim in claims_by_rule(case) if of == check_id] or None
    if check is None or check.lacks_knowledge(case):
        return None
    if check.applies in _OF_EVERY_ANSWER and not check.applies_to(replace(case, context=context)):
        return []
    return list(check.claims_of(case))


def checks_of_every_answer() -> tuple[Check[...], ...]:

    return tuple(check for check in _checks().values() if check.applies in _OF_EVERY_ANSWER)


def checks_that_apply(when: Callable[[Case], object]) -> tuple[Check[...], ...]:

    return tuple(check for check in _checks().values() if check.applies is when)


def finding_of(
    check: Check[...],
    exchange: Exchange,
    claim: Claim,
    *,
    facts: Mapping[str, Fact] | None = None,
    waivers: Iterable[Waiver] = (),
    today: date | None = None,
    names: ShellNames | None = None,
) -> Finding:
    """Turn a claim that does not hold into a finding, reproduced by its one request.

    ``facts`` are those of the document, unless the user has added some. Waivers that have expired on
    ``today`` (the current day in UTC by default) are ignored.
    """
    fact = (facts or shipped_document().facts)[claim.fact]
    about: dict[str, Any] = {
        "check": check.id,
        "fact": fact.id,
        "operation": None if claim.cause else exchange.request.operation_id,
        "status": exchange.status,
        "code": None if claim.cause else exchange.code,
    }
    mark = fingerprint(**about, where=claim.where or claim.cause)
    day = today or datetime.now(UTC).date()
    excuses = (
        waiver.excuse
        for waiver in waivers
        if not waiver.is_expired(day) and waiver.matches(fingerprint=mark, **about)
    )
    return Finding(
        **about,
        family=check.family,
        persona=exchange.request.persona,
        verdict=verdict_for(fact),
        source=fact.source,
        expected=claim.expected,
        observed=claim.observed,
        where=claim.where,
        picture=claim.picture,
        reasons=claim.reasons,
        exchange_id=exchange.id,
        trace_id=exchange.trace_id,
        curl=curl(exchange, names),
        fingerprint=mark,
        waived_by=next(excuses, None),
    )


def contradiction_finding(contradiction: Contradiction, *, names: ShellNames | None = None) -> Finding:
    expected = f"{contradiction.where}: {contradiction.profile_says}"
    observed = f"{contradiction.target_says}: {contradiction.either}"
    claim = Claim(expected, observed, holds=False, where=contradiction.where, fact=contradiction.fact)
    found = finding_of(_OF_PROFILE, contradiction.exchange, claim, names=names)
    return replace(found, verdict=Verdict.CONTRADICTION, where="")  # it is a place in the profile
