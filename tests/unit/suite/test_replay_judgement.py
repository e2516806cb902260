"""A finding that relates several exchanges is replayed by the test that found it."""

from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from run_records import exchange, start

from knouds_harness.contract.document import shipped_document
from knouds_harness.judging.checks import all_checks, executions
from knouds_harness.judging.claim import Claim
from knouds_harness.runs.record import read_run
from knouds_harness.runs.run_file import run_setup
from knouds_harness.suite.recorder import FindingRecorder
from knouds_harness.suite.replay_judgement import CannotTell, RepeatedTests, ReplayStatus
from knouds_harness.suite.replayer import Replayer
from knouds_harness.targets.profile import Target

DOCUMENT = shipped_document()
TEST = "test_executions.py::test_cancel_after_the_end_leaves_the_status_alone"
CHECK = executions.end_stands
FACT = CHECK.facts[0]
HELD = Claim(fact=FACT, holds=True, expected="completed", observed="completed")
BROKEN = replace(HELD, holds=False, observed="cancelled")


def run_of(folder, *claims):
    """Make a run whose test has made these claims about one exchange; its record is closed."""
    folder.mkdir()
    target = Target(name="mine", base_url="https://staging.example.com")
    setup = replace(
        run_setup(target, seed=0, checks=[each.recorded for each in all_checks().values()]), examples=7
    )
    with start(folder, target=target, setup=setup) as writer:
        recorder = FindingRecorder(document=DOCUMENT, writer=writer, waivers=(), today=date(2026, 11, 25))
        recorder.begin_test(TEST)
        polled = exchange(9, "getExecution", persona=None)
        writer.add_exchange(polled)
        recorder.record(CHECK, polled, claims, given={"test": "it"})
        writer.finish("broken", 1)
    return SimpleNamespace(is_begun=True, recorder=recorder, note="", left=())


def repeated(run, **more):
    return RepeatedTests(tests={TEST}, found={TEST}, run=run, **more)


@pytest.fixture
def finding(tmp_path):
    run = run_of(tmp_path / "first", BROKEN)
    return read_run(run.recorder.writer.folder).findings[0]


def test_each_test_is_told_when_it_has_ended():
    told: list[str] = []
    again = RepeatedTests(tests={TEST}, found={TEST}, show=told.append)

    for when in ("setup", "call", "teardown"):
        report: Any = SimpleNamespace(when=when, passed=True, nodeid=TEST)
        again.pytest_runtest_logreport(report)

    assert told == ["  1 of 1: test_cancel_after_the_end_leaves_the_status_alone"]


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (BROKEN, (ReplayStatus.STANDS, "expected completed, observed cancelled")),
        (HELD, (ReplayStatus.GONE, "its test ran again, and its check found nothing wrong")),
    ],
)
def test_finding_stands_if_its_test_finds_it_again(finding, tmp_path, claim, expected):
    assert finding.test == TEST
    assert repeated(run_of(tmp_path / "again", claim)).judge(finding) == expected


@pytest.mark.parametrize("passed", [{TEST}, set()])
def test_finding_is_gone_if_its_passed_test_shows_the_fact(finding, tmp_path, passed):
    """Also by another check: a page without rows gives a check of rows nothing to judge."""
    another = replace(finding, check="usage.own-user")
    again = repeated(run_of(tmp_path / "again", HELD), passed=passed)

    if passed:
        assert again.judge(another)[0] is ReplayStatus.GONE
    else:
        with pytest.raises(CannotTell):
            again.judge(another)


@pytest.mark.parametrize(
    ("claims", "more", "reason"),
    [
        ([], {}, "did not get to judge it"),
        ([], {"skipped": {TEST: "a key with workflow:run"}}, "its test needs a key with workflow:run"),
        ([replace(BROKEN, where="/status")], {}, "broken in another way"),
    ],
)
def test_finding_that_was_not_judged_again_is_not_gone(claims, more, reason, finding, tmp_path):
    with pytest.raises(CannotTell, match=reason):
        repeated(run_of(tmp_path / "again", *claims), **more).judge(finding)


def test_finding_of_a_missing_test_cannot_be_judged(finding, tmp_path):
    elsewhere = RepeatedTests(tests={TEST}, run=run_of(tmp_path / "again", HELD))

    with pytest.raises(CannotTell, match=f"no test {TEST}"):
        elsewhere.judge(finding)


@pytest.fixture
def replayed(monkeypatch):
    """Replay the findings of a run, whose tests then show this; return the results and the tests run."""

    def replay(record, *runs):
        tried = []

        def repeat(tests, **options):
            tried.append((tests, options))
            return replace(repeated(runs[len(tried) - 1]), found=tests)

        monkeypatch.setattr(RepeatedTests, "repeat", repeat)
        replayer = Replayer(record=record, target_name="mine")
        return list(replayer.replay_all(record.findings)), tried

    return replay


def test_finding_of_a_relation_is_replayed_by_its_test_alone(finding, tmp_path, replayed):
    """Once for all findings, with the run's seed and inputs, into its folder."""
    record = read_run(next((tmp_path / "first").iterdir()))

    [result], [(tests, options)] = replayed(record, run_of(tmp_path / "again", HELD))

    assert result.status is ReplayStatus.GONE
    assert tests == {TEST}
    assert options["examples"] == 7
    assert options["runs_folder"] == record.folder


def test_race_that_does_not_show_again_is_not_gone(tmp_path, replayed):
    """It is tried five times."""
    record = read_run(run_of(tmp_path / "first", BROKEN).recorder.writer.folder)
    raced = replace(record.findings[0], test="test_concurrency.py::test_polls_at_once")
    again = [run_of(tmp_path / f"again {number}", HELD) for number in range(5)]

    [result], tried = replayed(replace(record, findings=(raced,)), *again)

    assert (result.status, len(tried)) == (ReplayStatus.UNSEEN, 5)
    assert result.reason.startswith("in 5 tries")
