"""What reports say of the contract under load."""

import io
from xml.etree import ElementTree as ET

import pytest
from load_records import load_run, validity
from rich.console import Console

from knouds_harness.reporting.render import render_and_print
from knouds_harness.runs.load_results import Invariant

BROKEN = Invariant(
    fact="rate.over-limit-is-429", says="No more.", seen=3, broken=1, example="runWorkflow of pia: 101 of 100"
)
EXCUSED = Invariant(
    fact="run.model-ms", says="ms too.", seen=9, broken=0, excused=9, example="no such member"
)
KEPT = Invariant(fact="execution.edges", says="Forward.", seen=1234, broken=0)
UNTESTED = Invariant(
    fact="webhook.one-per-ended-execution",
    says="Once.",
    seen=0,
    broken=0,
    missing="a key with webhook = true",
)
ALL = (BROKEN, EXCUSED, KEPT, UNTESTED)


@pytest.fixture
def write(tmp_path):
    def make(*invariants, **changes):
        folder = load_run(tmp_path, {"runWorkflow": [[10.0, 12.0]]}, invariants=invariants, **changes)
        out = io.StringIO()
        render_and_print(folder, console=Console(file=out, width=200))
        return folder, out.getvalue()

    return make


def test_broken_promise_stands_first_with_fact_and_example(write):
    folder, screen = write(*ALL)

    assert screen.strip().startswith("Contract broken under load  rate.over-limit-is-429.")
    said = "rate.over-limit-is-429 was broken 1 of 3 times. No more. Such as runWorkflow of pia: 101 of 100"
    assert said in screen
    assert said in (folder / "report.md").read_text(encoding="utf-8")
    assert "Promises under load: 1 broken, 1 assumed or waived, 1 kept, 1 untested" in screen


def test_number_of_verified_answers_is_said(write):
    folder, screen = write(KEPT, answers=6163, verified_answers=312)

    assert "Verified: 312 of 6,163 answers." in screen
    assert "All checks judged 312 of 6,163 answers" in (folder / "report.html").read_text(encoding="utf-8")


def test_untested_promise_says_what_it_takes(write):
    folder, _ = write(*ALL)

    for report in ("report.md", "report.html", "junit.xml"):
        assert "a key with webhook = true" in (folder / report).read_text(encoding="utf-8")


def test_every_promise_is_a_test_case(write):
    """A broken one fails, one that is excused or untested is skipped, and a kept one passes."""
    folder, _ = write(*ALL)

    (suite,) = ET.parse(folder / "junit.xml").iterfind("testsuite[@name='invariants']")  # noqa: S314 - our own

    endings = {case.attrib["classname"]: [each.tag for each in case] for case in suite.iterfind("testcase")}
    assert {fact.rpartition("invariants.")[2]: ending for fact, ending in endings.items()} == {
        BROKEN.fact: ["failure"],
        EXCUSED.fact: ["skipped"],
        KEPT.fact: [],
        UNTESTED.fact: ["skipped"],
    }


def test_broken_promise_is_broken_however_late_the_generator_was(write):
    late = validity(is_valid=False, reasons=("One arrival in a hundred was sent 9.0 ms late or later",))

    _, screen = write(BROKEN, validity=late)

    assert screen.strip().startswith("Contract broken under load")
    assert "9.0 ms late" in screen


def test_excused_promise_breaks_nothing(write):
    _, screen = write(EXCUSED, KEPT)

    assert "Contract broken" not in screen
    assert "Promises under load: 1 assumed or waived, 1 kept. Verified: a sample of the answers." in screen
