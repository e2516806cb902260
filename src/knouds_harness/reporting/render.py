"""Renders all reports of one run into its folder, and shows its result in GitHub Actions and GitLab CI."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from rich.console import Console

from knouds_harness.files import append_to_file
from knouds_harness.measures.objectives import describe
from knouds_harness.printable import printable
from knouds_harness.reporting.check.fact_status import (
    contradictions_of,
    drift_of,
    fact_rows,
    findings_by_fact,
    waiver_rows,
)
from knouds_harness.reporting.check.report import check_report
from knouds_harness.reporting.comparison.check_comparison import CheckComparison
from knouds_harness.reporting.comparison.sides import read_change
from knouds_harness.reporting.comparison.texts import lost_words
from knouds_harness.reporting.html import html
from knouds_harness.reporting.junit import junit, load_junit
from knouds_harness.reporting.load.columns import OPERATION_COLUMNS, TIME_COLUMNS, TIMES
from knouds_harness.reporting.load.headline import nothing_measured
from knouds_harness.reporting.load.report import load_report
from knouds_harness.reporting.markdown import markdown
from knouds_harness.reporting.openmetrics import openmetrics
from knouds_harness.reporting.summary import summary
from knouds_harness.reporting.terminal import print_report
from knouds_harness.runs.findings import LESS_VERIFIED, Finding
from knouds_harness.runs.load_results import LoadResults
from knouds_harness.runs.record import RunRecord, read_run, write_stored

_MOST_ANNOTATIONS: Final = 10
"""GitHub shows no more annotations of one kind for a step."""
_LONGEST_LABEL: Final = 255
"""Of a link that GitLab shows."""


class Annotation(NamedTuple):
    """A line about a run that a CI system shows: ``error``, ``warning`` or ``notice``."""

    level: str
    title: str
    says: str


def render_and_print(folder: Path, *, console: Console, only_new: bool = False) -> None:
    """Render every report of a run, and print the one for a terminal, which fits one screen.

    All are made from its record alone; this can be repeated at any time. With ``only_new``, print only what
    fails the run, and what its baseline did not have.

    Raises:
        RunRecordError: The folder holds no readable record, or cannot be written to.
    """
    record = read_run(folder)
    gaps: list[str] = []
    change = read_change(record, gaps)
    record, load = replace(record, gaps=(*record.gaps, *gaps)), record.load
    report = load_report(record, load) if load else check_report(record, change)
    page = _write(record, "report.html", html(report))
    text = _write(record, "report.md", markdown(report))
    _write(record, "junit.xml", load_junit(record, load) if load else junit(record, change))
    _write(record, "summary.json", summary(record, change))
    _write(record, "metrics.txt", openmetrics(record))
    if load:
        _write(record, "operations.csv", operations_csv(load))
    else:
        _write(record, "facts.csv", facts_csv(record))
    shown = check_report(record, change, only_new=True) if only_new else report
    print_report(shown, page, console=console)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for each in annotations_of(record, change):
            console.print(workflow_command(each), markup=False, highlight=False, soft_wrap=True)
        add_to_step_summary(text, os.environ)
    elif link := gitlab_link(page, os.environ):
        console.print(f"  after the job: {link}", markup=False, highlight=False, soft_wrap=True)
        _write(record, "annotations.json", gitlab_annotations(record, change, link))


def _write(record: RunRecord, name: str, text: str) -> Path:
    path = record.folder / name
    write_stored(path, text.encode(errors="backslashreplace"))
    return path


def facts_csv(record: RunRecord) -> str:
    rows = []
    for each in fact_rows(record):
        findings = sum(len(case.findings) for case in each.cases)
        rows.append((each.fact.id, each.fact.source, each.status, findings, each.fact.says))
    return _csv(("fact", "source", "status", "findings", "says"), rows)


def operations_csv(load: LoadResults) -> str:
    columns = OPERATION_COLUMNS
    times = [(kind, column) for kind in TIMES for column in TIME_COLUMNS]
    names = [*(column.key for column in columns), *(f"{kind}_{column.key}" for kind, column in times)]
    rows = [
        (
            each.operation,
            *(column.figure(each) for column in columns),
            *(column.figure(getattr(each, kind)) for kind, column in times),
        )
        for each in load.operations
    ]
    return _csv(("operation", *names), rows)


def _csv(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def annotations_of(record: RunRecord, change: CheckComparison | None = None) -> Iterator[Annotation]:
    """Yield what fails the run, what only its baseline verified, what is new, and waivers that end soon."""
    yield from list(_notices(record, change))[:_MOST_ANNOTATIONS]
    if change and change.lost:
        lost = change.lost_with_reasons
        yield Annotation("error", f"{LESS_VERIFIED} {change.against}", lost_words(len(lost)))
        for says in lost[:_MOST_ANNOTATIONS]:
            yield Annotation("warning", f"verified in {change.against}, not tested now", says)
    if results := record.load:
        failed = nothing_measured(results)
        lines = [failed] if failed else []
        lines += [("objective missed", describe(each)) for each in results.objectives if not each.is_met]
        lines += [("validity", reason) for reason in results.validity.reasons]
    else:
        failing = [group for group in findings_by_fact(record) if record.fails(group.findings[0])]
        lines = [("target contradicts the profile", each.difference) for each in contradictions_of(record)]
        lines += [(group.name, _difference(group.findings[0])) for group in failing]
    for title, says in lines[:_MOST_ANNOTATIONS]:
        yield Annotation("error", title, says)


def _notices(record: RunRecord, change: CheckComparison | None) -> Iterator[Annotation]:
    for row in waiver_rows(record):
        if row.ends_soon:
            yield Annotation("notice", f"waiver ends on {row.waiver.expires}", str(row.waiver))
    if change:
        for finding in change.new:
            title = f"new against {change.against}, fails nothing"
            yield Annotation("notice", title, f"{finding.fact}: {_difference(finding)}")
        for drift in drift_of(record):
            if change.known.isdisjoint(each.fingerprint for each in drift.findings):
                says = f"{drift.where}: {drift.observed}, on {drift.seen_on}".removeprefix(": ")
                yield Annotation("notice", f"new against {change.against}, breaks nothing", says)


def add_to_step_summary(markdown: Path, environ: Mapping[str, str]) -> None:
    """Append ``report.md`` to the job's summary page, if there is one, with a link to run and artifacts."""
    page = environ.get("GITHUB_STEP_SUMMARY")
    if page:
        parts = [environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
        run = "{}/{}/actions/runs/{}".format(*parts)
        kept = f"[Run and artifacts]({run}#artifacts): `report.html` is in `{markdown.parent.name}`.\n"
        text = markdown.read_bytes() + (f"\n{kept}".encode() if all(parts) else b"")
        append_to_file(Path(page).parent, Path(page).name, text)


def gitlab_link(page: Path, environ: Mapping[str, str]) -> str:
    """Return where GitLab keeps a page as an artifact of the current job; empty elsewhere."""
    job, project = environ.get("CI_JOB_URL"), environ.get("CI_PROJECT_DIR")
    if not job or not project or not page.resolve().is_relative_to(Path(project).resolve()):
        return ""
    return f"{job}/artifacts/file/{quote(page.resolve().relative_to(Path(project).resolve()).as_posix())}"


def _difference(finding: Finding) -> str:
    return f"{finding.who}: {finding.difference}"


def gitlab_annotations(record: RunRecord, change: CheckComparison | None, link: str) -> str:
    """Return GitLab's report ``annotations``, which the page of a job shows as links to the run's report.

    GitLab takes a name once in a job, which may have several runs.
    """
    links: dict[str, list[object]] = {record.folder.name: [_link("report.html", link)]}
    for each in annotations_of(record, change):
        label = printable(f"{each.title}: {each.says}", keep="")
        links.setdefault(f"{record.folder.name}: {each.level}", []).append(_link(label, link))
    return json.dumps(links, indent=1)


def _link(label: str, url: str) -> object:
    shown = label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"
    return {"external_link": {"label": shown, "url": url}}


def workflow_command(annotation: Annotation) -> str:
    """Return an annotation as GitHub reads it from the output of a step."""
    title, says = (
        printable(text).replace("%", "%25").replace("\n", "%0A")
        for text in (annotation.title, annotation.says)
    )
    title = title.replace(":", "%3A").replace(",", "%2C")
    return f"::{annotation.level} title={title}::{says}"
