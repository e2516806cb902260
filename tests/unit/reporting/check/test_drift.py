"""Drift in every report: once, however many operations show it."""

import json
from dataclasses import replace

import pytest
from rendering import printed, render_all
from run_records import DOCUMENT, exchange, finding, healthy, start

from knouds_harness.reporting.check.fact_status import drift_of
from knouds_harness.reporting.check.report import check_report
from knouds_harness.reporting.html import html
from knouds_harness.reporting.junit import junit
from knouds_harness.reporting.markdown import markdown
from knouds_harness.runs.findings import Verdict
from knouds_harness.runs.record import read_run

LEGAL = "ground.additive-change-is-legal"


def new(number, operation, where, observed="a member (object)", check="drift.member"):
    shown = exchange(number, operation, body={"added": {"since": 4}}, headers=(("x-request-id", "r-1"),))
    found = finding(
        shown, LEGAL, check=check, where=where, observed=observed, verdict=Verdict.ADDITIVE, count=3
    )
    return shown, found


@pytest.fixture
def record(tmp_path):
    """A run that found a header on every operation, a member on two, and a new delivery."""
    news = [
        new(number, operation, "header x-request-id", "a header", "drift.header")
        for number, operation in enumerate(DOCUMENT.operations, start=1)
    ]
    news += [new(90, "getWhoami", "/added"), new(91, "getHealth", "/added")]
    shown, found = new(92, "getHealth", "delivery /added")
    news.append((shown, replace(found, operation=None)))
    with start(tmp_path) as writer:
        for shown, found in news:
            writer.add_exchange(shown)
            writer.add_finding(found)
        writer.add_result(
            check="schemas.body",
            fact="health.shape",
            operation="getHealth",
            passed=True,
            exchange_id="x00001",
        )
        writer.finish("kept", 0)
    return read_run(writer.folder)


def test_same_drift_on_several_operations_is_one_entry(record):
    """What a client meets first comes first: a code, then a member, then all else."""
    drift = drift_of(record)

    assert [(each.where, len(each.findings), each.count) for each in drift] == [
        ("/added", 2, 6),
        ("header x-request-id", 17, 51),
        ("delivery /added", 1, 3),
    ]
    assert [each.seen_on for each in drift] == ["getWhoami, getHealth", "17 operations", "webhook deliveries"]


def test_html_lists_it_once_with_evidence_and_every_operation(record):
    page = html(check_report(record))

    section = page[page.index('<section aria-labelledby="drift">') :]
    section = section[: section.index("</section>")]
    assert section.count("<article") == 3
    assert "on 17 operations" in section
    assert all(f">{operation.id}</b>" in section for operation in DOCUMENT.operations)
    assert "<mark>x-request-id: r-1</mark>" in section


def test_text_lists_it_once(record):
    text, lines = markdown(check_report(record)), printed(check_report(record)).splitlines()

    assert "### Undocumented (3), which breaks nothing" in text
    assert "- `header x-request-id`: `a header`, on 17 operations" in text
    assert [line for line in lines if "breaks nothing" in line] == [
        "  undocumented, breaks nothing: /added: a member (object), on getWhoami, getHealth",
        "  undocumented, breaks nothing: header x-request-id: a header, on 17 operations",
        "  undocumented, breaks nothing: delivery /added: a member (object), on webhook deliveries",
    ]


def test_summary_has_each_drift_and_each_finding(record):
    contents = json.loads(render_all(record.folder).summary.read_text(encoding="utf-8"))

    assert contents["drift"][0]["operations"] == ["getWhoami", "getHealth"]
    assert [each["fails_run"] for each in contents["findings"]] == [False] * 20


def test_drift_fails_no_case_and_changes_no_verdict(record):
    assert 'failures="0"' in junit(record).splitlines()[1]
    assert "No breach found" in markdown(check_report(record)).splitlines()[0]


def test_run_without_drift_does_not_mention_it(record_of):
    report = check_report(record_of(healthy))

    assert "undocumented" not in markdown(report)
    assert 'id="drift"' not in html(report)
