"""What a run found, as one wants to read it: by fact, the worst first; and what is new and undocumented."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from knouds_harness.contract.sources import Fact
from knouds_harness.printable import counted
from knouds_harness.reporting.check.fact_status import standing_of, worst
from knouds_harness.reporting.report import FindingGroup, Link, Words
from knouds_harness.runs.findings import Finding, Verdict
from knouds_harness.runs.record import RunRecord

_FEW: Final = 3
_NO_FACTS: Final[Mapping[str, Fact]] = MappingProxyType({})


def findings_by_fact(record: RunRecord) -> list[FindingGroup]:
    """What a run found about facts; drift and contradictions of the profile are not among it."""
    about_facts = [
        each for each in record.findings if each.verdict not in (Verdict.ADDITIVE, Verdict.CONTRADICTION)
    ]
    # the failing ones first, then the shortest reproduction
    about_facts.sort(key=lambda each: (not record.fails(each), len(each.reproduction)))
    return finding_groups(about_facts, record.setup.facts)


def finding_groups(findings: Iterable[Finding], facts: Mapping[str, Fact] = _NO_FACTS) -> list[FindingGroup]:
    """Findings by fact: the worst first, else in the document's order."""
    by_fact: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_fact[finding.fact].append(finding)
    place = {fact_id: index for index, fact_id in enumerate(facts)}
    standings = {fact_id: worst(map(standing_of, found)) for fact_id, found in by_fact.items()}
    return [
        FindingGroup(
            name=fact_id,
            label="new" if by_fact[fact_id][0].verdict is Verdict.ADDITIVE else standings[fact_id].label,
            tone=standings[fact_id].tone,
            title=facts[fact_id].says if fact_id in facts else "",
            about=_about(fact_id, facts.get(fact_id), by_fact[fact_id]),
            findings=by_fact[fact_id],
        )
        for fact_id in sorted(by_fact, key=lambda each: (standings[each].rank, place.get(each, len(place))))
    ]


def _about(fact_id: str, fact: Fact | None, findings: list[Finding]) -> list[Words]:
    seen = sum(finding.count for finding in findings)
    counts = f"{counted(len(findings), 'finding')}, seen {counted(seen, 'time')}"
    if fact is None:
        return [counts]
    conflict = [f"The sources disagree. {fact.conflict}"] if fact.conflict else []
    return [(Link(fact_id, f"#fact-{fact_id}"), f" · source: {fact.source} · {counts}"), *conflict]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One thing that the document does not name, wherever it was seen.

    Attributes:
        where: A JSON pointer, ``header NAME``, or empty for a status.
        findings: One for each operation.
    """

    where: str
    observed: str
    findings: tuple[Finding, ...]

    @property
    def operations(self) -> tuple[str, ...]:
        """That show it; empty for deliveries."""
        return tuple(finding.operation for finding in self.findings if finding.operation)

    @property
    def seen_on(self) -> str:
        """Up to three of the operations by name, else how many."""
        if not self.operations:
            return "webhook deliveries" if self.where.startswith("delivery") else "any request"
        few = len(self.operations) <= _FEW
        return ", ".join(self.operations) if few else f"{len(self.operations)} operations"

    @property
    def count(self) -> int:
        return sum(finding.count for finding in self.findings)


def drift_of(record: RunRecord) -> list[Drift]:
    """Everything new in a run; what most operations show first."""
    found: dict[tuple[str, str, str], list[Finding]] = defaultdict(list)
    for finding in record.findings:
        if finding.verdict is Verdict.ADDITIVE:
            found[finding.check, finding.where, finding.observed].append(finding)
    together = [
        Drift(where=where, observed=observed, findings=tuple(findings))
        for (_, where, observed), findings in found.items()
    ]
    return sorted(together, key=lambda drift: -len(drift.findings))
