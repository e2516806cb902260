"""``junit.xml`` as CI systems read it: Jenkins, GitLab, and a GitHub action.

Jenkins's schema is not ours: ``nox -s tests`` fetches it.
"""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import junitparser
import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st
from load_records import load_run, missed
from loaded_runs import calm, loaded, unmeasured
from rendering import render_all
from run_records import broken, empty, healthy, interrupted

from knouds_harness.reporting.junit import junit


def read(path: Path) -> ET.Element:
    return ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - our own file


def outcomes(root):
    return Counter(
        next((child.tag for child in case if child.tag != "properties"), "passed")
        for case in root.iter("testcase")
    )


def test_only_findings_that_fail_the_run_are_failures(rendered):
    """Breach and conflict fail; assumptions, waived and untested facts are skipped with a reason."""
    root = read(rendered(broken).junit)

    failed = {case.get("classname") for case in root.iter("testcase") if case.find("failure") is not None}
    assert failed == {
        "capability.orthogonal",
        "run.cost-is-credits",
        "rate.headers-are-integers",
        "envelope.unknown-workflow-404-has-code",
    }
    reasons = {
        case.attrib["classname"]: skipped.attrib["message"]
        for case in root.iter("testcase")
        for skipped in case.iter("skipped")
    }
    assert reasons["health.shape"] == "an assumption does not hold, which fails no run"
    assert reasons["envelope.plain-401-has-code"].startswith("waived: The server follows")
    assert reasons["webhook.payload-shape"] == "not tested: needs a webhook receiver"


def test_strict_run_fails_on_assumptions(record_of):
    record = record_of(broken)
    root = ET.fromstring(junit(replace(record, setup=replace(record.setup, strict=True))))  # noqa: S314

    messages = [
        failure.get("message")
        for case in root.iter("testcase")
        if case.get("classname") == "health.shape"
        for failure in case.iter("failure")
    ]
    assert messages == ["expected an object, observed an array"]


@pytest.mark.parametrize(("write", "errors"), [(healthy, 0), (broken, 0), (interrupted, 1), (empty, 1)])
def test_unfinished_run_has_an_error(rendered, write, errors):
    assert outcomes(read(rendered(write).junit))["error"] == errors


@given(words=st.text())
def test_any_text_of_a_server_gives_valid_xml(record_of, words):
    record = record_of(broken)
    findings = [
        replace(each, observed=words, expected=words, curl=words, where=words) for each in record.findings
    ]

    ET.fromstring(junit(replace(record, findings=tuple(findings), note=words)))  # noqa: S314


every_run = pytest.mark.parametrize(
    "write", [healthy, broken, interrupted, empty, calm, loaded, unmeasured], ids=lambda write: write.__name__
)
_GITLAB_MOST_BYTES = 30 * 10**6


@pytest.fixture(scope="module")
def schema():
    path = os.environ.get("JUNIT_SCHEMA")
    if not path:
        pytest.skip("JUNIT_SCHEMA names no schema: nox -s tests fetches Jenkins's")
    return xmlschema.XMLSchema(path)


@every_run
def test_file_matches_the_schema_of_jenkins(rendered, schema, write):
    """The xUnit plugin fails builds whose file does not."""
    found = [f"{each.path}: {each.reason}" for each in schema.iter_errors(str(rendered(write).junit))]

    assert found == []


@every_run
def test_counts_agree_with_the_cases(rendered, write):
    """As we count and as junitparser does; of cases with one name GitLab would show only the first."""
    path = rendered(write).junit
    root, theirs = read(path), junitparser.JUnitXml.fromfile(str(path))

    for element in (root, *root.iter("testsuite")):
        shown = outcomes(element)
        assert int(element.attrib["tests"]) == shown.total()
        assert int(element.attrib["failures"]) == shown["failure"]
        assert int(element.attrib["errors"]) == shown["error"]
        assert int(element.attrib.get("skipped", shown["skipped"])) == shown["skipped"]  # the root lacks it
    cases = [case for suite in theirs for case in suite]
    results = Counter(type(each).__name__.lower() for case in cases for each in case.result)
    assert (len(cases), results) == (theirs.tests, outcomes(root) - Counter(passed=len(cases)))
    assert len({(case.classname, case.name) for case in cases}) == len(cases)
    assert path.stat().st_size < _GITLAB_MOST_BYTES


def test_measure_with_two_bounds_is_one_case(tmp_path):
    """The bound of --abort-on was missed, that of the scenario met; GitLab would show only one."""
    met = replace(missed(bound=20.0), is_met=True)
    run = load_run(tmp_path, {"whoami": [[1.0]]}, outcome="broken", objectives=(met, missed(bound=5.0)))

    cases = read(render_all(run).junit).iter("testcase")

    objectives = [case for case in cases if "objective" in case.attrib["classname"]]
    assert [case.find("failure") is not None for case in objectives] == [True]


@every_run
def test_every_reader_shows_the_reason(rendered, write):
    """GitLab shows the text of failure, error and skipped, Jenkins the message of skipped."""
    reasons = [each for case in read(rendered(write).junit).iter("testcase") for each in case]

    assert all((each.text or "").strip() and each.attrib["message"] for each in reasons)
