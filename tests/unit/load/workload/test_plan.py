"""The plan, printed before load is sent."""

from itertools import chain

import pytest
from load_workload import options, persona, scenario, workload_of
from load_workload import target as profile
from locust import constant, constant_pacing

from knouds_harness.contract.operations import Action
from knouds_harness.errors import UsageError
from knouds_harness.load.arrivals.schedule import Shape
from knouds_harness.load.tasks import run_cheapest, run_model, run_workflow, who_am_i
from knouds_harness.load.workload.plan import forecast, most_in
from knouds_harness.targets.resources import Limits, Model, Workflow


def target(*keys, budget=1_000, workflows=None):
    own = [
        Workflow(slug=f"{key.user}-{cost}", owner=key.user, cost_credits=cost)
        for key in keys
        for cost in (8, 2)
    ]
    return profile(
        *keys,
        workflows=own if workflows is None else workflows,
        models=[Model(name="claude-sonnet", cost_credits=3)],
        limits=Limits(credits=budget, allow=frozenset(Action)),
    )


def planned(where, *arguments, user_class=None, is_asked=True):
    asked = options(*arguments)
    lines, *warnings = forecast(
        workload_of(where.spending(asked.credits), unknown=None if is_asked else 0.0),
        asked,
        [user_class or scenario(run_workflow)],
        is_asked=is_asked,
    )
    return "\n".join(lines), tuple(chain(*warnings))


PIA, BEA = persona(), persona("business", user="bea", tier="business")


def test_plan_within_the_limits_has_no_warnings():
    """It says which key sends how much, against which limit, and at what cost."""
    lines, warnings = planned(target(PIA), "--rate", "1", "--duration", "60s")

    assert warnings == ()
    assert "about 60 tasks, at most 1 per second" in lines
    assert "pro (pia, pro): 100%" in lines
    assert "pia: runWorkflow up to 60 of 100 in 60 s" in lines
    assert "about 300 credits, at most 480 credits; limits.credits is 1,000" in lines


def test_plan_over_the_limits_says_which_keys_it_takes():
    """How many accounts of which tier."""
    _, warnings = planned(target(PIA, budget=100_000), "--rate", "50", "--duration", "60s")

    (warning,) = warnings
    assert "up to 3,000 runs in 60 s, and your accounts admit 100" in warning
    assert "It takes 30 pro, 3 business or 1 enterprise keys" in warning


def test_load_is_spread_by_the_limits_of_the_accounts():
    """A business account takes ten times as much as a pro one; together they can send more than either."""
    lines, warnings = planned(target(PIA, BEA, budget=100_000), "--rate", "18", "--duration", "60s")

    assert warnings == ()
    assert "pia: runWorkflow up to 99 of 100" in lines
    assert "bea: runWorkflow up to 982 of 1,000" in lines


def test_second_key_of_an_account_adds_nothing():
    second = persona("pro-second")

    _, warnings = planned(target(PIA, second, budget=100_000), "--rate", "3", "--duration", "60s")

    assert "admit 100;" in warnings[0]


def test_limits_count_windows_and_not_the_whole_run():
    _, warnings = planned(target(PIA, budget=100_000), "--rate", "1.5", "--duration", "10m")

    assert warnings == ()


def test_pro_accounts_are_not_proposed_for_model_runs():
    key = persona("business", user="bea", tier="business", capabilities={"model:run"})
    user_class = scenario(run_model)

    _, warnings = planned(target(key, budget=100_000), "--rate", "50", user_class=user_class)

    assert "pro" not in warnings[0]
    assert "3 business" in warnings[0]


def test_plan_over_the_budget_has_a_warning():
    lines, warnings = planned(target(PIA), "--rate", "1", "--credits", "100")

    assert "about 100 credits, at most 100 credits; --credits is 100" in lines
    assert warnings == ("It costs about 300 credits, and 100 may be spent (--credits): it will end early.",)


def test_reads_cost_nothing_and_meet_no_documented_limit():
    lines, warnings = planned(target(PIA), "--rate", "500", user_class=scenario(who_am_i))

    assert warnings == ()
    assert "costs   nothing" in lines
    assert "limits" not in lines


def test_unknown_prices_are_named():
    unpriced = [Workflow(slug="portrait", owner="pia")]

    lines, _ = planned(target(PIA, workflows=unpriced), "--rate", "1", is_asked=False)

    assert "likely about 0 credits, plus 60 runs whose price is unknown, at most 1,000 credits" in lines
    assert "the server is asked what portrait cost" in lines
    assert "pia: runWorkflow up to 60 of 100" in lines


def test_account_with_nothing_to_run_is_an_error():
    with pytest.raises(UsageError, match=r"run_workflow is left out: pia \(pro\) lacks a workflow"):
        planned(target(PIA, workflows=[]), "--rate", "1")


def test_task_that_is_left_out_is_named_and_not_counted():
    user_class = scenario(run_workflow, run_model)

    lines, warnings = planned(target(PIA), "--rate", "1", user_class=user_class)

    assert "pia: runWorkflow up to 60 of 100" in lines
    assert "runModel" not in lines
    assert warnings == (
        "run_model is left out: pia (pro) lacks the tier business or enterprise and a key with model:run",
    )


def test_each_account_counts_with_its_own_tasks():
    """The pro account's key runs workflows, three in four tasks; the business account runs the models."""
    models = persona("models", user="bea", tier="business", capabilities={"model:run"})
    user_class = scenario(run_workflow, run_workflow, run_workflow, run_model)

    lines, _ = planned(target(PIA, models), "--rate", "1", user_class=user_class)

    assert "keys    pro (pia, pro): 75%, models (bea, business): 25%" in lines
    assert "pia: runWorkflow up to 45 of 100" in lines
    assert "bea: runModel up to 15 of 1,000" in lines
    assert "about 270 credits" in lines


def test_account_in_two_scenarios_counts_once():
    lines, *_ = forecast(
        workload_of(target(PIA)),
        options("--rate", "1"),
        [scenario(run_workflow), scenario(run_workflow)],
        is_asked=True,
    )

    assert "keys    pro (pia, pro): 100%" in lines
    assert "limits  pia: runWorkflow up to 60 of 100 in 60 s" in lines


def test_more_credits_than_the_profile_allows_are_not_spent():
    lines, warnings = planned(target(PIA, budget=100), "--rate", "1", "--credits", "5000")

    assert "at most 100 credits; limits.credits is 100" in lines
    assert "100 may be spent (limits.credits)" in warnings[0]


def test_credits_option_of_0_is_kept():
    lines, _ = planned(target(PIA), "--rate", "1", "--credits", "0")

    assert "at most 0 credits; --credits is 0" in lines


def test_closed_model_is_planned_with_immediate_responses():
    lines, _ = planned(target(PIA), "--users", "2", "--duration", "60s")

    assert "closed model, 60 s, 2 users, at most about 122 tasks" in lines
    assert "pia: runWorkflow up to 122 of 100" in lines
    assert "likely about 610 credits, at most 1,000 credits" in lines


def test_closed_model_has_its_own_highest_cost():
    lines, _ = planned(target(PIA, budget=1_000_000), "--users", "2", "--duration", "60s")

    assert "likely about 610 credits, at most 1,424 credits" in lines


@pytest.mark.parametrize(
    ("arguments", "wait_time", "says"),
    [
        (("--stages", "30s:50/s,2m:200/s,30s:0/s"), constant(1), "180 s, about 18,750 tasks, at most 200"),
        (("--users", "3", "--duration", "8s"), constant(2), "3 users, at most about 15 tasks"),
    ],
    ids=["stages", "thinking"],
)
def test_number_of_tasks_follows_from_stages_and_think_time(arguments, wait_time, says):
    lines, _ = planned(target(PIA), *arguments, user_class=scenario(run_workflow, wait_time=wait_time))

    assert says in lines


def test_unpredictable_think_time_is_not_guessed():
    user_class = scenario(run_workflow, wait_time=constant_pacing(1))

    lines, warnings = planned(target(PIA), "--users", "2", user_class=user_class)

    assert warnings == ()
    assert "at most 1,000 credits" in lines


def test_custom_tasks_are_named_as_not_planned():
    def sing(_user):
        pass

    _, warnings = planned(target(PIA), "--rate", "1", user_class=scenario(sing, who_am_i))

    assert warnings == ("This plan does not include what sing runs: it knows only the harness's tasks.",)


def test_crossing_a_limit_costs_only_the_admitted_runs():
    user_class = scenario(run_cheapest, crosses_limit=True)

    lines, warnings = planned(target(PIA, BEA), "--rate", "5", user_class=user_class)
    _, too_few = planned(target(PIA, BEA), "--rate", "1", user_class=user_class)

    assert warnings == ()
    assert "pro (pia, pro): 100%" in lines
    assert "at most 400 credits" in lines
    assert "do not cross the limit of 100" in too_few[0]


@pytest.mark.parametrize(
    ("kind", "duration_s", "expected"),
    [("constant", 30, 300), ("constant", 600, 600), ("spike", 600, 600), ("ramp", 120, 450)],
)
def test_fullest_window_is_found(kind, duration_s, expected):
    """A spike's fullest window lies within it, a ramp's at its end."""
    assert most_in(Shape.of(kind, 10.0, duration_s), 60) == pytest.approx(expected)


def test_workflows_that_are_not_run_are_named():
    """Known to fail, or no key may run them; a template of one's own is run."""
    own = Workflow(slug="own", owner="pia", cost_credits=8)
    failing = Workflow(slug="failing", owner="pia", cost_credits=8, fails=True)
    foreign = Workflow(slug="foreign", owner="bea", cost_credits=8)
    template = Workflow(slug="template", owner="pia", cost_credits=8, template=True)
    where = target(PIA, workflows=[own, failing, template, foreign])

    _, warnings = planned(where, "--rate", "1", "--duration", "60s")

    assert warnings == ("not run: failing (fails = true); foreign (no key may run it)",)


def test_requested_workflow_that_is_not_run_is_named():
    """Its account has no credits."""
    poor = persona("poor", user="bea", capabilities={"workflow:run"}, credits="none")
    named = [
        Workflow(slug=each, owner=user, cost_credits=8) for each, user in (("own", "pia"), ("hers", "bea"))
    ]
    workload = workload_of(target(PIA, poor, workflows=named), runs_each=True)

    _, warnings, _ = forecast(workload, options("--rate", "1"), [scenario(run_workflow)], is_asked=False)

    assert warnings == ["not run: hers (no credits, or not what the tasks need)"]
