"""Prints a report in a terminal: the verdict, the lines that matter, and where the page is.

Sentences and the verdict are wrapped, lists are cut at the edge; in a pipe, no line is wrapped or cut.
"""

from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text as RichText

from knouds_harness.command_output import print_line, print_table
from knouds_harness.printable import printable
from knouds_harness.reporting.report import (
    Block,
    Findings,
    Items,
    Report,
    Table,
    Text,
    Toned,
    Words,
    pieces_of,
    plain,
)

_STYLE_BY_TONE: Final = {"good": "green", "bad": "red", "warn": "yellow", "note": "cyan", "plain": ""}
_LABEL_WIDTH: Final = 16


def print_report(report: Report, page: Path | None, *, console: Console) -> None:
    """Print a report; the report says how much of each part is shown."""
    headline = report.headline
    title = (printable(headline.title), f"bold {_STYLE_BY_TONE[headline.tone]}")
    print_line(RichText.assemble(title, f"  {printable(headline.detail)}"), console=console)
    for note in report.notes:
        for line in plain(note).splitlines():
            print_line(RichText(f"  {printable(line)}"), console=console)
    for section in report.on("terminal"):
        for block in section.on("terminal"):
            _print_block(block, console, report.file)
    if report.about:
        print_line(RichText(f"  {printable(plain(report.about))}"), console=console)
    if page is not None:
        console.print(RichText.assemble("  report ", (str(page), "bold")), soft_wrap=True)


def _print_block(block: Block, console: Console, file: str) -> None:
    if isinstance(block, Text):
        print_line(_rich(block.words, block.tone, indent="  "), console=console)
    elif isinstance(block, Items):
        _print_items(block, console, file)
    elif isinstance(block, Table):
        _print_table(block, console, file)
    elif isinstance(block, Findings):
        _print_findings(block, console, file)


def _print_items(items: Items, console: Console, file: str) -> None:
    most = items.most.get("terminal", len(items.lines))
    for words in items.lines[:most]:
        line = _rich(words, items.tone, indent=f"  {items.label}: " if items.label else "  ")
        if items.is_whole:
            print_line(line, console=console)
        else:
            _print_cut(line, console)
    _print_more(len(items.lines) - most, "", console, file)


def _print_table(table: Table, console: Console, file: str) -> None:
    """Print a table; a terminal that is too narrow for it gets fewer columns."""
    columns = table.columns_on("terminal")
    cells = [list(map(_rich, row)) for row in table.rows_on("terminal")]
    for number, row in enumerate(cells):
        for column, cell in zip(columns, row, strict=True):
            if column.is_name and number in table.strong:
                cell.stylize("bold")
    headings = [column.heading.lower() for column in columns]
    places = list(range(len(columns)))
    widths = [
        max(len(heading), *(row[at].cell_len for row in cells)) if cells else 0
        for at, heading in enumerate(headings)
    ]
    while console.is_terminal and sum(widths[at] + 2 for at in places) > console.width:
        highest = max(columns[at].rank for at in places)
        if not highest:
            break
        places = [at for at in places if columns[at].rank != highest]
    print_table(
        [[RichText("  ") + row[places[0]], *(row[at] for at in places[1:])] for row in cells],
        headings=[f"  {headings[places[0]]}", *(headings[at] for at in places[1:])],
        right={number for number, at in enumerate(places) if columns[at].is_number},
        console=console,
    )
    _print_more(len(table.rows) - len(cells), table.more, console, file)


def _print_findings(findings: Findings, console: Console, file: str) -> None:
    """Print two lines for each fact: what it is about, and its first finding."""
    most = findings.most.get("terminal", len(findings.groups))
    for group in findings.groups[:most]:
        first = group.findings[0]
        word = f"{findings.label}: {group.label}" if findings.label else group.label
        label = RichText(f"  {word:<{_LABEL_WIDTH}} ", style=_STYLE_BY_TONE[group.tone])
        others = f", {len(group.findings) - 1} more" if len(group.findings) > 1 else ""
        _print_cut(label + RichText(printable(f"{group.name}  {first.who}{others}")), console)
        after = f"after {len(first.steps)} requests, " if first.steps else ""
        _print_cut(RichText(printable(f"    {after}{first.difference}"), style="dim"), console)
    if any(group.findings[0].steps for group in findings.groups[:most]):
        _print_cut(RichText(f"  Scripts that send all of several requests again are in {file}."), console)
    _print_more(len(findings.groups) - most, "facts", console, file)


def _print_more(count: int, what: str, console: Console, file: str) -> None:
    if count > 0:
        things = f" {what.removesuffix('s') if count == 1 else what}" if what else ""
        _print_cut(RichText(f"  … and {count:,} more{things} in {file}"), console)


def _rich(words: Words, tone: str = "plain", *, indent: str = "") -> RichText:
    text = RichText(indent, style=_STYLE_BY_TONE[tone])
    for piece in pieces_of(words):
        style = _STYLE_BY_TONE[piece.tone] if isinstance(piece, Toned) else ""
        text.append(printable(plain(piece), keep=""), style=style)
    return text


def _print_cut(text: RichText, console: Console) -> None:
    """Print one line, cut at the edge of a terminal, whole in a pipe."""
    if console.is_terminal:
        console.print(text, no_wrap=True, overflow="ellipsis")
    else:
        console.print(text, soft_wrap=True)
