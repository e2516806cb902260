"""Findings in the order in which one wants to read them: grouped by fact, the worst first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from knouds_harness.contract.sources import Fact
from knouds_harness.reporting.check.fact_status import FactStatus, standing_of, worst
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.verdicts import Verdict


@dataclass(frozen=True, kw_only=True)
class FactFindings:
    """All findings about one fact.

    Attributes:
        fact_id: The fact.
        fact: The fact, if the record knows it.
        standing: The worst that any of them means.
        findings: The failing ones first, then the shortest reproduction.
    """

    fact_id: str
    fact: Fact | None
    standing: FactStatus
    findings: tuple[Finding, ...]

    @property
    def count(self) -> int:
        """How often the fact was seen not to hold."""
        return sum(finding.count for finding in self.findings)


def findings_by_fact(record: RunRecord) -> list[FactFindings]:
    """What was found about facts: the worst first, else in the document's order; drift is none of it."""
    by_fact: dict[str, list[Finding]] = defaultdict(list)
    for finding in record.findings:
        if finding.verdict not in (Verdict.ADDITIVE, Verdict.CONTRADICTION):
            by_fact[finding.fact].append(finding)
    groups = [
        FactFindings(
            fact_id=fact_id,
            fact=record.setup.facts.get(fact_id),
            standing=worst(standing_of(each) for each in findings),
            findings=tuple(
                sorted(findings, key=lambda each: (not record.fails(each), len(each.reproduction)))
            ),
        )
        for fact_id, findings in by_fact.items()
    ]
    place = {fact_id: index for index, fact_id in enumerate(record.setup.facts)}
    return sorted(groups, key=lambda group: (group.standing.rank, place.get(group.fact_id, len(place))))
