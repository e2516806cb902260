"""All reports of one run, written into its folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from knouds_harness.errors import RunRecordError
from knouds_harness.printable import printable
from knouds_harness.reporting.check.junit import junit
from knouds_harness.reporting.comparison.baseline import read_change
from knouds_harness.reporting.csv_files import facts_csv, operations_csv
from knouds_harness.reporting.html_report import html_report
from knouds_harness.reporting.load.html import load_html
from knouds_harness.reporting.load.junit import load_junit
from knouds_harness.reporting.load.markdown import load_markdown
from knouds_harness.reporting.markdown import markdown
from knouds_harness.reporting.openmetrics import openmetrics
from knouds_harness.reporting.summary import summary
from knouds_harness.runs.record import RunRecord, read_run, salvage_run


@dataclass(frozen=True, kw_only=True)
class RenderedPaths:
    """Where the reports are.

    Attributes:
        html: For people; one file that needs nothing else.
        markdown: For a pull request's comment or a job's summary.
        junit: For CI.
        summary: For programs.
        metrics: For what collects OpenMetrics.
        table: For spreadsheets: facts of a check, operations of a load run.
    """

    html: Path
    markdown: Path
    junit: Path
    summary: Path
    metrics: Path
    table: Path


def render_all(folder: Path) -> RenderedPaths:
    """Render every report of a run, from its record alone; can be done again at any time.

    Raises:
        RunRecordError: The folder holds no readable record, or cannot be written to.
    """
    return _render(read_run(folder))


def render_readable(folder: Path, problem: RunRecordError) -> RenderedPaths | None:
    """Render what can be read of a run whose ``run.json`` cannot.

    Args:
        folder: Of the run.
        problem: Why it cannot.

    Returns:
        Where the reports are; None where nothing can be read.

    Raises:
        RunRecordError: The folder cannot be written to.
    """
    record = salvage_run(folder, problem)
    return _render(record) if record else None


def _render(record: RunRecord) -> RenderedPaths:
    load = record.load
    gaps: list[str] = []
    change = read_change(record.folder, gaps) if load else None
    record = replace(record, gaps=(*record.gaps, *gaps))
    page = load_markdown(record, load.results, change) if load else markdown(record)
    return RenderedPaths(
        html=_rendered(
            record, "report.html", load_html(record, load, change) if load else html_report(record)
        ),
        markdown=_rendered(record, "report.md", printable(page)),
        junit=_rendered(record, "junit.xml", load_junit(record, load.results) if load else junit(record)),
        summary=_rendered(record, "summary.json", summary(record, change)),
        metrics=_rendered(record, "metrics.txt", openmetrics(record)),
        table=(
            _rendered(record, "operations.csv", operations_csv(load.results))
            if load
            else _rendered(record, "facts.csv", facts_csv(record))
        ),
    )


def _rendered(record: RunRecord, name: str, text: str) -> Path:
    path = record.folder / name
    part = record.folder / f"{name}.part"
    try:
        try:
            part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise RunRecordError(
            f"{path}: cannot be written: {error.strerror}\n"
            "  The run record itself is whole; make room, or copy the folder elsewhere, and run the report "
            "command again."
        ) from error
    return path
