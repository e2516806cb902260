"""Rendering a run folder, and its files for programs: ``summary.json``, OpenMetrics, CSV, annotations."""

import csv
import errno
import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import jsonschema_rs
import pytest
from rendering import render_all, samples
from rich.console import Console
from run_records import broken, empty, healthy, interrupted

from knouds_harness.errors import RunRecordError
from knouds_harness.reporting import render
from knouds_harness.reporting.render import annotations_of, render_and_print, workflow_command
from knouds_harness.runs.record import read_run


def test_moved_folder_renders_the_same_again(tmp_path):
    """Every report stands beside the record."""
    folder = broken(tmp_path / "a")
    first = {path.name: path.read_bytes() for path in vars(render_all(folder)).values()}
    (tmp_path / "b").mkdir()

    paths = vars(render_all(folder.rename(tmp_path / "b" / folder.name))).values()

    assert {path.name: path.read_bytes() for path in paths} == first
    assert {path.parent for path in paths} == {tmp_path / "b" / folder.name}


def test_full_disk_is_an_error(tmp_path, monkeypatch):
    folder = healthy(tmp_path)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "replace", Mock(side_effect=full))

    with pytest.raises(RunRecordError, match=r"report\.html: cannot be written: No space left on device\n"):
        render_all(folder)


def test_summary_has_every_fact_and_finding(rendered):
    summary = json.loads(rendered(broken).summary.read_text(encoding="utf-8"))

    assert (summary["format"], summary["format_version"]) == ("knouds-harness summary", 1)
    assert (summary["outcome"], summary["exit_code"]) == ("broken", 1)
    assert summary["counts"]["facts"]["breach"] == 3
    assert summary["facts"]["health.shape"] == "assumption"
    assert sum(finding["fails_run"] for finding in summary["findings"]) == 5
    assert [waiver["state"] for waiver in summary["waivers"]] == ["used", "expired"]
    assert summary["untested"] == {
        "a webhook receiver": [fact for fact in summary["facts"] if fact.startswith("webhook.")]
    }


DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(params=[healthy, broken, interrupted, empty], ids=lambda write: write.__name__)
def paths(request, rendered):
    return rendered(request.param)


def test_files_for_programs_agree(paths):
    found = samples(paths.metrics.read_text(encoding="utf-8"))
    rows = list(csv.DictReader(paths.table.read_text(encoding="utf-8").splitlines()))
    summary = json.loads(paths.summary.read_text(encoding="utf-8"))
    breaches = sum(finding["verdict"] == "breach" for finding in summary["findings"])

    assert found["exchanges_total",] == summary["counts"]["exchanges"]
    assert found["cost_credits",] == summary["counts"]["cost_credits"]
    assert found.get(("findings", "breach"), 0) == breaches
    assert {row["fact"]: row["status"] for row in rows} == summary["facts"]


@pytest.mark.parametrize("name", ["run", "summary"])
def test_file_matches_its_schema(paths, name):
    schema = json.loads((DOCS / f"{name}.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema_rs.Draft202012Validator(schema)
    stored = json.loads((paths.html.parent / f"{name}.json").read_text(encoding="utf-8"))

    assert [error.message for error in validator.iter_errors(stored)] == []
    assert not validator.is_valid({**stored, "format_version": 2})


@pytest.mark.parametrize("member", ["format", "outcome", "exit_code", "findings", "facts", "counts"])
def test_summary_schema_requires_what_gates_need(rendered, member):
    schema = json.loads((DOCS / "summary.schema.json").read_text(encoding="utf-8"))
    summary = json.loads(rendered(healthy).summary.read_text(encoding="utf-8"))

    del summary[member]

    assert not jsonschema_rs.is_valid(schema, summary)


def test_github_gets_annotations_and_the_report(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    for name, value in (("SERVER_URL", "https://github.com"), ("REPOSITORY", "o/r"), ("RUN_ID", "7")):
        monkeypatch.setenv(f"GITHUB_{name}", value)
    folder = broken(tmp_path)

    render_and_print(folder, console=Console(width=60))

    link = "[Run and artifacts](https://github.com/o/r/actions/runs/7#artifacts)"
    link += f": `report.html` is in `{folder.name}`."
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8") == f"before\n{report}\n{link}\n"
    commands = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert commands == [*map(workflow_command, annotations_of(read_run(folder)))]
    assert all(line.startswith("::error title=") for line in commands)


def test_gitlab_gets_a_link_to_the_report(tmp_path, monkeypatch, capsys):
    """For files below the project: only these are artifacts."""
    monkeypatch.setenv("CI_JOB_URL", "https://gitlab.com/g/p/-/jobs/7")
    folder = broken(tmp_path / "a project")

    for project in (tmp_path, tmp_path / "another"):
        monkeypatch.setenv("CI_PROJECT_DIR", str(project))
        render_and_print(folder, console=Console(width=60))

    place = f"a%20project/{folder.relative_to(tmp_path / 'a project').as_posix()}"
    text = capsys.readouterr().out
    assert text.count("after the job: ") == 1
    assert f"after the job: https://gitlab.com/g/p/-/jobs/7/artifacts/file/{place}/report.html" in text


def test_gitlab_gets_annotations(tmp_path, monkeypatch):
    """As links, the only kind that it knows, with labels of at most 255 characters."""
    monkeypatch.setenv("CI_JOB_URL", "https://gitlab.com/g/p/-/jobs/7")
    monkeypatch.setenv("CI_PROJECT_DIR", str(tmp_path))
    folder = broken(tmp_path)
    monkeypatch.setattr(render, "_difference", lambda _: "x" * 300)

    render_and_print(folder, console=Console(width=60))

    sections = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    assert list(sections) == [folder.name, f"{folder.name}: error"]
    links = [each["external_link"] for section in sections.values() for each in section]
    assert {each["url"] for each in links} == {render.gitlab_link(folder / "report.html", os.environ)}
    assert links[0]["label"] == "report.html"
    titles = [each.title for each in annotations_of(read_run(folder))]
    assert [each["label"] for each in links] == [
        "report.html",
        *(f"{each}: {'x' * 300}"[:254] + "…" for each in titles),
    ]


def test_waiver_that_ends_within_a_week_is_a_notice(record_of):
    record = record_of(broken)
    [used, _] = record.setup.target.waivers
    day = record.started_at.date()

    def noticed(days):
        waivers = (replace(used, expires=day + timedelta(days=days)),)
        target = replace(record.setup.target, waivers=waivers)
        shown = annotations_of(replace(record, setup=replace(record.setup, target=target)))
        return [each for each in shown if each[0] == "notice" and each.title.startswith("waiver ends on")]

    assert [len(noticed(days)) for days in (-1, 0, 6, 7)] == [0, 1, 1, 0]
