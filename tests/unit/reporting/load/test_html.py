"""``report.html`` of a load run: the data of its charts, and its safety."""

import json
import re
from dataclasses import replace

import pytest
from load_records import load_results
from loaded_runs import calm, loaded
from rendering import Page

from knouds_harness.reporting.html import html
from knouds_harness.reporting.load.charts import charts_of
from knouds_harness.reporting.load.report import load_report
from knouds_harness.runs.operation_load import ALL_OPERATIONS, SecondRow


@pytest.fixture(scope="module")
def page_of(record_of):
    def page(write):
        record = record_of(write)
        return html(load_report(record, record.load))

    return page


def second(at_s, name="whoami", *, ok=1, throttled=0, p99_ms=9.0, spread="80:1"):
    return SecondRow(
        at_s=at_s,
        operation=name,
        by_status={"ok": ok, "throttled": throttled},
        p50_ms=p99_ms / 3,
        p99_ms=p99_ms,
        max_ms=p99_ms,
        spread=spread,
    )


def test_data_for_the_script_is_json(page_of):
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page_of(loaded))

    assert found is not None
    assert json.loads(found[1])["warmUp"] == 5.0


def test_seconds_without_a_response_are_gaps():
    charts = charts_of(load_results(), [second(0), second(2)])

    assert charts["times"]["whoami"]["p99_ms"] == [9.0, None, 9.0]
    assert charts["by_status"]["ok"] == [1, 0, 1]


def test_times_of_all_operations_come_first():
    of_all = second(0, ALL_OPERATIONS, spread="")

    charts = charts_of(load_results(), [second(0), of_all])

    assert list(charts["times"]) == [ALL_OPERATIONS, "whoami"]
    assert charts["by_status"]["ok"] == [1]
    assert list(charts["heat"]["columns"]) == ["whoami"]


def test_older_record_offers_the_times_of_each_operation(record_of, page_of):
    record = record_of(calm)

    old = html(load_report(replace(record, seconds=(second(0),)), record.load))

    assert '<select id="pick-times"><option>all operations</option><option value="">' in page_of(loaded)
    assert '<select id="pick-times"><option value="">99th percentile of each</option>' in old


def test_kept_invariants_are_folded_up(page_of):
    """Dozens of them would hide broken ones, and fill a phone's screen."""
    contract = page_of(loaded).partition('id="invariants"')[2].partition("</section>")[0]
    shown, folded = re.split(r"<summary>1 kept</summary>", contract)

    assert "run.cost-is-credits" in shown
    assert "rate.body-has-retry-after" in shown
    assert "async.execution-id-is-uuid" in folded


def test_percentiles_of_all_operations_head_the_table(page_of):
    """But not if there is only one, whose row would be the same."""
    rows = [row[:2] for row in Page(page_of(loaded)).rows]

    assert rows.index([ALL_OPERATIONS, "response"]) < rows.index(["getWhoami", "response"])
    assert [ALL_OPERATIONS, "response"] not in [row[:2] for row in Page(page_of(calm)).rows]


def test_long_run_has_fewer_points_and_keeps_its_peaks():
    """Two hours: a point is two seconds, with the higher percentile and the rate of both."""
    rows = [second(at_s, p99_ms=100.0 if at_s == 7001 else 9.0) for at_s in range(7200)]

    charts = charts_of(load_results(), rows)

    assert (charts["step"], len(charts["seconds"])) == (2, 3600)
    assert charts["times"]["whoami"]["p99_ms"][3500] == 100.0
    assert set(charts["by_status"]["ok"]) == {1.0}


def test_heat_map_has_every_request_in_few_columns():
    charts = charts_of(load_results(), [second(at_s, spread="80:3 83:2") for at_s in range(1000)])

    columns = charts["heat"]["columns"]["whoami"]
    assert len(columns) <= 180
    assert sum(sum(column[1:]) for column in columns) == 5 * 1000
    assert columns[0][0] == 80


def test_record_without_spreads_has_no_heat_map():
    charts = charts_of(load_results(), [second(0, spread="")])

    assert charts["heat"] is None
    assert charts["times"]["whoami"]["p99_ms"] == [9.0]
