"""What GitHub Actions shows of a run: annotations beside the job, and the report on its summary page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from knouds_harness.printable import printable
from knouds_harness.reporting.check.fact_status import contradictions_of
from knouds_harness.reporting.check.ranking import findings_by_fact
from knouds_harness.reporting.load.headline import describe, nothing_measured
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import RunRecord

_MOST: Final = 10
"""GitHub shows no more of one kind for a step."""


def workflow_commands(record: RunRecord) -> Iterator[str]:
    """Annotations, one for each fact in breach or objective missed; the first ten."""
    if record.load:
        results = record.load.results
        failed = nothing_measured(results)
        lines = [failed] if failed else []
        lines += [("validity", reason) for reason in results.validity.reasons]
        lines += [("objective missed", describe(each)) for each in results.objectives if not each.is_met]
    else:
        failing = [group for group in findings_by_fact(record) if record.fails(group.findings[0])]
        lines = [("target contradicts the profile", _contradicts(each)) for each in contradictions_of(record)]
        lines += [(group.name, _said(group.findings[0])) for group in failing]
    for title, says in lines[:_MOST]:
        yield f"::error title={_property(title)}::{_message(says)}"


def add_to_step_summary(markdown: Path, environ: Mapping[str, str]) -> None:
    """Append ``report.md`` to the job's summary page, where there is one."""
    page = environ.get("GITHUB_STEP_SUMMARY")
    if page:
        with Path(page).open("a", encoding="utf-8") as summary:
            summary.write(markdown.read_text(encoding="utf-8"))


def is_there(environ: Mapping[str, str]) -> bool:
    """Whether GitHub Actions reads what is printed."""
    return environ.get("GITHUB_ACTIONS") == "true"


def _said(finding: Finding) -> str:
    return f"{finding.who}: expected {finding.expected}, observed {finding.observed}"


def _contradicts(finding: Finding) -> str:
    return f"{finding.expected}, but {finding.observed}"


def _message(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
