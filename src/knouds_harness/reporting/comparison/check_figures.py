"""What a conformance run brings to a comparison, small enough to be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from knouds_harness.reporting.check.fact_status import FactStatus, fact_rows
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.verdicts import RunOutcome


@dataclass(frozen=True, kw_only=True)
class CheckFigures:
    """One run of ``check`` or ``verify``.

    Attributes:
        run: Name of its folder.
        started_at: UTC.
        target: Name of the profile.
        base_url: Where that was.
        document_version: Of the contract that was checked.
        doubt: Why it proves nothing of what it did not find; empty where it does.
        facts: How each stood.
        findings: All of them, drift included.
        failing: Fingerprints of those that failed the run.
        selected: The facts that the run was about; None for all.
    """

    run: str
    started_at: datetime
    target: str
    base_url: str
    document_version: str
    doubt: str
    facts: Mapping[str, FactStatus]
    findings: tuple[Finding, ...]
    failing: tuple[str, ...]
    selected: frozenset[str] | None = None


def check_figures(record: RunRecord) -> CheckFigures:
    """Read what a comparison needs of a conformance run."""
    doubts = [gap for gap in record.gaps if gap.startswith("findings")]
    if not record.outcome.is_complete and record.outcome is not RunOutcome.UNTESTED:
        doubts.insert(0, "It did not come to its end.")
    return CheckFigures(
        run=record.folder.resolve().name,
        started_at=record.started_at,
        target=record.setup.target.name,
        base_url=record.setup.target.base_url,
        document_version=record.setup.document.version,
        doubt=" ".join(doubts),
        facts={row.fact.id: row.standing for row in fact_rows(record)},
        findings=record.findings,
        failing=tuple(each.fingerprint for each in record.findings if record.fails(each)),
        selected=None if record.setup.selected is None else frozenset(record.setup.selected),
    )
