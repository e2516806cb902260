"""``history.html``: a measure over runs, as one file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from knouds_harness.reporting.history.measures import measure_of, worded
from knouds_harness.reporting.history.series import Series
from knouds_harness.reporting.history.terminal import change_words, found_in
from knouds_harness.reporting.pages import embedded, page, script_hashes, shipped


def history_html(measure: str, series: Sequence[Series], *, runs_folder: Path) -> str:
    """Lay a measure over runs out as one HTML file.

    Args:
        measure: Its full name.
        series: The runs, by what was run.
        runs_folder: Where reports of the runs may be, beside the page.
    """
    scripts = [shipped(name) for name in ("vendor/uPlot.iife.min.js", "history.js")]
    return page(
        "history.html.j2",
        measure=measure,
        says=measure_of(measure).says,
        series=series,
        run_count=sum(len(each.points) for each in series),
        change_count=sum(1 for each in series for point in each.points if point.change),
        reports={
            point.entry.folder: f"{runs_folder.name}/{point.entry.folder}/report.html"
            for each in series
            for point in each.points
            if (runs_folder / point.entry.folder / "report.html").is_file()
        },
        worded=worded,
        change_words=change_words,
        found_in=found_in,
        charts=embedded([_chart(measure, each) for each in series]),
        style=shipped("vendor/uPlot.min.css") + shipped("report.css") + shipped("load.css"),
        scripts=scripts,
        script_hashes=script_hashes(scripts),
    )


def _chart(measure: str, series: Series) -> dict[str, object]:
    """What the script draws of a series: points, the level between changes, and what each point is called."""
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
        "words": [worded(measure, point.value) for point in series.points],
    }
