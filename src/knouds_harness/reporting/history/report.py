"""The reports of the history: the newest runs, the measures, and one measure over runs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from knouds_harness.printable import counted
from knouds_harness.reporting.history.changes import Series, SeriesPoint
from knouds_harness.reporting.history.entry import Entry, measure_of, measure_text
from knouds_harness.reporting.report import (
    HTML,
    Column,
    Figure,
    Folded,
    Headline,
    Items,
    Link,
    Report,
    Section,
    Table,
    Tone,
    Toned,
    Words,
    badge,
)
from knouds_harness.runs.findings import RunOutcome

_TONE_BY_OUTCOME: Final[dict[RunOutcome, Tone]] = {RunOutcome.KEPT: "good", RunOutcome.BROKEN: "bad"}
_HEIGHT: Final = 6
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_MOST_CHANGES: Final = 5


def entries_table(
    entries: Sequence[Entry], *, p99_ms: Mapping[str, float], throttled: Mapping[str, float], most: int
) -> Table:
    return Table(
        "Runs",
        (
            Column("Ended"),
            Column("Run", is_name=True),
            Column("Took", is_number=True, rank=2),
            Column("Credits", is_number=True, rank=3),
            Column("Seed", is_number=True, rank=4),
            Column("Found", rank=1),
        ),
        [
            (
                _ended(entry),
                entry.folder,
                f"{entry.duration_s:,.1f} s",
                f"{entry.cost_credits:,.0f}",
                str(entry.seed),
                found_in(entry, p99_ms.get(entry.folder), throttled.get(entry.folder)),
            )
            for entry in entries
        ],
        most={"terminal": most},
        more="runs",
    )


def measures_table(measures: Mapping[str, int]) -> Table:
    return Table(
        "Measures",
        (Column("Measure", is_name=True), Column("Is")),
        [(name, f"{measure_of(name).says}, of {counted(count, 'run')}") for name, count in measures.items()],
    )


def series_report(measure: str, series: Sequence[Series], *, runs_folder: Path) -> Report:
    runs = sum(len(each.points) for each in series)
    changes = sum(1 for each in series for point in each.points if point.change)
    says = measure_of(measure).says
    return Report(
        headline=Headline(
            tone="warn" if changes else "good",
            title=measure,
            detail=f"{says[:1].upper()}{says[1:]}, over {counted(runs, 'run')}. "
            f"{ {0: 'No change', 1: 'One change'}.get(changes, f'{changes} changes') }.",
        ),
        file="history.html",
        lead=(
            "Only runs of one thing share a chart: the same target, the same choice of checks, or the same "
            "scenario and load. A dashed line marks where the level changed for good, the step through the "
            "points is the median in between. Hollow points are not valid measurements, or runs that did not "
            "come to their end: they are left out of that."
        ),
        sections=[_section(measure, number, each, runs_folder) for number, each in enumerate(series)],
        charts=[_chart(measure, each) for each in series],
        scripts=("vendor/uPlot.iife.min.js", "history.js"),
    )


def found_in(entry: Entry, p99_ms: float | None = None, throttled: float | None = None) -> str:
    """Describe what a run found, or how a load run went."""
    counts = [f"{count:,} {verdict}" for verdict, count in entry.findings.items() if count]
    words = counts if counts or entry.scenario else ["no findings"]
    if throttled:
        words = [f"{measure_text('throttled_rate', throttled)} throttled", *words]
    if p99_ms is not None:
        words = [f"p99 {measure_text('p99_ms', p99_ms)}", *words]
    if entry.setting:
        words = [entry.setting, *words] if entry.scenario else [*words, entry.setting]
    if entry.is_valid is False:
        words = ["not valid", *words]
    return ", ".join([*words, "pruned"] if entry.is_pruned else words)


def _ended(entry: Entry) -> Toned:
    code = "" if entry.exit_code is None else f" ({entry.exit_code})"
    return badge(f"{entry.outcome.value}{code}", _TONE_BY_OUTCOME.get(entry.outcome, "warn"))


def _section(measure: str, number: int, series: Series, runs_folder: Path) -> Section:
    changes = [
        f"{point.entry.started_at:%Y-%m-%d %H:%M UTC}: {_change_words(measure, point)}"
        for point in series.points
        if point.change
    ]
    return Section(
        f"series-{number}",
        series.name,
        [
            Figure(
                "history_chart.html.j2",
                values=lambda: {"number": number, "runs": counted(len(series.points), "run")},
                lines=lambda width, is_ascii: list(_bars(measure, series, width, is_ascii=is_ascii)),
            ),
            Items(changes[::-1], shown=HTML),
            Folded("All figures", [_points(measure, series, runs_folder)]),
        ],
    )


def _points(measure: str, series: Series, runs_folder: Path) -> Table:
    return Table(
        f"Runs of {series.name}",
        (
            Column("Run", is_name=True),
            Column("Started"),
            Column("Ended"),
            Column("Value", is_number=True),
            Column("Found"),
            Column("Change"),
        ),
        [
            (
                _linked(point.entry, runs_folder),
                f"{point.entry.started_at:%Y-%m-%d %H:%M}",
                _ended(point.entry),
                measure_text(measure, point.value),
                found_in(point.entry),
                "begins here" if point.change else "",
            )
            for point in reversed(series.points)
        ],
    )


def _linked(entry: Entry, runs_folder: Path) -> Words:
    is_there = (runs_folder / entry.folder / "report.html").is_file()
    return Link(entry.folder, f"{runs_folder.name}/{entry.folder}/report.html") if is_there else entry.folder


def _change_words(measure: str, point: SeriesPoint) -> str:
    change = point.change
    if change is None:
        return ""
    share = f" ({change.after / change.before - 1:+.1%})" if change.before else ""
    levels = f"{measure_text(measure, change.before)} → {measure_text(measure, change.after)}"
    return f"{levels}{share}, from {point.entry.folder} on"


def _bars(measure: str, series: Series, width: int, *, is_ascii: bool) -> Iterator[str]:
    """Draw bars from zero, a column for each run, the newest to the right."""
    highest = max(point.value for point in series.points)
    labels = {_HEIGHT: measure_text(measure, highest), 1: measure_text(measure, 0)}
    margin = max(map(len, labels.values())) + 2
    points = series.points[-max(width - margin - 1, 1) :]
    count = len(series.points)
    last = f", the last {len(points)}" if len(points) < count else ""
    yield f"{series.name}, {counted(count, 'run')}{last}"
    for row in range(_HEIGHT, 0, -1):
        bars = "".join(_bar_in(point.value, highest, row, is_ascii=is_ascii) for point in points)
        yield f"{labels.get(row, ''):>{margin - 1}} {bars}".rstrip()
    marks = "".join("^" if point.change else " " if point.entry.is_sound else "x" for point in points)
    if marks.strip():
        yield f"{'':>{margin}}{marks}".rstrip()
    for point in [point for point in points if point.change][-_MOST_CHANGES:]:
        yield f"  ^ {_change_words(measure, point)}"
    if any(not point.entry.is_sound for point in points):
        yield "  x is not a valid measurement, or did not come to its end: left out of changes"


def _bar_in(value: float, highest: float, row: int, *, is_ascii: bool) -> str:
    """Draw the part of a bar in one row; rows count from below."""
    eighths = round(8 * _HEIGHT * value / highest) if highest else 0
    filled = min(max(eighths - 8 * (row - 1), 0), 8)
    if is_ascii:
        return "#" if filled >= 4 else " "
    return _EIGHTHS[filled]


def _chart(measure: str, series: Series) -> dict[str, object]:
    """Return the data of a chart: points, the level between changes, and the label of each point."""
    level: list[float | None] = []
    changes = [point.change for point in series.points if point.change]
    now = changes[0].before if changes else None
    for point in series.points:
        now = point.change.after if point.change else now
        level.append(now)
    return {
        "measure": measure,
        "at_s": [point.entry.started_at.timestamp() for point in series.points],
        "values": [point.value if point.entry.is_sound else None for point in series.points],
        "unsound": [None if point.entry.is_sound else point.value for point in series.points],
        "level": level,
        "changes": [index for index, point in enumerate(series.points) if point.change],
        "words": [measure_text(measure, point.value) for point in series.points],
    }
