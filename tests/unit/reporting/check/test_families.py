"""How the tests of a run fared, and what was spent on each fact."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from run_records import healthy

from knouds_harness.reporting.check.families import duration_s_by_place, family_rows
from knouds_harness.reporting.junit import junit
from knouds_harness.runs.record import read_run
from knouds_harness.runs.results import CheckTests, Result


def result(fact, operation=None, check="workflows.list"):
    return Result(
        check=check,
        fact=fact,
        operation=operation,
        passed=1,
        failed=0,
        passed_exchange=None,
        failed_exchange=None,
    )


@pytest.fixture
def record(tmp_path):
    tests = (
        CheckTests(check="workflows.list", operation=None, passed=2, failed=1, duration_s=3.0),
        CheckTests(check="workflows.read", operation="getWorkflow", skipped=4),
        CheckTests(check="usage.page", operation=None, passed=1, duration_s=0.5),
    )
    results = (
        result("workflows.list-is-array", "listWorkflows"),
        result("workflows.summary-fields", "listWorkflows"),
        result("usage.page-shape", "listUsage", "usage.page"),
    )
    return replace(read_run(healthy(tmp_path)), tests=tests, results=results, untested=())


def test_families_tell_passed_failed_and_skipped_apart(record):
    rows = {row.family: (row.passed, row.failed, row.skipped, row.duration_s) for row in family_rows(record)}

    assert rows == {"workflows": (2, 1, 4, 3.0), "usage": (1, 0, 0, 0.5)}


def test_time_of_a_test_is_shared_by_what_its_check_claimed(record):
    spent_s = duration_s_by_place(record)

    assert spent_s["workflows.list-is-array", "listWorkflows"] == 1.5
    assert sum(spent_s.values()) == 3.5


def test_junit_has_these_times(record):
    suites = {suite.get("name"): suite for suite in ET.fromstring(junit(record))}  # noqa: S314 - our own

    assert suites["usage"].get("time") == "0.500"
    assert next(iter(suites["usage"])).get("time") == "0.500"
