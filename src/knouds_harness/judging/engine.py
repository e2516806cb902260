"""From an exchange to claims, and from a claim that does not hold to a finding.

This is the one place where checks are run on an exchange: each that applies, and whose knowledge is there.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, Final

from knouds_harness.contract.document import Document
from knouds_harness.contract.sources import Fact
from knouds_harness.exchange.contradictions import Contradiction
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.reproduction.curl import ShellNames, curl
from knouds_harness.judging.checks import all_checks
from knouds_harness.judging.claim import Check, Claim, is_answer
from knouds_harness.judging.context import Case, Context
from knouds_harness.runs.findings import Finding, Verdict, fingerprint, verdict_for
from knouds_harness.targets.resources import Waiver

PROFILE_CHECK: Final = "profile.is-borne-out"
"""Stands in findings in place of a check: the profile as a whole is looked at before the first test."""
_checks = cache(all_checks)


def judge(exchange: Exchange, context: Context) -> Iterator[tuple[Check[...], Claim]]:
    """What all checks claim of one exchange, in the order in which they are written."""
    case = Case(exchange=exchange, context=context)
    for check in _checks().values():
        if check.applies_to(case):
            for claim in check.claims_of(case):
                yield check, claim


def claims_of(check_id: str, exchange: Exchange, context: Context) -> list[Claim] | None:
    """What one check claims of an exchange to which it applies; None where it has to know more."""
    case = Case(exchange=exchange, context=replace(context, applying=context.applying | {check_id}))
    check = _checks().get(check_id)
    return None if check is None or check.lacks_knowledge(case) else list(check.claims_of(case))


def checks_of_every_answer() -> tuple[Check[...], ...]:
    """The checks that apply to every answer, to any request."""
    return checks_that_apply(is_answer)


def checks_that_apply(when: Callable[[Case], object]) -> tuple[Check[...], ...]:
    """The checks that say this of when they apply."""
    return tuple(check for check in _checks().values() if check.applies is when)


def finding_of(
    check: Check[...],
    exchange: Exchange,
    claim: Claim,
    *,
    document: Document,
    waivers: Iterable[Waiver] = (),
    today: date | None = None,
    names: ShellNames | None = None,
) -> Finding:
    """The finding that a claim makes which does not hold, reproduced by its one request.

    A waiver that has expired on the day, in UTC the current one if left out, waives nothing.
    """
    fact = document.facts[claim.fact]
    about = _about(check.id, fact, exchange)
    mark = fingerprint(**about, where=claim.where)
    day = today or datetime.now(UTC).date()
    reasons = (
        waiver.reason
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
        exchange_id=exchange.id,
        trace_id=exchange.trace_id,
        curl=curl(exchange, names),
        fingerprint=mark,
        waived_by=next(reasons, None),
    )


def contradiction_finding(
    contradiction: Contradiction, *, document: Document, names: ShellNames | None = None
) -> Finding:
    """The finding that a target makes which contradicts its profile."""
    fact, exchange = document.facts[contradiction.fact], contradiction.exchange
    about = _about(PROFILE_CHECK, fact, exchange)
    return Finding(
        **about,
        family="profile",
        persona=exchange.request.persona,
        verdict=Verdict.CONTRADICTION,
        source=fact.source,
        expected=f"{contradiction.place}: {contradiction.profile_says}",
        observed=f"{contradiction.target_says}: {contradiction.either}",
        exchange_id=exchange.id,
        trace_id=exchange.trace_id,
        curl=curl(exchange, names),
        fingerprint=fingerprint(**about, where=contradiction.where),
    )


def _about(check: str, fact: Fact, exchange: Exchange) -> dict[str, Any]:
    """What makes the fingerprint of a finding, with its place."""
    return {
        "check": check,
        "fact": fact.id,
        "operation": exchange.request.operation_id,
        "status": exchange.status,
        "code": exchange.code,
    }
