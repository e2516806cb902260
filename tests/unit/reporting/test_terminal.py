"""Terminal output at the end of a run."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console
from run_records import broken, empty, healthy, interrupted

from knouds_harness.reporting.check.report import check_report
from knouds_harness.reporting.render import render_and_print
from knouds_harness.reporting.terminal import print_report
from knouds_harness.runs.record import read_run


def printed(folder, change=lambda record: record, **options):
    out = io.StringIO()
    report = check_report(change(read_run(folder)))
    print_report(report, folder / "report.html", console=Console(file=out, **options))
    return out.getvalue()


@pytest.mark.parametrize("write", [healthy, broken, interrupted, empty])
def test_summary_fits_on_one_screen(tmp_path, write):
    """24 lines of 80 characters; the last one names the report."""
    folder = write(tmp_path)

    lines = printed(folder, width=80, force_terminal=True, color_system=None).rstrip().splitlines()

    assert len(lines) < 24
    assert all(len(line) <= 80 for line in lines[:-1])
    assert lines[-1] == f"  report {folder / 'report.html'}"


def test_many_findings_fit_on_one_screen(tmp_path):
    def change(record):
        facts = list(record.setup.facts)
        return replace(record, findings=tuple(replace(record.findings[0], fact=fact) for fact in facts))

    text = printed(broken(tmp_path), change, width=80)

    assert len(text.splitlines()) < 24
    assert "… and 183 more facts in report.html" in text


def test_finding_of_several_requests_refers_to_its_script(tmp_path):
    def change(record):
        one = replace(record.findings[0], steps=("x00001", "x00002"), script="curl")
        return replace(record, findings=(one,))

    assert "after 2 requests: a script in the report" in printed(broken(tmp_path), change)


def test_only_failures_are_printed_on_request(tmp_path):
    """Neither assumptions nor untested facts; the verdict and the path of the report are kept."""
    folder, out = broken(tmp_path), io.StringIO()
    record = read_run(folder)

    render_and_print(folder, console=Console(file=out, width=200), only_failures=True)

    text = out.getvalue()
    shown = [each for each in record.findings if f"  {each.fact} " in text]
    assert shown
    assert all(record.fails(each) for each in shown)
    assert "not tested: need" not in text
    assert "Contract broken" in text
    assert "report.html" in text


def test_no_color_means_no_escapes(tmp_path, monkeypatch):
    folder = broken(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")

    assert "\x1b[3" not in printed(folder, force_terminal=True)
    assert "\x1b" not in printed(folder)


def test_piped_lines_are_not_cut(tmp_path):
    text = printed(broken(tmp_path), width=40)

    assert "expected 403 CAPABILITY_DENIED: holds workflow:run, observed 404 NOT_FOUND" in text
    assert re.search(r"^Contract broken  \d+ of \d+ facts verified, .* not tested\.$", text, re.MULTILINE)
