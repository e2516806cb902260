"""``compare.md``: a comparison for a pull request's comment or a job's summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from knouds_harness.reporting.comparison.check_comparison import CheckComparison
from knouds_harness.reporting.comparison.load_comparison import LoadComparison, MeasureRow
from knouds_harness.reporting.comparison.texts import (
    Comparison,
    figure,
    finding_line,
    headline,
    interval_words,
    measure_name,
    noise_words,
    percent,
)
from knouds_harness.reporting.load.headline import describe
from knouds_harness.reporting.markdown_text import code_span, escaped
from knouds_harness.runs.findings import Finding

_SIGN_BY_TONE = {"good": "✅", "bad": "❌", "warn": "⚠️"}
_MOST_FINDINGS = 20


def comparison_markdown(comparison: Comparison) -> str:
    """Write a comparison up in GitHub's Markdown."""
    verdict = headline(comparison)
    body = _load(comparison) if isinstance(comparison, LoadComparison) else _check(comparison)
    blocks = [f"## {_SIGN_BY_TONE[verdict.tone]} {verdict.title}", escaped(verdict.detail), *body]
    return "\n\n".join(blocks) + "\n"


def _load(comparison: LoadComparison) -> Iterator[str]:
    if comparison.newly_broken:
        yield _list(f"❌ broken under load: {code_span(fact)}" for fact in comparison.newly_broken)
    if comparison.missed:
        yield _list(f"❌ objective missed: {escaped(describe(each))}" for each in comparison.missed)
    remarks = [*comparison.notes, *(f"Left out: {each}" for each in comparison.left_out)]
    if remarks:
        yield _list(map(escaped, remarks))
    if comparison.rows:
        yield changes_table(comparison.rows)
        p99s = [row for row in comparison.rows if row.measure == "p99_ms"]
        noises = ", ".join(noise_words(row, row.change) for row in p99s if row.change)
        yield (
            "Gates are bold; together their intervals are right with 99 %. "
            f"From run to run p99 differs by {noises or 'nobody knows how much'}."
        )


def changes_table(rows: Sequence[MeasureRow]) -> str:
    """Changes of load as a table; gates are bold."""
    return _table(
        ["operation", "measure", "baseline", "now", "change", "interval", "would show", "verdict"],
        [
            [
                code_span(row.operation).replace("|", "\\|"),
                f"**{measure_name(row)}**" if row.is_gate else measure_name(row),
                figure(row, row.baseline),
                figure(row, row.candidate),
                percent(row, row.change.estimate) if row.change else "",
                interval_words(row),
                percent(row, row.change.visible, signed=False) if row.change else "",
                row.verdict.value,
            ]
            for row in rows
        ],
    )


def _check(comparison: CheckComparison) -> Iterator[str]:
    if comparison.notes:
        yield _list(map(escaped, comparison.notes))
    for title, findings in (
        ("New, and fails the run", comparison.regressions),
        ("New, and fails nothing", comparison.new),
        ("Gone", comparison.gone),
        ("Not looked for this time", comparison.not_looked_for),
        ("Still there", comparison.still),
    ):
        if findings:
            yield f"### {title}: {len(findings)}"
            yield _findings(findings)
    if comparison.lost:
        yield f"### Verified before, and not tested now: {len(comparison.lost)}"
        yield _list(f"❌ `{fact}`" for fact in comparison.lost)
    if comparison.facts:
        rows = [[f"`{each.fact}`", each.before.label, each.now.label] for each in comparison.facts]
        yield _table(["fact", "before", "now"], rows)


def _findings(findings: Sequence[Finding]) -> str:
    shown = [code_span(finding_line(each)) for each in findings[:_MOST_FINDINGS]]
    if len(findings) > _MOST_FINDINGS:
        shown.append(f"… and {len(findings) - _MOST_FINDINGS} more in `compare.html`")
    return _list(shown)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [titles, ["---"] * len(titles), *rows])
