"""What one sees at the end of a load run."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from knouds_harness.command_output import print_line, print_table
from knouds_harness.measures.percentiles import time_ms
from knouds_harness.printable import printable
from knouds_harness.reporting.comparison.baseline import read_change
from knouds_harness.reporting.comparison.texts import headline as headline_of_change
from knouds_harness.reporting.headline import Headline
from knouds_harness.reporting.load.columns import (
    ERROR_HEADINGS,
    error_rows,
    milliseconds,
    rows_of,
    text_columns,
)
from knouds_harness.reporting.load.headline import count_states, describe, describe_broken, load_headline
from knouds_harness.reporting.load.steadiness import describe_steadiness
from knouds_harness.reporting.render import RenderedPaths
from knouds_harness.runs.load_results import Cycles, LoadResults
from knouds_harness.runs.record import RunRecord

_STYLE_BY_TONE = {"good": "bold green", "bad": "bold red", "warn": "bold yellow"}
_MOST_LINES = 5
_OPERATION = "  times in ms"
_COUNT_COLUMN = ERROR_HEADINGS.index("count")


def print_load_summary(
    record: RunRecord, load: LoadResults, paths: RenderedPaths, *, console: Console
) -> None:
    """Print the end of a load run: validity and objectives first, then each operation in a line.

    On a terminal sentences are wrapped, in a pipe nothing is.
    """
    verdict = load_headline(record, load)
    style = _STYLE_BY_TONE[verdict.tone]
    console.print()
    wrapped = [
        Text.assemble((verdict.title, style), f"  {printable(verdict.detail)}"),
        *(
            Text(f"  {printable(line)}", style=style.removeprefix("bold "))
            for line in _shortfalls(load, verdict)
        ),
        *(Text(f"  {printable(line)}") for line in (*_notes(record, load), *record.gaps)),
    ]
    for text in wrapped:
        console.print(text, soft_wrap=not console.is_terminal)
    for text in _table(load, console):
        console.print(text, soft_wrap=True)
    _print_errors(load, console)
    for line in _details(record, load):
        console.print(Text(f"  {printable(line)}"), soft_wrap=not console.is_terminal)
    console.print(Text.assemble("  report ", (str(paths.html), "bold")), soft_wrap=True)


def _shortfalls(load: LoadResults, verdict: Headline) -> list[str]:
    """What the verdict rests on, as far as it does not say it itself."""
    if load.capacity:  # its verdict says it all
        return []
    is_said = load.validity.reasons[:1] == (verdict.detail,)
    lines = [
        *(describe_broken(each) for each in load.invariants if each.broken),
        *load.validity.reasons[is_said:],
        *(describe(each) for each in load.objectives if not each.is_met),
    ]
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"… and {more} more in the report"] if more > 0 else [])]


def _details(record: RunRecord, load: LoadResults) -> Iterator[str]:
    """What comes after the figures of the operations."""
    if load.cycles:
        yield _cycles(load.cycles)
    if load.is_steady is not None and not load.capacity:
        yield describe_steadiness(load)
    if change := read_change(record.folder, []):
        against = headline_of_change(change.comparison)
        yield f"against {change.baseline}: {against.title}. {against.detail}"
    if load.invariants:
        yield f"promises verified under load: {count_states(load)}"
    cost = f", at most {load.cost_credits:,.0f} credits" if load.cost_credits else ""
    yield f"{record.duration_s:.0f} s{cost}, seed {load.plan.seed}"


def _notes(record: RunRecord, load: LoadResults) -> list[str]:
    """What was noted, apart from what the verdict has said."""
    noted = [] if load.capacity else (record.note or load.note).splitlines()
    return [line for line in noted if line not in load.validity.reasons]


def _table(load: LoadResults, console: Console) -> Iterator[Text]:
    """The lines of the table; on a terminal without as many columns as do not fit.

    Figures and names are never shortened: a line that is too long even so is left to the terminal.
    """
    if not load.operations:
        return
    names = [_OPERATION, *(f"  {printable(each.operation, keep='')}" for each in rows_of(load))]
    columns = [(each.rank, [each.heading, *each.cells]) for each in text_columns(load, with_units=False)]
    widths = [(rank, cells, max(map(len, cells))) for rank, cells in columns]
    name_width = max(map(len, names))
    while console.is_terminal and name_width + sum(width + 2 for *_, width in widths) > console.width:
        highest = max((rank for rank, *_ in widths), default=0)
        if not highest:
            break
        widths = [each for each in widths if each[0] != highest]
    for number, name in enumerate(names):
        cells = "".join(f"  {cells[number]:>{width}}" for _, cells, width in widths)
        yield Text(f"{name:{name_width}}{cells}", style="" if number else "dim")


def _print_errors(load: LoadResults, console: Console) -> None:
    rows = error_rows(load)
    if not rows:
        return
    table = [(f"  {operation}", *cells) for operation, *cells in rows[:_MOST_LINES]]
    print_table(table, headings=("  not kept", *ERROR_HEADINGS[1:]), right={_COUNT_COLUMN}, console=console)
    if len(rows) > _MOST_LINES:
        print_line(f"  … and {len(rows) - _MOST_LINES} more in the report", console=console)


def _cycles(cycles: Cycles) -> str:
    endings = ", ".join(f"{count:,} {ending}" for ending, count in cycles.endings.items())
    parts = [f"{cycles.submitted:,} asynchronous runs: {endings or 'none ended'}"]
    for what, times in (
        ("to final", cycles.to_final),
        ("lost to polling", cycles.lost_to_polling),
        ("webhook delay", cycles.webhook_delay),
    ):
        median_ms = time_ms(times, "p50_ms")
        if median_ms is not None:
            parts.append(f"{what} p50 {milliseconds(median_ms)}")
    if cycles.undelivered:
        parts.append(f"{cycles.undelivered:,} deliveries did not come")
    return "; ".join(parts)
