"""One measure over runs: a series for each thing that was run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knouds_harness.reporting.history.changes import ChangePoint, change_points
from knouds_harness.reporting.history.entry import Entry
from knouds_harness.reporting.history.measures import measure_of


@dataclass(frozen=True, kw_only=True)
class SeriesPoint:
    """One run, its value, and the change that begins with it."""

    entry: Entry
    value: float
    change: ChangePoint | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """Runs of one thing, oldest first."""

    name: str
    points: tuple[SeriesPoint, ...]


def series_of(measure: str, entries: Sequence[Entry], figures: Mapping[str, float]) -> list[Series]:
    """The series of a measure, the longest first.

    Args:
        measure: Its full name.
        entries: In any order; those without a figure are left out.
        figures: By folder.
    """
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda each: (each.started_at, each.folder)):
        if entry.folder in figures:
            groups[entry.series].append(entry)
    series = [_series(name, group, figures, measure) for name, group in groups.items()]
    return sorted(series, key=lambda each: -len(each.points))


def _series(name: str, entries: Sequence[Entry], figures: Mapping[str, float], measure: str) -> Series:
    sound = [entry.folder for entry in entries if entry.is_sound]
    values = [figures[folder] for folder in sound]
    found = change_points(values, measure_of(measure))
    changes = {sound[change.at]: change for change in found}
    return Series(
        name=name,
        points=tuple(
            SeriesPoint(entry=entry, value=figures[entry.folder], change=changes.get(entry.folder))
            for entry in entries
        ),
    )
