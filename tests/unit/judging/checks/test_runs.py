"""The checks of runs: what breaks them, and when they make no claim."""

import pytest
from exchanges import assert_breaks, broken, claimed, exchange, named, refusal, rows

from knouds_harness.judging.checks import concurrency, runs, usage
from knouds_harness.suite.support.usage_rows import row_of_request, row_that_came
from knouds_harness.targets.resources import Model, Workflow

PORTRAIT = Workflow(slug="portrait", owner="ada")


def run(cost=8, **result):
    return exchange(
        200, {"success": True, "result": result, "cost": cost, "ms": 1}, operation_id="runWorkflow"
    )


def poll(status):
    return exchange(200, {"status": status}, operation_id="getExecution")


@pytest.mark.parametrize(
    ("row", "facts"),
    [
        ({"creditsCost": 8}, {"run.charge-equals-usage"}),
        ({"creditsCost": 8.0}, {"run.charge-equals-usage"}),
        ({"creditsCost": None}, set()),
        ({}, set()),
        (None, set()),
    ],
)
def test_usage_shows_the_cost_of_the_response(row, facts):
    assert claimed(runs.charge_in_usage, run(8), row=row) == facts
    assert broken(runs.charge_in_usage, run(8), row=row) == set()
    assert broken(runs.charge_in_usage, run(9), row=row) == facts


def test_run_that_costs_nothing_shows_no_charge():
    """A server that never charges anything shows the same."""
    free, ended = {"creditsCost": 0}, exchange(200, {"status": "completed"}, operation_id="getExecution")
    cancelled = exchange(200, {"status": "cancelled"})

    assert not claimed(runs.charge_in_usage, run(0), row=free)
    assert not claimed(runs.charged_alike, ended, waited_for=run(0), row=free)
    assert not claimed(concurrency.charged_once, cancelled, rows=[free], most_credits=0)
    assert claimed(usage.reconciled, run(0), cost_credits=[0], rows=[free]) == {"usage.run-has-a-row"}


def row(row_id, slug="portrait", **members):
    return {"id": row_id, "workflowSlug": slug, "modelIds": ["seedream-v5"], **members}


@pytest.mark.parametrize(
    ("after", "found"),
    [
        ([row(2), row(1)], 2),
        ([row(1), row(2), row(3, "other")], 2),
        ([row(1)], None),
        ([row(1), row(2), row(3)], None),
        ([row(1), row(2, None)], None),
    ],
)
def test_row_of_a_run_is_the_new_one(after, found):
    came = row_that_came([row(1)], after, PORTRAIT)

    assert (came and came["id"]) == found


def test_row_of_a_model_run_names_no_workflow():
    """A row with a workflow is not that of a direct run of its model."""
    came = row_that_came([], [row(1), row(2, None)], Model(name="seedream-v5"))

    assert came == row(2, None)


def test_row_is_found_by_its_request_id():
    rows = [row(1, requestId="req_1"), row(2, requestId="req_2"), row(3)]

    assert row_of_request(rows, "req_2") == rows[1]
    assert row_of_request(rows, None) is None


CASES = {
    "a run may leave out fields that have a default": rows(
        runs.fields_left_out,
        (run(), False),
        (refusal(400, "INVALID_INPUTS"), True),
        (refusal(422, "MISSING_FIELD"), True),
        (exchange(500, {"error": "x", "code": "INTERNAL"}), True),
        with_all=run(),
        is_alike=False,
    ),
    "missing fields cost as much as the defaults that were sent": rows(
        runs.fields_left_out,
        (run(16), True, True),
        (run(8), True, False),
        (run(16), False, False),
        with_all=run(8),
    ),
    "a run refused for another reason tells nothing": rows(
        runs.fields_left_out,
        (refusal(400, "INVALID_INPUTS"), refusal(400, "INVALID_INPUTS"), None),
        (refusal(402, "INSUFFICIENT_CREDITS"), run(), None),
        (refusal(429, "RATE_LIMIT_EXCEEDED"), run(), None),
        (exchange(500, {"error": "x", "code": "EXECUTION_FAILED"}), run(), None),
        (exchange(None), run(), None),
        is_alike=True,
    ),
    "defaults give the same result as when sent": rows(
        runs.defaults_as_given,
        (run(text=["fog"]), False),
        (run(text=[""]), True),
        (run(), False),
        with_defaults=run(text=["fog"]),
    ),
    "two images cost twice as much": rows(
        runs.charged_per_image,
        (run(16, images=["a", "b"]), False),
        (run(8, images=["a", "b"]), True),
        (run(15, images=["a", "b"]), True),
        (run(8, images=["a"]), False),
        (run("8", images=["a", "b"]), False),
        single=run(8, images=["a"]),
    ),
    "two nodes cost as much as estimated, or more than one": rows(
        runs.charged_per_node,
        (run(28), run(14), (14, 28), False),
        (run(14), run(14), (14, 28), True),
        (run(20), run(14), (14, 28), True),
        (run(8), run(8), (14, 28), True),
        (run(16), run(8), (14, 28), False),
        (run(8), run(8), (14, 14), False),
        (run(8), run(8), (None, None), False),
        (run(0), run(0), (14, 28), False),
    ),
    **{
        f"it is free: {check.id}": rows(
            check, (run(0), False), (run(0.0), False), (run(1), True), (run(True), False)
        )
        for check in (runs.granted, runs.nothing_generated)
    },
    "an asynchronous run costs as much as a synchronous one": rows(
        runs.charged_alike,
        (poll("completed"), {"creditsCost": 8}, False),
        (poll("completed"), {"creditsCost": 16}, True),
        (poll("completed"), {"creditsCost": 0}, True),
        (poll("completed"), None, False),
        (poll("failed"), {"creditsCost": 0}, False),  # whether it is charged is open
        waited_for=run(8),
    ),
}


@pytest.mark.parametrize(("check", "answer", "known", "facts"), named(CASES))
def test_check_finds_what_is_broken(check, answer, known, facts):
    assert_breaks(check, answer, known, facts)
