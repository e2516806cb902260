"""The checks of executions: what breaks them, and when they make no claim."""

import pytest
from exchanges import assert_breaks, broken, exchange, named, refusal, rows
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.contract.operations import FINAL, IN_FLIGHT
from knouds_harness.judging.checks import executions

STATUSES = sorted(IN_FLIGHT | FINAL)


def shown(status, http_status=200, **members):
    return exchange(
        http_status, {"executionId": "e-1", "status": status, **members}, operation_id="getExecution"
    )


def shown_each(*statuses):
    return [shown(each) for each in statuses]


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

    assert broken(executions.edges, shown(ending), statuses=statuses) >= {"execution.final-is-absorbing"}


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


CASES = {
    "a cancel in flight is accepted": rows(
        executions.cancel_in_flight,
        (shown("cancel_requested"), ["cancel_requested", "cancelled"], False),
        (shown("cancel_requested", 202), ["cancelled"], False),
        (exchange(200, {}), ["processing", "cancelled"], False),
        (shown("cancel_requested"), ["cancel_requested", "completed"], False),
        (shown("cancel_requested"), ["completed"], False),
        (exchange(202, {}), ["processing", "completed"], False),
        (shown("cancel_requested"), ["processing", "completed"], True),
        (refusal(409, "ENDED"), ["completed"], False),
        (refusal(409, "ENDED"), ["failed"], False),
        (refusal(409, "RUNNING"), ["processing", "completed"], True),
        (refusal(404, "NOT_FOUND"), ["processing"], True),
        (refusal(429, "RATE_LIMIT_EXCEEDED"), ["processing"], False),
        (exchange(None), ["processing"], False),
        (refusal(409, "RUNNING"), [], False),
    ),
    "accepted cancels take effect": rows(
        executions.cancels_take_effect,
        ([["processing", "completed"]] * 3, True),
        ([["processing", "completed"]] * 2, False),
        ([["completed"]] * 5, False),
        ([["processing", "completed"]] * 4 + [["cancelled"]], False),
        ([["processing", "cancelled"]] * 5, False),
        ([["processing", "completed"]] * 4 + [["processing", "cancel_requested", "completed"]], False),
        answer=exchange(200, {}),
    ),
    "a second cancel finds the execution, unless that has ended": rows(
        executions.cancelled_again,
        (shown("cancel_requested"), "cancel_requested", "cancel_requested", False),
        (refusal(409, "ALREADY_ASKED"), "cancel_requested", "cancel_requested", False),
        (refusal(404, "NOT_FOUND"), "cancel_requested", "cancel_requested", True),
        (refusal(404, "NOT_FOUND"), "cancel_requested", "cancelled", False),
        (refusal(404, "NOT_FOUND"), "cancelled", "cancelled", False),
        (exchange(None), "cancel_requested", "cancel_requested", False),
    ),
    "cancels do not make runs fail": rows(
        executions.cancels_do_not_fail,
        (shown_each(*["failed"] * 3), shown("completed"), True),
        (shown_each(*["failed"] * 2), shown("completed"), False),
        (shown_each(*["failed"] * 3), shown("failed"), False),
        (shown_each(*["failed"] * 3), shown(None), False),
        (shown_each("failed", "failed", "cancelled"), shown("completed"), False),
        (shown_each("failed", "failed", None), shown("completed"), False),
        (shown_each(*["completed"] * 3), shown("completed"), False),
        answer=shown("cancel_requested", 202),
    ),
    "the median of enough submits is quick": rows(
        executions.submit_is_quick,
        ([499.9] * 5, False),
        ([500.0] * 5, True),
        ([90, 90, 90, 3000, 3000], False),
        ([90, 90, 700, 700, 700], True),
        ([700] * 4, False),
        answer=exchange(202, {}),
    ),
    "an execution ends by its deadline": rows(
        executions.ends_in_time,
        (shown("completed"), 30, False),
        (shown("processing"), 30, True),
        (shown("processing"), None, False),
    ),
    "a cancel after the end may have any of three statuses": rows(
        executions.cancel_after_end,
        (exchange(200, {}), False),
        (exchange(400, {}), False),
        (exchange(409, {}), False),
        (exchange(404, {}), True),
    ),
}


@pytest.mark.parametrize(("check", "answer", "known", "facts"), named(CASES))
def test_check_finds_what_is_broken(check, answer, known, facts):
    assert_breaks(check, answer, known, facts)
