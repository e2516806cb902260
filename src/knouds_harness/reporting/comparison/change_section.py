"""The part of one run's report that says what changed against its baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from knouds_harness.reporting.comparison.baseline import RunChange
from knouds_harness.reporting.comparison.check_comparison import CheckComparison
from knouds_harness.reporting.comparison.load_comparison import LoadComparison
from knouds_harness.reporting.comparison.texts import headline
from knouds_harness.reporting.report import (
    HTML,
    ON_PAGES,
    Block,
    Code,
    Items,
    Medium,
    Section,
    Text,
    Words,
    badge,
)
from knouds_harness.runs.findings import Finding

_MOST: Final[dict[Medium, int]] = {"terminal": 5, "markdown": 20}


def change_section(change: RunChange, blocks: Sequence[Block]) -> Section:
    comparison = change.comparison
    verdict = headline(comparison)
    left_out = comparison.left_out if isinstance(comparison, LoadComparison) else ()
    notes = [each for each in (*comparison.notes, *left_out) if each not in verdict.detail]
    title = badge(verdict.title.lower(), verdict.tone)
    return Section(
        "change",
        "Change against the baseline",
        name="Change",
        blocks=[
            Text(("Against ", Code(change.baseline), ": ", title, f". {verdict.detail}")),
            *(Text(note, is_quiet=True, shown=HTML) for note in notes),
            *blocks,
        ],
    )


def check_change_blocks(comparison: CheckComparison) -> list[Block]:
    """What a run of checks lost, and which findings came and went; those that stayed are listed elsewhere."""
    return [
        *_listed("not tested any more", "Verified before, and not tested now:", comparison.lost_with_reasons),
        *_listed("new", "New:", [_about(each) for each in (*comparison.regressions, *comparison.new)]),
        *_listed("gone", "Gone, tested again:", [_about(each) for each in comparison.gone]),
    ]


def _listed(label: str, title: str, lines: Sequence[Words]) -> list[Block]:
    return [Text(title, shown=ON_PAGES), Items(label=label, lines=lines, most=_MOST)] if lines else []


def _about(finding: Finding) -> Words:
    return Code(finding.fact), f" {finding.who}: {finding.verdict} ", Code(finding.fingerprint)
