"""What is new and undocumented, put together where several operations show the same thing."""

from collections import defaultdict
from dataclasses import dataclass

from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.verdicts import Verdict


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One thing that the document does not name, wherever it was seen.

    Attributes:
        where: A JSON pointer, ``header NAME``, or empty for a status.
        observed: What it is.
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
        """How often it was seen."""
        return sum(finding.count for finding in self.findings)


_FEW = 3


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
