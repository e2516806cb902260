"""What one sees at the end of a comparison: the verdict, the lines that matter, where the page is."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from knouds_harness.command_output import print_table
from knouds_harness.printable import printable
from knouds_harness.reporting.comparison.change import ChangeVerdict
from knouds_harness.reporting.comparison.load_comparison import LoadComparison
from knouds_harness.reporting.comparison.texts import (
    Comparison,
    figure,
    gates_of,
    headline,
    interval_words,
    measure_name,
    percent,
    remarks,
)

_STYLE_BY_TONE = {"good": "bold green", "bad": "bold red", "warn": "bold yellow"}
_STYLE_BY_VERDICT = {
    ChangeVerdict.WORSE: "red",
    ChangeVerdict.BETTER: "green",
    ChangeVerdict.NO_EVIDENCE: "yellow",
}
_MOST_LINES = 5


def print_comparison(comparison: Comparison, page: Path | None, *, console: Console) -> None:
    """Print a comparison; fits one screen.

    Args:
        comparison: What came of it.
        page: Where the whole can be read, if it was written.
        console: Decides on width and colour.
    """
    verdict = headline(comparison)
    console.print()
    first = Text.assemble((verdict.title, _STYLE_BY_TONE[verdict.tone]), f"  {verdict.detail}")
    console.print(_plain(first), soft_wrap=not console.is_terminal)
    remarked = remarks(comparison)
    said = [line for line in remarked if (line.partition(": ")[2] or line) not in verdict.detail]
    for line in said[:_MOST_LINES]:
        _print(console, f"  {line}")
    if len(said) > _MOST_LINES:
        _print(console, f"  … and {len(said) - _MOST_LINES} more in compare.html")
    if isinstance(comparison, LoadComparison):
        _print_gates(comparison, console)
    if page is not None:
        console.print(Text.assemble("  report ", (str(page), "bold")), soft_wrap=True)


def _print_gates(comparison: LoadComparison, console: Console) -> None:
    gates = gates_of(comparison.rows)
    if not gates:
        return
    rows = []
    for row in gates[:_MOST_LINES]:
        interval = interval_words(row) if row.change else ""
        change = percent(row, row.change.estimate) if row.change else row.reason
        rows.append(
            (
                Text(f"  {row.verdict}", style=_STYLE_BY_VERDICT.get(row.verdict, "")),
                f"{row.operation} {measure_name(row)}",
                figure(row, row.baseline),
                figure(row, row.candidate),
                f"{change} ({interval})" if interval else change,
            )
        )
    print_table(rows, right={2, 3}, console=console)
    if len(gates) > _MOST_LINES:
        _print(console, f"  … and {len(gates) - _MOST_LINES} more gates in compare.html")


def _print(console: Console, line: str) -> None:
    """Print one line, cut at a terminal's edge, whole in a pipe."""
    if console.is_terminal:
        console.print(_plain(Text(line)), no_wrap=True, overflow="ellipsis")
    else:
        console.print(_plain(Text(line)), soft_wrap=True)


def _plain(text: Text) -> Text:
    """Words that may be a server's, without anything that a terminal would obey."""
    return Text(printable(text.plain, keep=""), spans=text.spans)
