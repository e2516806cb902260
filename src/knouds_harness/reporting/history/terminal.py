"""The history in a terminal: the newest runs, and one measure over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from knouds_harness.command_output import print_line, print_table
from knouds_harness.printable import printable
from knouds_harness.reporting.history.entry import Entry
from knouds_harness.reporting.history.measures import measure_of, worded
from knouds_harness.reporting.history.series import Series, SeriesPoint
from knouds_harness.runs.verdicts import RunOutcome

_STYLE_BY_OUTCOME = {RunOutcome.KEPT: "green", RunOutcome.BROKEN: "red"}
_LEAST_WIDTHS: Final = (100, 100, 120, 64)
"""Of a terminal that shows how long a run took, what it cost, its seed, and what was found."""
_HEIGHT: Final = 6
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_MOST_CHANGES: Final = 5


def print_entries(
    entries: Sequence[Entry], *, p99_ms: Mapping[str, float], hidden: int, console: Console
) -> None:
    """Print runs as a table; in a narrow terminal without what matters least.

    Args:
        entries: The newest first.
        p99_ms: Of load runs, by folder.
        hidden: How many more there are.
        console: Decides on width and colour.
    """
    columns = [
        ("took", [f"{entry.duration_s:,.1f} s" for entry in entries]),
        ("credits", [f"{entry.cost_credits:,.0f}" for entry in entries]),
        ("seed", [str(entry.seed) for entry in entries]),
        ("found", [found_in(entry, p99_ms.get(entry.folder)) for entry in entries]),
    ]
    shown = [each for least, each in zip(_LEAST_WIDTHS, columns, strict=True) if console.width >= least]
    print_table(
        [
            (
                _ended(entry),
                Text(entry.folder, style="dim" if entry.is_pruned else ""),
                *(cells[number] for _, cells in shown),
            )
            for number, entry in enumerate(entries)
        ],
        headings=("ended", "run", *(name for name, _ in shown)),
        right={number for number, (name, _) in enumerate(shown, 2) if name != "found"},
        console=console,
    )
    if hidden:
        print_line(f"… and {hidden:,} more: --limit", console=console)


def print_measures(measures: Mapping[str, int], *, console: Console) -> None:
    """Print the names of measures, what they are, and how many runs have them."""
    print_table(
        [
            (name, f"{measure_of(name).says}, of {'1 run' if count == 1 else f'{count:,} runs'}")
            for name, count in measures.items()
        ],
        console=console,
    )


def print_series(measure: str, series: Sequence[Series], *, console: Console) -> None:
    """Plot a measure: bars from zero, a column for each run, the newest to the right."""
    for each in series:
        _print_one(measure, each, console)


def found_in(entry: Entry, p99_ms: float | None = None) -> str:
    """What a run found, or how a load run went."""
    counts = [f"{count:,} {verdict}" for verdict, count in entry.findings.items() if count]
    words = counts if counts or entry.scenario else ["no findings"]
    if p99_ms is not None:
        words = [f"p99 {worded('p99_ms', p99_ms)}", *words]
    if entry.setting:
        words = [entry.setting, *words] if entry.scenario else [*words, entry.setting]
    if entry.is_valid is False:
        words = ["not valid", *words]
    return ", ".join([*words, "pruned"] if entry.is_pruned else words)


def change_words(measure: str, point: SeriesPoint) -> str:
    """A change in words: when, how much, and with which run it begins."""
    change = point.change
    if change is None:
        return ""
    share = f" ({change.after / change.before - 1:+.1%})" if change.before else ""
    levels = f"{worded(measure, change.before)} → {worded(measure, change.after)}"
    return f"{levels}{share}, from {point.entry.folder} on"


def _print_one(measure: str, series: Series, console: Console) -> None:
    highest = max(point.value for point in series.points)
    labels = [worded(measure, highest), worded(measure, 0)]
    margin = max(map(len, labels)) + 2
    room = console.width - margin - 1
    points = series.points[-max(room, 1) :]
    count = len(series.points)
    words = f"{measure} of {series.name}, {count} {'run' if count == 1 else 'runs'}"
    _print(console, f"{words}, the last {len(points)}" if len(points) < count else words)
    for row in range(_HEIGHT, 0, -1):
        label = labels[0] if row == _HEIGHT else labels[1] if row == 1 else ""
        bars = "".join(_block(point.value, highest, row, console) for point in points)
        _print(console, f"{label:>{margin - 1}} {bars}".rstrip())
    marks = "".join("^" if point.change else " " if point.entry.is_sound else "x" for point in points)
    if marks.strip():
        _print(console, f"{'':>{margin}}{marks}".rstrip())
    changes = [point for point in points if point.change]
    for point in changes[-_MOST_CHANGES:]:
        _print(console, f"  ^ {change_words(measure, point)}")
    if any(not point.entry.is_sound for point in points):
        _print(console, "  x is no valid measurement, or did not come to its end: left out of changes")
    console.print()


def _block(value: float, highest: float, row: int, console: Console) -> str:
    """The part of a bar that stands in a row, counted from below."""
    eighths = round(8 * _HEIGHT * value / highest) if highest else 0
    filled = min(max(eighths - 8 * (row - 1), 0), 8)
    if console.options.ascii_only:
        return "#" if filled >= 4 else " "
    return _EIGHTHS[filled]


def _ended(entry: Entry) -> Text:
    code = "" if entry.exit_code is None else f" ({entry.exit_code})"
    return Text(f"{entry.outcome.value}{code}", style=_STYLE_BY_OUTCOME.get(entry.outcome, "yellow"))


def _print(console: Console, line: str) -> None:
    console.print(Text(printable(line)), no_wrap=True, overflow="ellipsis", soft_wrap=not console.is_terminal)
