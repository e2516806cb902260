"""Rendering a folder, and the summary for programs."""

import errno
import json
import os
from pathlib import Path

import pytest
from run_records import broken, empty, healthy, interrupted

from knouds_harness.errors import RunRecordError
from knouds_harness.reporting.render import render_all


@pytest.mark.parametrize("write", [healthy, broken, interrupted, empty])
def test_all_reports_are_written_beside_the_record(tmp_path, write):
    """However the run ended."""
    folder = write(tmp_path)

    paths = render_all(folder)

    assert [path.name for path in (paths.html, paths.markdown, paths.junit, paths.summary)] == [
        "report.html",
        "report.md",
        "junit.xml",
        "summary.json",
    ]
    assert all(path.parent == folder and path.stat().st_size for path in vars(paths).values())


def test_rendering_again_gives_the_same(tmp_path):
    """A report depends on the record alone."""
    folder = broken(tmp_path)
    first = [path.read_bytes() for path in vars(render_all(folder)).values()]

    assert [path.read_bytes() for path in vars(render_all(folder)).values()] == first


def test_folder_that_was_moved_renders_the_same(tmp_path):
    """Later, and elsewhere: nothing but the name of the folder may show where it is."""
    folder = broken(tmp_path / "a")
    first = render_all(folder).html.read_bytes()
    (tmp_path / "b").mkdir()

    assert render_all(folder.rename(tmp_path / "b" / folder.name)).html.read_bytes() == first


def test_full_disk_is_said(tmp_path, monkeypatch):
    """The record is whole; only the report has to be made again."""
    folder = healthy(tmp_path)

    def refuse(*args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", refuse)

    with pytest.raises(RunRecordError, match=r"report\.html: cannot be written: No space left on device\n"):
        render_all(folder)


def test_no_folder_is_one_clear_message(tmp_path):
    """The same words as everywhere."""
    with pytest.raises(RunRecordError, match="no such run folder"):
        render_all(tmp_path / "nowhere")


def test_summary_has_every_fact_and_finding(tmp_path):
    """Programs need nothing else to gate on a run."""
    summary = json.loads(render_all(broken(tmp_path)).summary.read_text(encoding="utf-8"))

    assert (summary["format"], summary["format_version"]) == ("knouds-harness summary", 1)
    assert (summary["outcome"], summary["exit_code"]) == ("broken", 1)
    assert summary["counts"]["facts"]["breach"] == 3
    assert summary["facts"]["health.shape"] == "assumption"
    assert sum(finding["fails_run"] for finding in summary["findings"]) == 5
    assert [waiver["state"] for waiver in summary["waivers"]] == ["used", "expired"]
    assert summary["untested"] == {
        "a webhook receiver": [fact for fact in summary["facts"] if fact.startswith("webhook.")]
    }
