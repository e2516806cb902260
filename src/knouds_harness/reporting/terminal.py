"""What one sees at the end of a run: the verdict, the few lines that matter, and where the report is."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from knouds_harness.command_output import print_line
from knouds_harness.printable import printable
from knouds_harness.reporting.check.drift import Drift, drift_of
from knouds_harness.reporting.check.fact_status import (
    FactStatus,
    contradictions_of,
    fact_rows,
    untested_rows,
    waiver_rows,
)
from knouds_harness.reporting.check.ranking import FactFindings, findings_by_fact
from knouds_harness.reporting.github import add_to_step_summary, is_there, workflow_commands
from knouds_harness.reporting.headline import Headline, headline
from knouds_harness.reporting.load.terminal import print_load_summary
from knouds_harness.reporting.render import RenderedPaths
from knouds_harness.runs.record import RunRecord

_MOST_FACTS = 5
_MOST_MISSING = 3
_MOST_DRIFT = 3
_STYLE_BY_TONE = {"good": "bold green", "bad": "bold red", "warn": "bold yellow"}
_STYLE_BY_STANDING = {
    FactStatus.BREACH: "red",
    FactStatus.CONFLICT: "red",
    FactStatus.ASSUMPTION: "yellow",
    FactStatus.WAIVED: "cyan",
}


def print_summary(record: RunRecord, paths: RenderedPaths, *, console: Console) -> None:
    """Print the end of a run; fits one screen however much was found.

    Args:
        record: The run.
        paths: Its reports.
        console: Where to print; decides on width and colour.
    """
    if record.load:
        print_load_summary(record, record.load.results, paths, console=console)
    else:
        _print_check(record, paths, console)
    if is_there(os.environ):
        for command in workflow_commands(record):
            _print(console, Text(command))
        add_to_step_summary(paths, os.environ)


def _print_check(record: RunRecord, paths: RenderedPaths, console: Console) -> None:
    rows = fact_rows(record)
    verdict = headline(record, rows)
    console.print()
    # the one line that wraps rather than lose its end
    first_line = Text.assemble((verdict.title, _STYLE_BY_TONE[verdict.tone]), f"  {verdict.detail}")
    print_line(first_line, console=console)
    for line in printable(record.note).splitlines():
        _print(console, Text(f"  {line}"))
    _print_findings(record, verdict, console)
    _print_drift(drift_of(record), console)
    waiting = untested_rows(record)
    for missing, facts in list(waiting.items())[:_MOST_MISSING]:
        _print(console, Text(f"  {len(facts)} facts untested for want of {printable(missing)}", style="dim"))
    if len(waiting) > _MOST_MISSING:
        _print(console, Text(f"  … and {len(waiting) - _MOST_MISSING} more things missing", style="dim"))
    for row in waiver_rows(record):
        if row.is_expired or (record.outcome.is_complete and not row.findings):
            _print(console, Text(f"  waiver {row.state}: {printable(str(row.waiver))}", style="yellow"))
    for gap in record.gaps:
        _print(console, Text(f"  {printable(gap)}", style="yellow"))
    counts = record.counts
    figures = f"  {counts.exchanges:,} exchanges in {record.duration_s:.1f} s"
    if counts.cost_credits:
        figures += f", at most {counts.cost_credits:,.0f} credits"
    _print(console, Text(f"{figures}, seed {record.setup.seed}"))
    console.print(Text.assemble("  report ", (str(paths.html), "bold")), soft_wrap=True)


def _print_findings(record: RunRecord, verdict: Headline, console: Console) -> None:
    contradictions = contradictions_of(record)
    is_said = contradictions and verdict.detail.startswith(contradictions[0].expected)
    for each in contradictions[1 if is_said and len(contradictions) == 1 else 0 :]:
        label = Text(f"  {'contradiction':<16} ", style="red")
        console.print(label + Text(printable(f"{each.expected}, but {each.observed}")), soft_wrap=True)
    groups = findings_by_fact(record)
    for group in groups[:_MOST_FACTS]:
        _print_fact(group, console)
    if len(groups) > _MOST_FACTS:
        _print(console, Text(f"  … and {len(groups) - _MOST_FACTS} more facts in the report"))


def _print_drift(drift: Sequence[Drift], console: Console) -> None:
    if not drift:
        return
    things = "1 thing is" if len(drift) == 1 else f"{len(drift)} things are"
    shown = ", ".join(printable(each.where or each.observed) for each in drift[:_MOST_DRIFT])
    more = ", …" if len(drift) > _MOST_DRIFT else ""
    words = f"  {things} new and undocumented, which breaks nothing: {shown}{more}"
    _print(console, Text(words, style="dim"))


def _print_fact(group: FactFindings, console: Console) -> None:
    first = group.findings[0]
    more = f", {len(group.findings) - 1} more" if len(group.findings) > 1 else ""
    label = Text(f"  {group.standing.label:<16} ", style=_STYLE_BY_STANDING.get(group.standing, ""))
    who = f"{first.operation or 'no operation'} as {first.persona or 'nobody'}"
    _print(console, label + Text(f"{group.fact_id}  {who}{more}"))
    words = f"{'':<19}expected {printable(first.expected)}, observed {printable(first.observed)}"
    if first.steps:
        words += f", after {len(first.steps)} requests: a script in the report sends them again"
    _print(console, Text(words, style="dim"))


def _print(console: Console, text: Text) -> None:
    """Print one line, cut at the terminal's edge; whole where it goes to a file or a pipe."""
    if console.is_terminal:
        console.print(text, no_wrap=True, overflow="ellipsis")
    else:
        console.print(text, soft_wrap=True)
