"""From a claim that does not hold to a finding: its verdict, and the waiver that accepts it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

from knouds_harness.contract.document import Document
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.reproduction.curl import ShellNames, curl
from knouds_harness.judging.claim import Check, Claim
from knouds_harness.runs.findings import Finding, fingerprint
from knouds_harness.runs.verdicts import verdict_for
from knouds_harness.targets.waivers import Waiver


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
        exchange_id=exchange.id,
        curl=curl(exchange, names),
        fingerprint=mark,
        waived_by=next(reasons, None),
    )
