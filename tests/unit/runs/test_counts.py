"""Results of a run, counted while it goes on."""

import pytest

from knouds_harness.runs.counts import RunCounts
from knouds_harness.runs.run_file import UntestedFact


@pytest.fixture
def counts() -> RunCounts:
    return RunCounts()


def add_result(counts: RunCounts, fact: str, *, passed: bool, exchange_id: str = "x00001") -> None:
    counts.add_result(
        check="c", fact=fact, operation="getHealth", persona=None, passed=passed, exchange_id=exchange_id
    )


def test_results_of_one_check_are_added_up(counts):
    for number, passed in enumerate((True, True, False), start=1):
        add_result(counts, "f", passed=passed, exchange_id=f"x{number}")

    (result,) = counts.results()
    assert (result.passed, result.failed) == (2, 1)
    assert (result.passed_exchange, result.failed_exchange) == ("x1", "x3")


def test_fact_that_was_ever_broken_is_not_verified(counts):
    add_result(counts, "kept", passed=True)
    add_result(counts, "broken", passed=True)
    add_result(counts, "broken", passed=False)

    assert counts.verified_facts == {"kept"}


@pytest.mark.parametrize(
    ("needs", "left"),
    [
        ([("a key", "profile"), ("an answer", "answers"), ("a key", "profile")], ["an answer"]),
        ([("a key", "profile"), ("more credits", "profile")], ["a key", "more credits"]),
    ],
    ids=["a response that is missing replaces a need of the profile", "either of two would do"],
)
def test_needs_of_one_check_are_listed(counts, needs, left):
    for missing, cause in needs:
        counts.add_untested(UntestedFact(check="c", fact="f", operation=None, missing=missing, cause=cause))

    assert [each.missing for each in counts.untested] == left


def test_run_without_tests_is_not_all_skipped(counts):
    assert not counts.is_all_skipped

    counts.add_test(check="c", operation=None, outcome="skipped", duration_s=0.1)
    assert counts.is_all_skipped

    counts.add_test(check="d", operation=None, outcome="passed", duration_s=0.1)
    assert not counts.is_all_skipped


def test_tests_of_one_check_are_added_up(counts):
    for outcome in ("passed", "failed", "passed"):
        counts.add_test(check="c", operation=None, outcome=outcome, duration_s=0.5)

    (tests,) = counts.tests
    assert (tests.passed, tests.failed, tests.skipped, tests.duration_s) == (2, 1, 0, 1.5)
