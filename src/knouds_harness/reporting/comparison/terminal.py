"""What one sees at the end of a comparison: the verdict, the lines that matter, where the page is."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from knouds_harness.reporting.comparison.change import Verdict
from knouds_harness.reporting.comparison.load_comparison import LoadComparison
from knouds_harness.reporting.comparison.wording import (
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
_STYLE_BY_VERDICT = {Verdict.WORSE: "red", Verdict.BETTER: "green", Verdict.NO_EVIDENCE: "yellow"}
_MOST_LINES = 5
_NARROW = 72


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
    is_narrow = console.width < _NARROW
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for _ in range(3 if is_narrow else 4):
        table.add_column(justify="right", no_wrap=True)
    for row in gates[:_MOST_LINES]:
        interval = interval_words(row) if row.change else ""
        table.add_row(
            Text(f"  {row.verdict}", style=_STYLE_BY_VERDICT.get(row.verdict, "")),
            f"{row.operation} {measure_name(row)}",
            figure(row, row.baseline),
            figure(row, row.candidate),
            percent(row, row.change.estimate) if row.change else row.reason,
            *([] if is_narrow else [f"({interval})" if interval else ""]),
        )
    console.print(table)
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
    return Text("".join(char if char.isprintable() else "·" for char in text.plain), spans=text.spans)
