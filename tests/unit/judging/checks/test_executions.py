"""The checks of executions: what breaks them, and when they make no claim."""

import pytest
from exchanges import broken, exchange, refusal
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.contract.operations import FINAL, IN_FLIGHT
from knouds_harness.judging.checks import executions

CANCEL, EDGES, ABSORBING = (
    {"execution.cancel-in-flight"},
    {"execution.edges"},
    {"execution.final-is-absorbing"},
)
STATUSES = sorted(IN_FLIGHT | FINAL)


def shown(status, http_status=200, **members):
    return exchange(
        http_status, {"executionId": "e-1", "status": status, **members}, operation_id="getExecution"
    )


@given(
    polls=st.integers(0, 5),
    requested=st.integers(0, 5),
    ending=st.sampled_from(sorted(FINAL)),
    after=st.integers(1, 5),
)
def test_every_documented_sequence_of_statuses_holds(polls, requested, ending, after):
    statuses = ["processing"] * polls + ["cancel_requested"] * requested + [ending] * after

    assert broken(executions.edges, shown(ending), statuses=statuses) == set()


@given(before=st.lists(st.sampled_from(STATUSES)), ending=st.sampled_from(sorted(FINAL)), data=st.data())
def test_leaving_a_final_status_is_always_found(before, ending, data):
    next_status = data.draw(st.sampled_from([status for status in STATUSES if status != ending]))
    after = data.draw(st.lists(st.sampled_from(STATUSES)))

    statuses = [*before, ending, next_status, *after]

    assert broken(executions.edges, shown(ending), statuses=statuses) >= ABSORBING


@pytest.mark.parametrize(
    ("cancel", "after", "facts"),
    [
        (shown("cancel_requested"), ["cancel_requested", "cancelled"], set()),
        (shown("cancel_requested", 202), ["cancelled"], set()),
        (exchange(200, {}), ["processing", "cancelled"], set()),
        (shown("cancel_requested"), ["cancel_requested", "completed"], set()),
        (shown("cancel_requested"), ["completed"], set()),
        (exchange(202, {}), ["processing", "completed"], set()),
        (shown("cancel_requested"), ["processing", "completed"], CANCEL),
        (refusal(409, "ENDED"), ["completed"], set()),
        (refusal(409, "ENDED"), ["failed"], set()),
        (refusal(409, "RUNNING"), ["processing", "completed"], CANCEL),
        (refusal(404, "NOT_FOUND"), ["processing"], CANCEL),
        (refusal(429, "RATE_LIMIT_EXCEEDED"), ["processing"], set()),
        (exchange(None), ["processing"], set()),
        (refusal(409, "RUNNING"), [], set()),
    ],
)
def test_cancel_in_flight_is_accepted(cancel, after, facts):
    assert broken(executions.cancel_in_flight, cancel, after=after) == facts


@pytest.mark.parametrize(
    ("after_each", "facts"),
    [
        ([["processing", "completed"]] * 3, CANCEL),
        ([["processing", "completed"]] * 2, set()),
        ([["completed"]] * 5, set()),
        ([["processing", "completed"]] * 4 + [["cancelled"]], set()),
        ([["processing", "cancelled"]] * 5, set()),
        ([["processing", "completed"]] * 4 + [["processing", "cancel_requested", "completed"]], set()),
    ],
)
def test_accepted_cancels_take_effect(after_each, facts):
    assert broken(executions.cancels_take_effect, exchange(200, {}), after_each=after_each) == facts


@pytest.mark.parametrize(
    ("cancel", "before", "after", "facts"),
    [
        (shown("cancel_requested"), "cancel_requested", "cancel_requested", set()),
        (refusal(409, "ALREADY_ASKED"), "cancel_requested", "cancel_requested", set()),
        (refusal(404, "NOT_FOUND"), "cancel_requested", "cancel_requested", CANCEL),
        (refusal(404, "NOT_FOUND"), "cancel_requested", "cancelled", set()),
        (refusal(404, "NOT_FOUND"), "cancelled", "cancelled", set()),
        (exchange(None), "cancel_requested", "cancel_requested", set()),
    ],
)
def test_second_cancel_finds_the_execution(cancel, before, after, facts):
    """It may be refused, but not with 404; no claim if the execution ended in the meantime."""
    assert broken(executions.cancelled_again, cancel, before=before, after=after) == facts


@pytest.mark.parametrize(
    ("endings", "alone", "facts"),
    [
        (["failed"] * 3, "completed", CANCEL),
        (["failed"] * 2, "completed", set()),
        (["failed"] * 3, "failed", set()),
        (["failed"] * 3, None, set()),
        (["failed", "failed", "cancelled"], "completed", set()),
        (["failed", "failed", None], "completed", set()),
        (["completed"] * 3, "completed", set()),
    ],
)
def test_cancels_do_not_fail(endings, alone, facts):
    answered = shown("cancel_requested", 202)
    known = {"endings": [shown(each) for each in endings], "alone": shown(alone)}

    assert broken(executions.cancels_do_not_fail, answered, **known) == facts


@pytest.mark.parametrize(
    ("elapsed_ms", "is_broken"),
    [
        ([499.9] * 5, False),
        ([500.0] * 5, True),
        ([90, 90, 90, 3000, 3000], False),
        ([90, 90, 700, 700, 700], True),
        ([700] * 4, False),
    ],
)
def test_submit_must_be_quick(elapsed_ms, is_broken):
    """The median counts, if there are enough samples."""
    assert bool(broken(executions.submit_is_quick, exchange(202, {}), elapsed_ms=elapsed_ms)) == is_broken


CHARGED, ROW = "execution.cancelled-is-charged", "usage.run-has-a-row"


@pytest.mark.parametrize(
    ("ended", "row", "is_missing", "held", "broken_facts"),
    [
        ("cancelled", {"status": "cancelled", "creditsCost": 15}, False, {CHARGED, ROW}, set()),
        ("cancelled", {"status": "cancelled", "creditsCost": 0}, False, {ROW}, {CHARGED}),
        ("cancelled", {"status": "processing", "creditsCost": 0}, False, set(), set()),
        ("cancelled", {"status": "cancelled"}, False, {ROW}, set()),
        ("cancelled", {"status": "failed", "creditsCost": 15}, False, set(), {ROW}),
        ("failed", {"status": "cancelled", "creditsCost": 0}, False, set(), set()),
        ("cancelled", None, False, set(), set()),
        ("cancelled", None, True, set(), {ROW}),
        ("completed", None, True, set(), set()),
    ],
)
def test_cancelled_run_is_charged(ended, row, is_missing, held, broken_facts):
    """It costs something if it has a price, and its row says so; no claim if the row was just not found."""
    claims = list(executions.cancelled_is_charged.judge(shown(ended), row=row, is_missing=is_missing))

    assert {each.fact for each in claims if each.holds} == held
    assert {each.fact for each in claims if not each.holds} == broken_facts


@pytest.mark.parametrize("status", [200, 400, 409])
def test_cancel_after_the_end_may_have_any_of_three_statuses(status):
    assert broken(executions.cancel_after_end, exchange(status, {})) == set()
    assert broken(executions.cancel_after_end, exchange(404, {})) == {"execution.cancel-after-end"}


@pytest.mark.parametrize(
    ("deadline_s", "status", "is_broken"),
    [(30, "completed", False), (30, "processing", True), (None, "processing", False)],
)
def test_execution_ends_by_its_deadline(deadline_s, status, is_broken):
    assert bool(broken(executions.ends_in_time, shown(status), deadline_s=deadline_s)) == is_broken
