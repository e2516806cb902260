"""``junit.xml`` as CI systems read it."""

from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import broken, empty, healthy, interrupted

from knouds_harness.reporting.junit import junit
from knouds_harness.runs.record import read_run


def parsed(folder):
    return ET.fromstring(junit(read_run(folder)))  # noqa: S314 - our own


def outcomes(root):
    return Counter(
        next((child.tag for child in case if child.tag != "properties"), "passed")
        for case in root.iter("testcase")
    )


@pytest.mark.parametrize("write", [healthy, broken, interrupted, empty])
def test_counts_are_those_of_the_cases(tmp_path, write):
    """The attributes of the root and of each suite add up."""
    root = parsed(write(tmp_path))

    for element in (root, *root.iter("testsuite")):
        shown = outcomes(element)
        assert int(element.get("tests")) == shown.total()
        assert int(element.get("failures")) == shown["failure"]
        assert int(element.get("errors")) == shown["error"]
        assert int(element.get("skipped", shown["skipped"])) == shown["skipped"]  # the root has none


def test_only_what_fails_the_run_is_a_failure(tmp_path):
    """Breach and conflict fail; assumed, waived and untested are skipped with the reason."""
    root = parsed(broken(tmp_path))

    failed = {case.get("classname") for case in root.iter("testcase") if case.find("failure") is not None}
    assert failed == {
        "capability.orthogonal",
        "run.cost-is-credits",
        "rate.headers-are-integers",
        "envelope.unknown-workflow-404-has-code",
    }
    reasons = {
        case.get("classname"): skipped.get("message")
        for case in root.iter("testcase")
        for skipped in case.iter("skipped")
    }
    assert reasons["health.shape"] == "an assumption does not hold, which fails no run"
    assert reasons["envelope.plain-401-has-code"].startswith("waived: The server follows")
    assert reasons["webhook.payload-shape"] == "not tested: needs a webhook receiver"


def test_strict_run_fails_on_assumptions(tmp_path):
    """``--strict`` shows in CI too."""
    record = read_run(broken(tmp_path))
    root = ET.fromstring(junit(replace(record, setup=replace(record.setup, strict=True))))  # noqa: S314

    messages = [
        failure.get("message")
        for case in root.iter("testcase")
        if case.get("classname") == "health.shape"
        for failure in case.iter("failure")
    ]
    assert messages == ["expected an object, observed an array"]


@pytest.mark.parametrize(("write", "errors"), [(healthy, 0), (broken, 0), (interrupted, 1), (empty, 1)])
def test_run_without_an_end_is_in_error(tmp_path, write, errors):
    """An interrupted or stopped run never shows green."""
    assert outcomes(parsed(write(tmp_path)))["error"] == errors


def test_each_case_is_one_fact_on_one_operation(tmp_path):
    """No two cases share their name, so that CI can follow each from run to run."""
    root = parsed(broken(tmp_path))

    names = Counter((case.get("classname"), case.get("name")) for case in root.iter("testcase"))
    assert max(names.values()) == 1


@pytest.fixture(scope="module")
def broken_record(tmp_path_factory):
    return read_run(broken(tmp_path_factory.mktemp("runs")))


@given(words=st.text())
def test_any_words_of_a_server_make_xml(broken_record, words):
    """Control characters, lone surrogates and markup do not break the file."""
    findings = [
        replace(each, observed=words, expected=words, curl=words, where=words)
        for each in broken_record.findings
    ]

    ET.fromstring(junit(replace(broken_record, findings=tuple(findings), note=words)))  # noqa: S314
