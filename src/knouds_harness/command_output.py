"""What commands print: lines and tables for people, whole in a pipe, and JSON for programs."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Any, Final

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from knouds_harness.errors import OutputClosed
from knouds_harness.printable import printable

FORMAT_VERSION: Final = 1
_GAP: Final = "  "
_LEAST_TEXT: Final = 24
"""Characters that a terminal must have left beside the other columns for the last one to stand there."""


class CommandConsole(Console):
    """Prints what a command shows; when the reader has gone, the command ends as with Ctrl-C."""

    def on_broken_pipe(self) -> None:
        """Print nothing more, and end what goes on in order, so that what was measured is kept.

        Raises:
            OutputClosed: Always.
        """
        with suppress(SystemExit):
            super().on_broken_pipe()
        raise OutputClosed


def print_json(name: str, contents: Mapping[str, Any], *, version: int = FORMAT_VERSION) -> None:
    """Print what a command found, for programs; ``docs/commands.schema.json`` lists the members."""
    click.echo(json.dumps({"format": f"knouds-harness {name}", "format_version": version, **contents}))


def print_line(line: str | Text, *, console: Console, style: str = "") -> None:
    """Print a line as it is: no word of it is markup, and only a terminal wraps it."""
    console.print(_plain(line), style=style, soft_wrap=not console.is_terminal)


def print_table(
    rows: Sequence[Sequence[str | Text]],
    *,
    console: Console,
    headings: Sequence[str] = (),
    right: Collection[int] = (),
) -> None:
    """Print a table without boxes, of which only the last column is ever wrapped, if it is not of numbers.

    In a pipe each row is a line. Where a terminal is too narrow, the cells of a row stand below each other.
    ``right`` has the numbers of the columns that are aligned to the right.
    """
    cells = [[_plain(cell) for cell in row] for row in rows]
    titles = [[Text(title, style="dim") for title in headings]] if headings else []
    widths = [
        max(cell.cell_len for cell in column) for column in zip_longest(*titles, *cells, fillvalue=Text())
    ]
    before_last = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
    is_wrapped = console.is_terminal and len(widths) - 1 not in right
    room = max(console.width - before_last, 0) if is_wrapped else widths[-1] if widths else 0
    if room < min(_LEAST_TEXT, widths[-1] if widths else 0):
        for row in cells:
            _print_below_each_other(row, console)
        return
    for row in [*titles, *cells]:
        parts = row[-1].wrap(console, room) if row[-1].cell_len > room else [row[-1]]
        for number, part in enumerate(parts):
            line = Text()
            for column, cell in enumerate([*(row[:-1] if not number else [Text()] * (len(row) - 1)), part]):
                padding = " " * (widths[column] - cell.cell_len)
                line.append_text(Text.assemble(padding, cell) if column in right else cell + Text(padding))
                line.append(_GAP)
            line.rstrip()
            console.print(line, soft_wrap=True)


def _print_below_each_other(row: Sequence[Text], console: Console) -> None:
    for number, cell in enumerate(row):
        if number == len(row) - 1 and cell:
            console.print(Padding(cell, (0, 0, 0, len(_GAP))))
        elif cell:
            console.print((Text(_GAP) if number else Text()) + cell, soft_wrap=True)


def _plain(line: str | Text) -> Text:
    """Words that may be a server's, without anything that a terminal would obey."""
    text = Text(line) if isinstance(line, str) else line
    return Text(printable(text.plain, keep=""), style=text.style, spans=text.spans)
