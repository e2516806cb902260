"""Print the output of commands: lines and tables for people (not wrapped in a pipe), JSON for programs."""

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
"""The last column stands beside the others if the terminal has this many characters left for it."""


class CommandConsole(Console):
    """Prints a command's output. If the reader closes the pipe, the command ends as with Ctrl-C."""

    def on_broken_pipe(self) -> None:
        """End the command in an orderly way, so that measurements are kept."""
        with suppress(SystemExit):
            super().on_broken_pipe()
        raise OutputClosed

    def say(self, line: str) -> None:
        """Print a line that may come from a server; it is not wrapped, and no markup is read in it."""
        self.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def print_json(name: str, contents: Mapping[str, Any], *, version: int = FORMAT_VERSION) -> None:
    """Print a command's result as JSON; ``docs/commands.schema.json`` lists the members."""
    click.echo(json.dumps({"format": f"knouds-harness {name}", "format_version": version, **contents}))


def print_line(line: str | Text, *, console: Console, style: str = "") -> None:
    """Print a line without reading markup in it; only a terminal wraps it, under what begins it."""
    text = _plain(line)
    text.stylize_before(style)
    if not console.is_terminal:
        console.print(text, soft_wrap=True)
        return
    indent = len(text.plain) - len(text.plain.lstrip())
    for number, part in enumerate(text[indent:].wrap(console, max(console.width - indent - len(_GAP), 1))):
        part.rstrip()
        console.print(Text(" " * indent + (_GAP if number else "")) + part, soft_wrap=True)


def print_table(
    rows: Sequence[Sequence[str | Text]],
    *,
    console: Console,
    headings: Sequence[str] = (),
    right: Collection[int] = (),
) -> None:
    """Print a table without boxes. Only the last column is wrapped, and only if it is left-aligned.

    In a pipe, each row is one line. In a terminal that is too narrow, a row's cells stand below each other.
    ``right`` has the indexes of the right-aligned columns.
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
    """Replace unprintable characters: the text may come from a server."""
    text = Text(line) if isinstance(line, str) else line
    return Text(printable(text.plain, keep=""), style=text.style, spans=text.spans)
