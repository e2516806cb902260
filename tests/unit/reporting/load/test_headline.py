"""Texts about a load run: the result of a capacity search, steadiness, broken facts."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from load_records import load_results, load_run, validity
from rendering import printed

from knouds_harness.reporting.load.headline import describe_capacity, describe_point, describe_steadiness
from knouds_harness.runs.load_results import Capacity, CapacityPoint, Invariant

MISSED = CapacityPoint(
    asked_per_s=264.0,
    achieved_per_s=263.5,
    mean_ms=80.0,
    p50_ms=60.0,
    p95_ms=200.0,
    p99_ms=300.0,
    error_rate=0.0,
    is_kept=False,
    reason="whoami p99_ms 300, at most 250",
)
FOUND: dict[str, Any] = {
    "highest_per_s": 240.0,
    "kept_points": 3,
    "tried_points": 3,
    "kept_share_at_least": 0.368,
    "lowest_failing_per_s": 264.0,
    "knee_per_s": 160.0,
    "points": (MISSED,),
}


ENDED: dict[str, Any] = {"limit": "interrupted"}
NONE_FAILED = {"lowest_failing_per_s": None}
NONE_KEPT = {"highest_per_s": None}
BY_GENERATOR = {"is_generator_limit": True}
UP_TO = {"limit": "no rate above 240/s was to be tried"}
NOT_THE_TARGET = "At 264/s the generator was the limit, not the target"
WHOLE = "37 % of all such points do. 264/s did not: whoami p99_ms 300, at most 250. From 160/s on"


@pytest.mark.parametrize(
    ("changes", "tone", "title", "says"),
    [
        ({}, "good", "Capacity 240/s", WHOLE),
        (BY_GENERATOR, "warn", "Capacity at least 240/s", NOT_THE_TARGET),
        (NONE_FAILED | UP_TO, "good", "Capacity at least 240/s", "no rate above 240/s"),
        (NONE_FAILED | ENDED, "warn", "Capacity at least 240/s", "interrupted"),
        (ENDED, "warn", "Capacity 240/s", "ended early: interrupted."),
        (NONE_KEPT, "bad", "No rate met the objectives", "264/s did not"),
        (NONE_KEPT | BY_GENERATOR, "warn", "The generator was the limit", "Nothing is known of the target"),
        (NONE_KEPT | NONE_FAILED | ENDED, "warn", "Nothing was found", "The search ended early"),
    ],
)
def test_result_of_a_capacity_search_is_described(changes, tone, title, says):
    found_tone, found_title, detail = describe_capacity(Capacity(**{**FOUND, **changes}))

    assert (found_tone, found_title) == (tone, title)
    assert says in detail


def test_point_is_one_line():
    line = " ".join(describe_point(MISSED).split())

    times = "mean 80.0 ms, p50 60.0 ms, p95 200 ms, p99 300 ms"
    assert line == f"264/s missed {times} whoami p99_ms 300, at most 250"


@pytest.mark.parametrize(
    ("is_steady", "from_s", "says"),
    [
        (None, None, ""),
        (True, 0.0, "Steady from second 0 on."),
        (True, 2.0, "Steady from second 2 on."),
        (True, 5.0, "Steady from second 5 on. The figures begin at 2: --warm-up 5"),
        (False, None, "did not become steady"),
    ],
)
def test_steadiness_is_described(is_steady, from_s, says):
    """The first two seconds are left out of the run's figures."""
    said = describe_steadiness(load_results(is_steady=is_steady, steady_from_s=from_s))

    assert says in said
    assert bool(says) == bool(said)


def test_stalls_of_a_steady_run_are_named():
    """As spans; those before it was steady belong to its beginning."""
    seconds = (0, 19, 20, 29, 39, 49, 59, 69)

    said = describe_steadiness(load_results(is_steady=True, steady_from_s=2.0, slow_seconds=seconds))

    assert "but for 7 seconds" in said
    assert "19 to 20, 29, 39, 49 and 2 more" in said


PROMISES = {
    "failure": Invariant(
        fact="rate.over-limit-is-429", says="No more.", seen=3, broken=1, example="101 of 100"
    ),
    "skipped": Invariant(fact="run.model-ms", says="ms too.", seen=9, broken=0, excused=9, example="no ms"),
    "passed": Invariant(fact="execution.edges", says="Forward.", seen=1234, broken=0),
    "untested": Invariant(
        fact="webhook.one-per-ended-execution", says="Once.", seen=0, broken=0, missing="a key with webhook"
    ),
}


@pytest.fixture
def write(tmp_path):
    def make(*promises, **changes):
        invariants = tuple(PROMISES[each] for each in promises or PROMISES)
        folder = load_run(tmp_path, {"runWorkflow": [[10.0, 12.0]]}, invariants=invariants, **changes)
        return folder, printed(folder, width=200)

    return make


def test_promises_are_in_every_report(write):
    """A broken one comes first; in JUnit it fails, and an excused or untested one is skipped."""
    folder, screen = write()

    assert screen.strip().startswith("Contract broken under load  rate.over-limit-is-429.")
    assert "Promises under load: 1 broken, 1 assumed or waived, 1 kept, 1 untested" in screen
    said = "rate.over-limit-is-429 was broken 1 of 3 times. No more. Such as 101 of 100"
    assert said in screen
    assert said in (folder / "report.md").read_text(encoding="utf-8")
    for report in ("report.md", "report.html", "junit.xml"):
        assert "a key with webhook" in (folder / report).read_text(encoding="utf-8")
    (suite,) = ET.parse(folder / "junit.xml").iterfind("testsuite[@name='invariants']")  # noqa: S314 - our own
    endings = {case.attrib["classname"]: [each.tag for each in case] for case in suite.iterfind("testcase")}
    assert list(endings.values()) == [["failure"], ["skipped"], [], ["skipped"]]


def test_number_of_verified_responses_is_shown(write):
    folder, screen = write("passed", answers=6163, verified_answers=312)

    assert "Verified: 312 of 6,163 answers." in screen
    assert "All checks judged 312 of 6,163 answers" in (folder / "report.html").read_text(encoding="utf-8")


def test_late_generator_excuses_no_broken_promise(write):
    _, screen = write("failure", validity=validity(is_valid=False, reasons=("It was 9.0 ms late.",)))

    assert screen.strip().startswith("Contract broken under load")
    assert "9.0 ms late" in screen


def test_excused_promise_breaks_nothing(write):
    _, screen = write("skipped", "passed")

    assert "Contract broken" not in screen
    assert "Promises under load: 1 assumed or waived, 1 kept. Verified: a sample of the answers." in screen
