"""All reports of one run, written into its folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from knouds_harness.errors import RunRecordError
from knouds_harness.file_content import replace_file
from knouds_harness.reporting.check.report import check_report
from knouds_harness.reporting.comparison.baseline import RunChange, read_change
from knouds_harness.reporting.csv_files import facts_csv, operations_csv
from knouds_harness.reporting.github import add_to_step_summary, is_there, workflow_commands
from knouds_harness.reporting.html import html
from knouds_harness.reporting.junit import junit, load_junit
from knouds_harness.reporting.load.report import load_report
from knouds_harness.reporting.markdown import markdown
from knouds_harness.reporting.openmetrics import openmetrics
from knouds_harness.reporting.report import Report
from knouds_harness.reporting.summary import summary
from knouds_harness.reporting.terminal import print_report
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


def print_summary(record: RunRecord, paths: RenderedPaths, *, console: Console) -> None:
    """Print the end of a run; fits one screen however much was found.

    Args:
        record: The run.
        paths: Its reports.
        console: Where to print; decides on width and colour.
    """
    report, _ = _report(record)
    print_report(report, paths.html, console=console)
    if is_there(os.environ):
        for command in workflow_commands(record):
            console.print(command, markup=False, highlight=False, soft_wrap=True)
        add_to_step_summary(paths.markdown, os.environ)


def _report(record: RunRecord) -> tuple[Report, RunChange | None]:
    """What a run says, and how it changed against its baseline."""
    load = record.load
    if load is None:
        return check_report(record), None
    gaps: list[str] = []
    change = read_change(record.folder, gaps)
    return load_report(replace(record, gaps=(*record.gaps, *gaps)), load, change), change


def _render(record: RunRecord) -> RenderedPaths:
    load = record.load
    report, change = _report(record)
    return RenderedPaths(
        html=_rendered(record, "report.html", html(report)),
        markdown=_rendered(record, "report.md", markdown(report)),
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
    try:
        replace_file(path, text.encode(errors="backslashreplace"))
    except OSError as error:
        raise RunRecordError(
            f"{path}: cannot be written: {error.strerror}\n"
            "  The run record itself is whole; make room, or copy the folder elsewhere, and run the report "
            "command again."
        ) from error
    return path
