"""Terminal output at the end of a run."""

import re
from dataclasses import replace
from datetime import date

import pytest
from rendering import printed
from run_records import broken, empty, healthy, interrupted

from knouds_harness.reporting.check.report import check_report
from knouds_harness.reporting.markdown import markdown
from knouds_harness.runs.record import read_run
from knouds_harness.runs.run_file import UsageShown
from knouds_harness.suite.nights import Nights


def printed_check(record, **options):
    return printed(check_report(record), **options)


@pytest.mark.parametrize("write", [healthy, broken, interrupted, empty])
def test_summary_fits_on_one_screen(record_of, write):
    """24 lines of 80 characters, with the path of the report."""
    lines = printed_check(record_of(write), is_terminal=True).rstrip().splitlines()

    assert len(lines) < 23
    assert all(len(line) <= 80 for line in lines)


def test_many_findings_fit_on_one_screen(record_of):
    """One of several requests refers to its script."""
    record = record_of(broken)
    one = replace(record.findings[0], steps=("x00001", "x00002"), script="curl")

    text = printed_check(
        replace(record, findings=tuple(replace(one, fact=fact) for fact in record.setup.facts))
    )

    assert len(text.splitlines()) < 24
    assert "… and 183 more facts in report.html" in text
    assert "    after 2 requests, expected " in text
    assert "\n  Scripts that send all of several requests again are in report.html.\n" in text


def test_only_what_is_new_without_a_baseline_is_what_fails(tmp_path):
    """Neither assumptions nor untested facts; the verdict and the path of the report are kept."""
    folder = broken(tmp_path)
    record = read_run(folder)

    text = printed(folder, width=200, only_new=True)

    shown = [each for each in record.findings if f"  {each.fact} " in text]
    assert shown
    assert all(record.fails(each) for each in shown)
    assert "not tested: need" not in text
    assert "Contract broken" in text
    assert text.endswith(f"  report {folder / 'report.html'}\n")


def test_breach_that_waits_for_more_nights_is_no_news_that_is_left_out(record_of):
    """A waiver of the profile is; that one only delays the alarm."""
    record = record_of(broken)
    (found,) = (each for each in record.findings if each.waived_by)
    [waiver] = Nights().waivers(2, {found.fact}, date(2026, 11, 25))

    texts = [
        printed(check_report(replace(record, findings=(replace(found, waived_by=reason),)), only_new=True))
        for reason in (found.waived_by, waiver.excuse)
    ]

    assert ["\n  waived " in each for each in texts] == [False, True]


def test_usage_that_is_not_settled_is_told_to_who_ran_it(record_of):
    """Not to readers of report.md: they have neither the run folder nor the command."""
    record = record_of(healthy)
    usage = UsageShown(credits=4.0, is_settled=False)
    report = check_report(replace(record, counts=replace(record.counts, usage=usage)))

    assert f"knouds-harness cleanup {record.folder} reads usage again" in printed(report)
    assert "cleanup" not in markdown(report)
    assert "usage shows 4 credits so far" in markdown(report)


def test_piped_lines_are_not_cut(record_of):
    text = printed_check(record_of(broken), width=40)

    assert "expected 403 CAPABILITY_DENIED: holds workflow:run, observed 404 NOT_FOUND" in text
    assert re.search(r"^Contract broken  \d+ of \d+ facts verified, .* not tested\.$", text, re.MULTILINE)
