"""``report.html``: one file that needs no network, for reading a run from its verdict down to the bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from knouds_harness.reporting.check.drift import drift_of
from knouds_harness.reporting.check.evidence import EvidenceView, evidence_of
from knouds_harness.reporting.check.fact_status import (
    FactRow,
    FactStatus,
    contradictions_of,
    fact_rows,
    standing_counts,
    untested_rows,
    waiver_rows,
)
from knouds_harness.reporting.check.families import family_rows
from knouds_harness.reporting.check.matrix import CellStatus, Matrix, matrix_of
from knouds_harness.reporting.check.ranking import FactFindings, findings_by_fact
from knouds_harness.reporting.check.timeline import timeline_of
from knouds_harness.reporting.headline import headline
from knouds_harness.reporting.pages import page, script_hashes, shipped
from knouds_harness.reporting.rerun_command import command_again
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import RunRecord

_MOST_FINDINGS_WITH_EVIDENCE = 200
_MOST_CONTRADICTIONS_WITH_EVIDENCE = 50
_MOST_DRIFT_WITH_EVIDENCE = 50
_MOST_EVIDENCE_OF_CELLS = 600
_OPEN_FINDINGS = 5


def html_report(record: RunRecord) -> str:
    """Lay a run out as one HTML file."""
    rows = fact_rows(record)
    groups = findings_by_fact(record)
    matrix = matrix_of(record)
    drift = drift_of(record)
    contradictions = contradictions_of(record)
    shown = list(contradictions[:_MOST_CONTRADICTIONS_WITH_EVIDENCE])
    shown += [finding for group in groups for finding in group.findings][:_MOST_FINDINGS_WITH_EVIDENCE]
    shown += [each.findings[0] for each in drift[:_MOST_DRIFT_WITH_EVIDENCE]]
    by_finding = _evidence_of_findings(record, shown)
    in_findings = {evidence.id for evidence in by_finding.values()}
    of_cells = _evidence_of_cells(record, matrix, in_findings)
    style, script = shipped("report.css"), shipped("report.js")
    return page(
        "report.html.j2",
        record=record,
        headline=headline(record, rows),
        standings=standing_counts(rows),
        FactStatus=FactStatus,
        CellStatus=CellStatus,
        groups=_numbered(groups),
        found={group.fact_id for group in groups},
        timeline=timeline_of(record),
        again=command_again(record),
        drift=drift,
        contradictions=contradictions,
        evidence_by_fingerprint=by_finding,
        matrix=matrix,
        anchored=_anchored(by_finding),
        evidence_of_cells=of_cells,
        linked=in_findings | {evidence.id for evidence in of_cells},
        areas=[(area, list(of_area)) for area, of_area in groupby(rows, key=lambda row: row.area)],
        untested=untested_rows(record),
        waivers=waiver_rows(record),
        without_reason=[row for row in rows if row.standing is FactStatus.UNTESTED and not row.missing],
        families=family_rows(record),
        style=style,
        script=script,
        script_hashes=script_hashes([script]),
        area_standings=area_standings,
    )


@dataclass(frozen=True, kw_only=True)
class NumberedGroup:
    """Findings about one fact; those that are shown unfolded come first in the report."""

    group: FactFindings
    open_fingerprints: frozenset[str]


def _numbered(groups: Sequence[FactFindings]) -> list[NumberedGroup]:
    """Unfold the first finding of the first few facts: enough to see, not too much to scroll."""
    return [
        NumberedGroup(
            group=group,
            open_fingerprints=frozenset({group.findings[0].fingerprint} if index < _OPEN_FINDINGS else ()),
        )
        for index, group in enumerate(groups)
    ]


def _evidence_of_findings(record: RunRecord, findings: Iterable[Finding]) -> Mapping[str, EvidenceView]:
    """By fingerprint, each with the place marked that its finding is about."""
    return {
        finding.fingerprint: evidence_of(exchange, where=finding.where)
        for finding in findings
        if (exchange := record.exchange_by_id.get(finding.exchange_id or ""))
    }


def _anchored(by_finding: Mapping[str, EvidenceView]) -> set[str]:
    """Where links to an exchange lead: the first finding that shows it."""
    first: dict[str, str] = {}
    for fingerprint, evidence in by_finding.items():
        first.setdefault(evidence.id, fingerprint)
    return set(first.values())


def _evidence_of_cells(record: RunRecord, matrix: Matrix, in_findings: set[str]) -> list[EvidenceView]:
    cells = (cell for row in matrix.rows for cell in row.cells if cell)
    wanted = dict.fromkeys(cell.exchange_id or "" for cell in cells)
    there = [record.exchange_by_id[each] for each in wanted if each in record.exchange_by_id]
    shown = [exchange for exchange in there if exchange.id not in in_findings]
    return [evidence_of(exchange) for exchange in shown[:_MOST_EVIDENCE_OF_CELLS]]


def area_standings(rows: Iterable[FactRow]) -> Mapping[FactStatus, int]:
    """How the facts of one area stand, without the zeroes."""
    return {standing: count for standing, count in standing_counts(rows).items() if count}
