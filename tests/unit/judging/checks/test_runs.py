"""The checks of runs: what breaks them, and when they make no claim."""

import pytest
from exchanges import broken, claimed, exchange, refusal

from knouds_harness.judging.checks import concurrency, runs, usage
from knouds_harness.suite.support.usage_rows import row_of_request, row_that_came
from knouds_harness.targets.resources import Model, Workflow

DEFAULTS, GENERATORS = {"run.defaults-for-left-out-fields"}, {"run.charged-per-generator"}
PORTRAIT = Workflow(slug="portrait", owner="ada")


def run(cost=8, **result):
    return exchange(
        200, {"success": True, "result": result, "cost": cost, "ms": 1}, operation_id="runWorkflow"
    )


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        (run(), set()),
        (refusal(400, "INVALID_INPUTS"), DEFAULTS),
        (refusal(422, "MISSING_FIELD"), DEFAULTS),
        (exchange(500, {"error": "x", "code": "INTERNAL"}), DEFAULTS),
    ],
)
def test_run_uses_defaults_for_missing_fields(answer, facts):
    assert broken(runs.fields_left_out, answer, with_all=run(), is_alike=False) == facts


@pytest.mark.parametrize(
    ("cost", "is_alike", "facts"), [(16, True, DEFAULTS), (8, True, set()), (16, False, set())]
)
def test_missing_fields_cost_as_much_as_their_defaults(cost, is_alike, facts):
    """If the default values were sent before, another price shows another value."""
    assert broken(runs.fields_left_out, run(cost), with_all=run(8), is_alike=is_alike) == facts


@pytest.mark.parametrize(
    ("answer", "with_all"),
    [
        (refusal(400, "INVALID_INPUTS"), refusal(400, "INVALID_INPUTS")),
        (refusal(402, "INSUFFICIENT_CREDITS"), run()),
        (refusal(429, "RATE_LIMIT_EXCEEDED"), run()),
        (exchange(500, {"error": "x", "code": "EXECUTION_FAILED"}), run()),
        (exchange(None), run()),
    ],
)
def test_run_refused_for_another_reason_makes_no_claim(answer, with_all):
    assert claimed(runs.fields_left_out, answer, with_all=with_all, is_alike=True) == set()


@pytest.mark.parametrize(
    ("answer", "facts"), [(run(text=["fog"]), set()), (run(text=[""]), DEFAULTS), (run(), set())]
)
def test_defaults_give_the_same_result_as_when_sent(answer, facts):
    assert broken(runs.defaults_as_given, answer, with_defaults=run(text=["fog"])) == facts


@pytest.mark.parametrize(
    ("double", "facts"),
    [
        (run(16, images=["a", "b"]), set()),
        (run(8, images=["a", "b"]), GENERATORS),
        (run(15, images=["a", "b"]), GENERATORS),
        (run(8, images=["a"]), set()),
        (run("8", images=["a", "b"]), set()),
    ],
)
def test_two_images_cost_twice_as_much(double, facts):
    assert broken(runs.charged_per_image, double, single=run(8, images=["a"])) == facts


@pytest.mark.parametrize(
    ("once", "twice", "estimates", "facts"),
    [
        (14, 28, (14, 28), set()),
        (14, 14, (14, 28), GENERATORS),
        (14, 20, (14, 28), GENERATORS),
        (8, 8, (14, 28), GENERATORS),
        (8, 16, (14, 28), set()),
        (8, 8, (14, 14), set()),
        (8, 8, (None, None), set()),
        (0, 0, (14, 28), set()),
    ],
)
def test_two_nodes_cost_as_much_as_estimated(once, twice, estimates, facts):
    """If the price is not the estimate, two nodes must cost more than one."""
    assert broken(runs.charged_per_node, run(twice), single=run(once), estimates=estimates) == facts


@pytest.mark.parametrize("check", [runs.granted, runs.nothing_generated])
@pytest.mark.parametrize(("cost", "is_broken"), [(0, False), (0.0, False), (1, True), (True, False)])
def test_trial_runs_and_runs_without_a_generator_are_free(check, cost, is_broken):
    assert bool(broken(check, run(cost))) == is_broken


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


@pytest.mark.parametrize(
    ("status", "row", "facts"),
    [
        ("completed", {"creditsCost": 8}, set()),
        ("completed", {"creditsCost": 16}, GENERATORS),
        ("completed", {"creditsCost": 0}, GENERATORS),
        ("completed", None, set()),
        ("failed", {"creditsCost": 0}, set()),  # whether it is charged is open
    ],
)
def test_asynchronous_run_costs_as_much_as_a_synchronous_one(status, row, facts):
    poll = exchange(200, {"status": status}, operation_id="getExecution")

    assert broken(runs.charged_alike, poll, waited_for=run(8), row=row) == facts
