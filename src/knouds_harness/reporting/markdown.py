"""``report.md``: a run for a pull request's comment or a job's summary page.

Words of the server stand in code spans and blocks only, where they neither format anything nor call anybody.
"""

from __future__ import annotations

from textwrap import indent

from knouds_harness.reporting.check.drift import drift_of
from knouds_harness.reporting.check.fact_status import (
    FactStatus,
    contradictions_of,
    fact_rows,
    standing_counts,
    untested_rows,
    waiver_rows,
)
from knouds_harness.reporting.check.ranking import findings_by_fact
from knouds_harness.reporting.headline import headline
from knouds_harness.reporting.markdown_text import code_span, escaped, fence
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import RunRecord

_MOST_FINDINGS = 20
_MOST_FINDINGS_OF_ONE_FACT = 2
_MOST_DRIFT = 20
_LONGEST_CURL = 1_200
_LONGEST_SCRIPT = 1_800
_SIGN_BY_TONE = {"good": "✅", "bad": "❌", "warn": "⚠️"}


def markdown(record: RunRecord) -> str:
    """Write a run up in GitHub's Markdown, well under the 65,536 characters that a comment may have."""
    rows = fact_rows(record)
    verdict = headline(record, rows)
    counts = standing_counts(rows)
    blocks = [
        f"## {_SIGN_BY_TONE[verdict.tone]} {verdict.title}: {code_span(record.setup.target.name)}",
        verdict.detail,
        *([_quoted(record.note)] if record.note else []),
        *([f"Not all of the record could be read: {escaped(' '.join(record.gaps))}"] if record.gaps else []),
        _table(counts),
        *_contradictions(record),
        *_findings(record),
        *_drift(record),
        *_untested(record),
        *_waivers(record),
        _footer(record),
    ]
    return "\n\n".join(blocks) + "\n"


def _table(counts: dict[FactStatus, int]) -> str:
    shown = [standing for standing in FactStatus if counts[standing]]
    return "\n".join(
        [
            f"| {' | '.join(standing.label for standing in shown)} |",
            f"| {' | '.join('---:' for _ in shown)} |",
            f"| {' | '.join(str(counts[standing]) for standing in shown)} |",
        ]
    )


def _contradictions(record: RunRecord) -> list[str]:
    found = contradictions_of(record)
    if not found:
        return []
    lines = [
        f"- {code_span(each.expected)}, but {code_span(each.observed)}" for each in found[:_MOST_FINDINGS]
    ]
    if len(found) > _MOST_FINDINGS:
        lines.append(f"- … and {len(found) - _MOST_FINDINGS} more in `report.html`")
    return [f"### The target contradicts its profile ({len(found)})", "\n".join(lines)]


def _findings(record: RunRecord) -> list[str]:
    groups = findings_by_fact(record)
    total = sum(len(group.findings) for group in groups)
    if not total:
        return []
    blocks = [f"### Findings ({total})"]
    left = _MOST_FINDINGS
    for group in groups:
        shown = group.findings[: min(left, _MOST_FINDINGS_OF_ONE_FACT)]
        if shown:
            says = escaped(group.fact.says) if group.fact else ""
            blocks.append(f"**{group.standing.label}** · `{group.fact_id}` · {says}")
        blocks += [_finding(finding) for finding in shown]
        left -= len(shown)
    hidden = total - (_MOST_FINDINGS - left)
    if hidden:
        blocks.append(f"… and {hidden:,} more findings in `report.html`.")
    return blocks


def _finding(finding: Finding) -> str:
    place = f" at {code_span(finding.where)}" if finding.where else ""
    times = f", {finding.count:,} times" if finding.count > 1 else ""
    after = f", after {len(finding.steps)} requests" if finding.steps else ""
    waived = f" (waived: {escaped(finding.waived_by)})" if finding.waived_by else ""
    lines = finding.reproduction
    if len(lines) > (_LONGEST_SCRIPT if finding.script else _LONGEST_CURL):
        lines = f"# too long for here: see {', '.join(finding.steps) or finding.exchange_id} in exchanges.har"
    who = f"`{finding.operation or 'no operation'}` as {code_span(finding.persona or 'nobody')}"
    return (
        f"- {who}{place}{times}{after}{waived}: "
        f"expected {code_span(finding.expected)}, observed {code_span(finding.observed)}\n"
        f"  <details><summary>Reproduce</summary>\n\n{_block(lines)}\n\n  </details>"
    )


def _drift(record: RunRecord) -> list[str]:
    drift = drift_of(record)
    if not drift:
        return []
    lines = [
        f"- {code_span(each.where or each.observed)}: {code_span(each.observed)}, on {each.seen_on}"
        for each in drift[:_MOST_DRIFT]
    ]
    if len(drift) > _MOST_DRIFT:
        lines.append(f"- … and {len(drift) - _MOST_DRIFT} more in `report.html`")
    return [f"### New and undocumented ({len(drift)}), which breaks nothing", "\n".join(lines)]


def _untested(record: RunRecord) -> list[str]:
    waiting = untested_rows(record)
    if not waiting:
        return []
    lines = [f"- {len(facts)} facts: {escaped(missing)}" for missing, facts in waiting.items()]
    return ["### Untested, for want of", "\n".join(lines)]


def _waivers(record: RunRecord) -> list[str]:
    rows = waiver_rows(record)
    if not rows:
        return []
    lines = [
        f"- **{row.state}**, until {row.waiver.expires}: "
        f"{escaped(str(row.waiver))}. {escaped(row.waiver.reason)}"
        for row in rows
    ]
    return ["### Waivers", "\n".join(lines)]


def _footer(record: RunRecord) -> str:
    setup = record.setup
    return (
        f"<sub>{record.counts.exchanges:,} exchanges in {record.duration_s:.1f} s, seed {setup.seed}, "
        f"document {escaped(setup.document.version)} ({setup.document.sha256[:12]}), knouds-harness "
        f"{escaped(setup.tool_version)}. "
        f"Evidence: `report.html` in {code_span(record.folder.resolve().name)}.</sub>"
    )


def _block(text: str) -> str:
    ticks = fence(text, least=3)
    return f"  {ticks}sh\n{indent(text, '  ')}\n  {ticks}"


def _quoted(text: str) -> str:
    return "\n".join(f"> {escaped(line)}" for line in text.splitlines())
