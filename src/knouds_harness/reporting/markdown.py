"""``report.md``: a run for a pull request's comment or a job's summary page.

Words of the server stand in code spans and blocks only, where they neither format anything nor call anybody.
"""

from __future__ import annotations

import re
from textwrap import indent

from knouds_harness.reporting.drift import drift_of
from knouds_harness.reporting.headline import headline
from knouds_harness.reporting.ranking import findings_by_fact
from knouds_harness.reporting.standing import (
    Standing,
    fact_rows,
    standing_counts,
    untested_rows,
    waiver_rows,
)
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import RunRecord

_MOST_FINDINGS = 20
_MOST_FINDINGS_OF_ONE_FACT = 2
_MOST_DRIFT = 20
_LONGEST_VALUE = 300
_LONGEST_CURL = 1_200
_LONGEST_SCRIPT = 1_800
_SIGN_BY_TONE = {"good": "✅", "bad": "❌", "warn": "⚠️"}


def markdown(record: RunRecord) -> str:
    """Write a run up in GitHub's Markdown, well under the 65,536 characters that a comment may have."""
    rows = fact_rows(record)
    verdict = headline(record, rows)
    counts = standing_counts(rows)
    blocks = [
        f"## {_SIGN_BY_TONE[verdict.tone]} {verdict.title}: {_code(record.setup.target.name)}",
        verdict.detail,
        *([_quoted(record.note)] if record.note else []),
        *([f"Not all of the record could be read: {_escaped(' '.join(record.gaps))}"] if record.gaps else []),
        _table(counts),
        *_findings(record),
        *_drift(record),
        *_untested(record),
        *_waivers(record),
        _footer(record),
    ]
    return "\n\n".join(blocks) + "\n"


def _table(counts: dict[Standing, int]) -> str:
    shown = [standing for standing in Standing if counts[standing]]
    return "\n".join(
        [
            f"| {' | '.join(standing.label for standing in shown)} |",
            f"| {' | '.join('---:' for _ in shown)} |",
            f"| {' | '.join(str(counts[standing]) for standing in shown)} |",
        ]
    )


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
            says = _escaped(group.fact.says) if group.fact else ""
            blocks.append(f"**{group.standing.label}** · `{group.fact_id}` · {says}")
        blocks += [_finding(finding) for finding in shown]
        left -= len(shown)
    hidden = total - (_MOST_FINDINGS - left)
    if hidden:
        blocks.append(f"… and {hidden:,} more findings in `report.html`.")
    return blocks


def _finding(finding: Finding) -> str:
    place = f" at {_code(finding.where)}" if finding.where else ""
    times = f", {finding.count:,} times" if finding.count > 1 else ""
    after = f", after {len(finding.steps)} requests" if finding.steps else ""
    waived = f" (waived: {_escaped(finding.waived_by)})" if finding.waived_by else ""
    lines = finding.reproduction
    if len(lines) > (_LONGEST_SCRIPT if finding.script else _LONGEST_CURL):
        lines = f"# too long for here: see {', '.join(finding.steps) or finding.exchange_id} in exchanges.har"
    who = f"`{finding.operation or 'no operation'}` as {_code(finding.persona or 'nobody')}"
    return (
        f"- {who}{place}{times}{after}{waived}: "
        f"expected {_code(finding.expected)}, observed {_code(finding.observed)}\n"
        f"  <details><summary>Reproduce</summary>\n\n{_block(lines)}\n\n  </details>"
    )


def _drift(record: RunRecord) -> list[str]:
    drift = drift_of(record)
    if not drift:
        return []
    lines = [
        f"- {_code(each.where or each.observed)}: {_code(each.observed)}, on {each.seen_on}"
        for each in drift[:_MOST_DRIFT]
    ]
    if len(drift) > _MOST_DRIFT:
        lines.append(f"- … and {len(drift) - _MOST_DRIFT} more in `report.html`")
    return [f"### New and undocumented ({len(drift)}), which breaks nothing", "\n".join(lines)]


def _untested(record: RunRecord) -> list[str]:
    waiting = untested_rows(record)
    if not waiting:
        return []
    lines = [f"- {len(facts)} facts: {_escaped(missing)}" for missing, facts in waiting.items()]
    return ["### Untested, for want of", "\n".join(lines)]


def _waivers(record: RunRecord) -> list[str]:
    rows = waiver_rows(record)
    if not rows:
        return []
    lines = [
        f"- **{row.state}**, until {row.waiver.expires}: "
        f"{_escaped(str(row.waiver))}. {_escaped(row.waiver.reason)}"
        for row in rows
    ]
    return ["### Waivers", "\n".join(lines)]


def _footer(record: RunRecord) -> str:
    setup = record.setup
    return (
        f"<sub>{record.counts.exchanges:,} exchanges in {record.duration_s:.1f} s, seed {setup.seed}, "
        f"document {_escaped(setup.document.version)} ({setup.document.sha256[:12]}), knouds-harness "
        f"{_escaped(setup.tool_version)}. "
        f"Evidence: `report.html` in {_code(record.folder.resolve().name)}.</sub>"
    )


def _code(text: str) -> str:
    """A code span that holds any text: one line, cut, in more backticks than it contains."""
    text = " ".join(text.split())
    if len(text) > _LONGEST_VALUE:
        text = f"{text[:_LONGEST_VALUE]}…"
    if not text:
        return "(nothing)"
    ticks = _fence(text, least=1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _block(text: str) -> str:
    ticks = _fence(text, least=3)
    return f"  {ticks}sh\n{indent(text, '  ')}\n  {ticks}"


def _fence(text: str, *, least: int) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)


def _quoted(text: str) -> str:
    return "\n".join(f"> {_escaped(line)}" for line in text.splitlines())


def _escaped(text: str) -> str:
    """Words of this project or of the profile: code spans stay, tags and mentions do not become such."""
    parts = text.split("`")
    for index in range(0, len(parts), 2):
        plain = re.sub(r"([\\*_\[\]|])", r"\\\1", parts[index])
        parts[index] = plain.replace("<", "&lt;").replace("@", "&#64;")
    return "`".join(parts)
