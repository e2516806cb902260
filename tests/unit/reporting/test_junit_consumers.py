"""``junit.xml`` as those read it who show it: Jenkins by its schema, GitLab by its documentation, an action.

Jenkins's schema is not ours: ``nox -s tests`` fetches it and names it in ``JUNIT_SCHEMA``.
"""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import junitparser
import pytest
import xmlschema
from load_records import load_run, missed
from loaded_runs import calm, loaded, unmeasured
from run_records import broken, empty, healthy, interrupted

from knouds_harness.reporting.render import render_all

every_run = pytest.mark.parametrize(
    "write", [healthy, broken, interrupted, empty, calm, loaded, unmeasured], ids=lambda write: write.__name__
)
_GITLAB_MOST_BYTES = 30 * 10**6


@pytest.fixture(scope="module")
def schema():
    """What Jenkins's xUnit plugin holds files against before it shows them."""
    path = os.environ.get("JUNIT_SCHEMA")
    if not path:
        pytest.skip("JUNIT_SCHEMA names no schema: nox -s tests fetches Jenkins's")
    return xmlschema.XMLSchema(path)


def junit_of(write, root: Path) -> Path:
    return render_all(write(root)).junit


def parsed(path: Path) -> ET.Element:
    return ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - our own file


@every_run
def test_jenkins_accepts_the_file(tmp_path, schema, write):
    """The xUnit plugin fails the build for one that its schema refuses."""
    found = [f"{each.path}: {each.reason}" for each in schema.iter_errors(str(junit_of(write, tmp_path)))]

    assert found == []


def test_schema_refuses_what_jenkins_does_not_know(tmp_path, schema):
    """So that the test above can fail."""
    path = junit_of(healthy, tmp_path)
    path.write_text(path.read_text().replace("<testsuites ", '<testsuites skipped="20" '))

    assert not schema.is_valid(str(path))


@every_run
def test_parser_of_actions_counts_as_we_do(tmp_path, write):
    """Actions for GitHub read such files with junitparser."""
    path = junit_of(write, tmp_path)
    told = parsed(path)

    read = junitparser.JUnitXml.fromfile(str(path))
    cases = [case for suite in read for case in suite]

    results = Counter(type(each).__name__ for case in cases for each in case.result)
    assert len(cases) == int(told.attrib["tests"]) == read.tests
    assert results["Failure"] == int(told.attrib["failures"])
    assert results["Error"] == int(told.attrib["errors"])
    assert results["Skipped"] == sum(suite.skipped for suite in read)


@every_run
def test_gitlab_can_tell_cases_apart(tmp_path, write):
    """Of cases with the same class and name it shows the first alone (docs, unit test reports)."""
    cases = parsed(junit_of(write, tmp_path)).iter("testcase")

    times = Counter((case.attrib["classname"], case.attrib["name"]) for case in cases)
    assert [each for each, count in times.items() if count > 1] == []


def test_measure_with_two_bounds_is_one_case(tmp_path):
    """That of --abort-on was missed, that of the scenario met: GitLab would show the first alone."""
    met = replace(missed(bound=20.0), is_met=True)
    run = load_run(tmp_path, {"whoami": [[1.0]]}, outcome="broken", objectives=(met, missed(bound=5.0)))

    cases = [
        case
        for case in parsed(render_all(run).junit).iter("testcase")
        if "objective" in case.attrib["classname"]
    ]

    assert [case.find("failure") is not None for case in cases] == [True]


@every_run
def test_every_reader_finds_the_reason(tmp_path, write):
    """GitLab shows what failure, error and skipped contain, Jenkins the message of what was skipped."""
    path = junit_of(write, tmp_path)

    reasons = [each for case in parsed(path).iter("testcase") for each in case]
    assert all((each.text or "").strip() and each.attrib["message"] for each in reasons)
    assert path.stat().st_size < _GITLAB_MOST_BYTES
