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
    headline,
    interval_words,
    lines,
    percent,
)
from knouds_harness.reporting.load.headline import name

_STYLE_BY_TONE = {"good": "bold green", "bad": "bold red", "warn": "bold yellow"}
_STYLE_BY_VERDICT = {Verdict.WORSE: "red", Verdict.BETTER: "green", Verdict.NO_EVIDENCE: "yellow"}
_MOST_LINES = 5
_MOST_ROWS = 12


def print_comparison(comparison: Comparison, page: Path | None, *, console: Console) -> None:
    """Print a comparison; fits one screen.

    Args:
        comparison: What came of it.
        page: Where the whole can be read, if it was written.
        console: Decides on width and colour.
    """
    verdict = headline(comparison)
    console.print()
    _print(
        console,
        Text.assemble((verdict.title, _STYLE_BY_TONE[verdict.tone]), f"  {verdict.detail}"),
        wrap=True,
    )
    said = [line for line in lines(comparison) if verdict.detail not in line]
    for line in said[:_MOST_LINES]:
        _print(console, Text(f"  {line}"))
    if len(said) > _MOST_LINES:
        _print(console, Text(f"  … and {len(said) - _MOST_LINES} more", style="dim"))
    if isinstance(comparison, LoadComparison) and comparison.rows:
        console.print(_table(comparison))
    if page is not None:
        console.print(Text.assemble("  report ", (str(page), "bold")), soft_wrap=True)


def _table(comparison: LoadComparison) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column("  gates", overflow="ellipsis", no_wrap=True)
    for column in ("before", "now", "change", "interval"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    rows = [row for row in comparison.rows if row.is_gate]
    for row in rows[:_MOST_ROWS]:
        table.add_row(
            f"  {row.operation} {name(row.measure)}",
            figure(row, row.baseline),
            figure(row, row.candidate),
            percent(row, row.change.estimate) if row.change else "",
            interval_words(row) if row.change else "",
            Text(row.verdict.value, style=_STYLE_BY_VERDICT.get(row.verdict, "")),
        )
    if len(rows) > _MOST_ROWS:
        table.add_row(f"  … and {len(rows) - _MOST_ROWS} more")
    return table


def _print(console: Console, text: Text, *, wrap: bool = False) -> None:
    """Print one line of words that may be a server's: cut at a terminal's edge, whole in a pipe."""
    plain = "".join(char if char.isprintable() or char == "\n" else "·" for char in text.plain)
    shown = Text(plain, spans=text.spans)
    if console.is_terminal and not wrap:
        console.print(shown, no_wrap=True, overflow="ellipsis")
    else:
        console.print(shown, soft_wrap=not console.is_terminal)
