"""From claims to findings: verdicts, waivers, one finding for one fault however often it shows."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from knouds_harness.conformance.claims import Check, Claim
from knouds_harness.conformance.drift import FACT, Gatherer, drift_finding
from knouds_harness.conformance.steps import Steps
from knouds_harness.contract.document import Document
from knouds_harness.contract.sources import Fact
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.reproduction import curl
from knouds_harness.exchange.sequence import essential_steps, script
from knouds_harness.runs.findings import Finding, fingerprint
from knouds_harness.runs.record import RunWriter
from knouds_harness.runs.verdicts import fails_run, verdict_for
from knouds_harness.target.waivers import Waiver

_MOST_STEPS: Final = 60
"""A trail that is longer names everything that was ever done to a resource, and helps nobody."""


class Shown(threading.local):
    """What the test that runs in the calling thread has shown so far.

    Attributes:
        failing: Findings that fail the run, by fingerprint.
        new: The fingerprints of all findings that no test had shown before.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.failing: dict[str, Finding] = {}
        self.new: set[str] = set()


@dataclass(kw_only=True)
class Recorder:
    """Writes what checks claim into the run record.

    Attributes:
        strict: Assumptions that do not hold fail the run too.
        steps: Knows what led to an exchange.
        findings: By fingerprint, in the order in which they were first seen.
        shown: What the running test has shown.
        gatherer: Takes what every exchange shows; the run's surface comes from it.
    """

    document: Document
    writer: RunWriter
    waivers: tuple[Waiver, ...]
    today: date
    strict: bool = False
    steps: Steps = field(default_factory=Steps)
    findings: dict[str, Finding] = field(default_factory=dict)
    shown: Shown = field(default_factory=Shown)
    gatherer: Gatherer = field(init=False)

    def __post_init__(self) -> None:
        self.gatherer = Gatherer(self.document)
        self.writer.watch(self.gatherer.surface)

    def begin_test(self) -> None:
        """From here on, what the calling thread records is shown by another test."""
        self.shown.failing, self.shown.new = {}, set()

    def record(self, check: Check[...], exchange: Exchange, claims: Iterable[Claim]) -> list[Finding]:
        """Write each claim down.

        Returns:
            The findings that fail the run, new and known ones alike.
        """
        failing = []
        for claim in claims:
            self.writer.add_result(
                check=check.id,
                fact=claim.fact,
                operation=exchange.request.operation_id,
                persona=exchange.request.persona,
                passed=claim.holds,
                exchange_id=exchange.id,
            )
            if claim.holds:
                continue
            finding = self._finding(check, exchange, claim)
            known = self.findings.get(finding.fingerprint)
            if known is None:
                self.shown.new.add(finding.fingerprint)
            self.findings[finding.fingerprint] = known.shorter_of(finding) if known else finding
            self.writer.add_finding(finding)
            if self.fails(finding):
                self.shown.failing[finding.fingerprint] = finding
                failing.append(finding)
        return failing

    def record_untested(self, check: Check[...], operation_id: str | None, missing: str) -> None:
        """Write down that the profile made a check impossible."""
        for fact in check.facts:
            self.writer.add_untested(check=check.id, fact=fact, operation=operation_id, missing=missing)

    def record_drift(self) -> None:
        """Write down what the document does not know; called once, when everything was judged."""
        for novelty in self.gatherer.novelties(self.findings.values()):
            self.writer.add_finding(drift_finding(novelty, self.document.facts[FACT]))

    def fails(self, finding: Finding) -> bool:
        """Whether a finding fails the run."""
        return fails_run(finding.verdict, strict=self.strict, is_waived=finding.waived_by is not None)

    @property
    def is_broken(self) -> bool:
        """Whether any finding fails the run, or a waiver has expired, whether or not it was still needed."""
        return any(self.fails(finding) for finding in self.findings.values()) or bool(self.expired_waivers)

    @property
    def expired_waivers(self) -> list[Waiver]:
        """The profile's waivers whose last day has passed."""
        return [waiver for waiver in self.waivers if waiver.is_expired(self.today)]

    def _finding(self, check: Check[...], exchange: Exchange, claim: Claim) -> Finding:
        fact = self.document.facts[claim.fact]
        operation_id = exchange.request.operation_id
        mark = fingerprint(
            check=check.id,
            fact=fact.id,
            operation=operation_id,
            where=claim.where,
            status=exchange.status,
            code=exchange.code,
        )
        steps = essential_steps(self.steps.of(exchange))
        is_sequence = 1 < len(steps) <= _MOST_STEPS
        return Finding(
            check=check.id,
            family=check.family,
            fact=fact.id,
            operation=operation_id,
            persona=exchange.request.persona,
            verdict=verdict_for(fact),
            source=fact.source,
            expected=claim.expected,
            observed=claim.observed,
            where=claim.where,
            status=exchange.status,
            code=exchange.code,
            exchange_id=exchange.id,
            curl=curl(exchange),
            steps=tuple(step.id for step in steps) if is_sequence else (),
            script=script(steps, shows=_shown(claim)) if is_sequence else "",
            fingerprint=mark,
            waived_by=self._waiver_for(mark, check, exchange, fact),
        )

    def _waiver_for(self, mark: str, check: Check[...], exchange: Exchange, fact: Fact) -> str | None:
        if not fails_run(verdict_for(fact), strict=self.strict, is_waived=False):
            return None
        for waiver in self.waivers:
            if not waiver.is_expired(self.today) and waiver.matches(
                fingerprint=mark,
                fact=fact.id,
                check=check.id,
                operation=exchange.request.operation_id,
                status=exchange.status,
                code=exchange.code,
            ):
                return waiver.reason
        return None


def _shown(claim: Claim) -> str:
    place = f" at {claim.where}" if claim.where else ""
    return f"{claim.fact}{place}: expected {claim.expected}, observed {claim.observed}"
