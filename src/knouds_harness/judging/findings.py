"""From a claim that does not hold, or a profile that is contradicted, to a finding with its verdict."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, Final

from knouds_harness.contract.document import Document
from knouds_harness.exchange.contradictions import Contradiction
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.reproduction.curl import ShellNames, curl
from knouds_harness.judging.claim import Check, Claim
from knouds_harness.runs.findings import Finding, fingerprint
from knouds_harness.runs.verdicts import Verdict, verdict_for
from knouds_harness.targets.waivers import Waiver

PROFILE_CHECK: Final = "profile.is-borne-out"
"""Stands in findings in place of a check: the profile as a whole is looked at before the first test."""


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

    Args:
        check: Which made the claim.
        exchange: Which it is about.
        claim: Does not hold.
        document: Has the fact.
        waivers: Of the target; one that has expired waives nothing.
        today: The day on which waivers have to hold; the current one in UTC if left out.
        names: What a shell calls the target and its keys.
    """
    fact = document.facts[claim.fact]
    about: dict[str, Any] = {
        "check": check.id,
        "fact": fact.id,
        "operation": exchange.request.operation_id,
        "status": exchange.status,
        "code": exchange.code,
    }
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
    """The finding that a target makes which contradicts its profile.

    Args:
        contradiction: What the profile says, and what the target answered.
        document: Has the fact.
        names: What a shell calls the target and its keys.
    """
    fact, exchange = document.facts[contradiction.fact], contradiction.exchange
    about: dict[str, Any] = {
        "check": PROFILE_CHECK,
        "fact": fact.id,
        "operation": exchange.request.operation_id,
        "status": exchange.status,
        "code": exchange.code,
    }
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
