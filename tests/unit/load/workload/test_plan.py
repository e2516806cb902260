"""The plan, printed before load is sent."""

import pytest
from load_workload import options, persona, scenario, workload_of
from load_workload import target as profile
from locust import constant, constant_pacing

from knouds_harness.contract.operations import Action
from knouds_harness.errors import UsageError
from knouds_harness.load.arrivals.schedule import Shape
from knouds_harness.load.tasks import run_cheapest, run_model, run_workflow, who_am_i
from knouds_harness.load.workload.plan import Plan, most_in
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


PIA, BEA = persona(), persona("business", user="bea", tier="business")
RUNS_MODELS = persona("models", user="bea", tier="business", capabilities={"model:run"})
PROS = target(PIA)
UNPRICED = target(PIA, workflows=[Workflow(slug="portrait", owner="pia")])
RUN = scenario(run_workflow)


def sing(_user):
    """A task that declares no needs."""


def plan(name, arguments, *, where=PROS, user_class=RUN, says=(), warns=()):
    return pytest.param(where, arguments.split(), user_class, says, warns, id=name)


PLANS = [
    plan(
        "over the limits",
        "--rate 50",
        where=target(PIA, budget=100_000),
        warns=["admit 100; the rest will be throttled. It takes 30 pro,"],
    ),
    plan(
        "in windows, and not in the whole run",
        "--rate 1.5 --duration 10m",
        where=target(PIA, budget=100_000),
        says=["about 900 tasks"],
    ),
    plan(
        "spread by the limits of accounts",
        "--rate 18",
        where=target(PIA, BEA, budget=100_000),
        says=["pia: runWorkflow up to 99 of 100", "bea: runWorkflow up to 982 of 1,000"],
    ),
    plan(
        "a second key of an account adds nothing",
        "--rate 3",
        where=target(PIA, persona("second"), budget=100_000),
        warns=["admit 100;"],
    ),
    plan(
        "pro accounts run no models",
        "--rate 50",
        where=target(RUNS_MODELS, budget=100_000),
        user_class=scenario(run_model),
        warns=["It takes 3 business or 1 enterprise keys"],
    ),
    plan(
        "over the budget",
        "--rate 1 --credits 100",
        says=["about 100 credits, at most 100 credits; --credits is 100"],
        warns=["It costs about 300 credits, and 100 may be spent (--credits): it will end early."],
    ),
    plan(
        "no more than the profile allows",
        "--rate 1 --credits 5000",
        where=target(PIA, budget=100),
        says=["at most 100 credits; limits.credits is 100"],
        warns=["100 may be spent (limits.credits)"],
    ),
    plan(
        "no credits",
        "--rate 1 --credits 0",
        says=["at most 0 credits; --credits is 0"],
        warns=["0 may be spent (--credits)"],
    ),
    plan(
        "reads cost nothing, and have no limit",
        "--rate 500",
        user_class=scenario(who_am_i),
        says=["pro (pia, pro): 100%\ncosts   nothing"],
    ),
    plan(
        "prices that are not known yet",
        "--rate 1",
        where=UNPRICED,
        says=[
            "pia: runWorkflow up to 60 of 100",
            "likely about 0 credits, plus 60 runs whose price is unknown, at most 1,000 credits",
            "the server is asked what portrait cost",
        ],
    ),
    plan(
        "a task that is left out",
        "--rate 1",
        user_class=scenario(run_workflow, run_model),
        says=["limits  pia: runWorkflow up to 60 of 100 in 60 s\ncosts"],
        warns=[
            "run_model is left out: pia (pro) lacks a key that holds model:run, for a model, with credits"
        ],
    ),
    plan(
        "each account with its own tasks",
        "--rate 1",
        where=target(PIA, RUNS_MODELS),
        user_class=scenario(*[run_workflow] * 3, run_model),
        says=[
            "keys    pro (pia, pro): 75%, models (bea, business): 25%",
            "pia: runWorkflow up to 45 of 100",
            "bea: runModel up to 15 of 1,000",
            "about 270 credits",
        ],
        warns=["not run: bea-8 (no key may run it), bea-2 (no key may run it)"],
    ),
    plan(
        "the closed model, if answers came at once",
        "--users 2 --duration 60s",
        where=target(PIA, budget=1_000_000),
        says=[
            "closed model, 60 s, 2 users, at most about 122 tasks",
            "pia: runWorkflow up to 122 of 100",
            "likely about 610 credits, at most 1,000,000 credits",
        ],
        warns=["up to 122 runs in 60 s"],
    ),
    plan(
        "stages",
        "--stages 30s:50/s,2m:200/s,30s:0/s",
        user_class=scenario(who_am_i),
        says=["180 s, about 18,750 tasks, at most 200"],
    ),
    plan(
        "think times",
        "--users 3 --duration 8s",
        user_class=scenario(run_workflow, wait_time=constant(2)),
        says=["3 users, at most about 15 tasks"],
    ),
    plan(
        "think times that cannot be foretold",
        "--users 2",
        user_class=scenario(run_workflow, wait_time=constant_pacing(1)),
        says=["at most 1,000 credits"],
    ),
    plan(
        "tasks of one's own",
        "--rate 1",
        user_class=scenario(sing, who_am_i),
        warns=["This plan does not include what sing runs: it knows only the harness's tasks."],
    ),
    plan(
        "a limit that is crossed: refused runs cost nothing",
        "--rate 5",
        where=target(PIA, BEA),
        user_class=scenario(run_cheapest, crosses_limit=True),
        says=["pro (pia, pro): 100%", "at most 400 credits"],
    ),
    plan(
        "a limit that is not crossed",
        "--rate 1",
        where=target(PIA, BEA),
        user_class=scenario(run_cheapest, crosses_limit=True),
        warns=["do not cross the limit of 100"],
    ),
]


def planned(where, *arguments, user_classes, is_asked=True):
    asked = options(*arguments)
    workload = workload_of(where.spending(asked.credits), unknown=None if is_asked else 0.0)
    found = Plan(workload, asked, user_classes, is_asked=is_asked)
    return "\n".join(found.lines()), [*found.left_out(), *found.expected()]


def test_plan_within_the_limits_has_no_warnings():
    lines, warnings = planned(target(PIA), "--rate", "1", user_classes=[RUN])

    assert warnings == []
    assert lines.splitlines() == [
        "load    open model, 60 s, about 60 tasks, at most 1 per second and 1,000 in flight",
        "keys    pro (pia, pro): 100%",
        "limits  pia: runWorkflow up to 60 of 100 in 60 s",
        "costs   likely about 300 credits, at most 480 credits; limits.credits is 1,000",
    ]


@pytest.mark.parametrize(("where", "arguments", "user_class", "says", "warns"), PLANS)
def test_plan_says_who_sends_how_much_and_what_it_costs(where, arguments, user_class, says, warns):
    lines, warnings = planned(where, *arguments, user_classes=[user_class], is_asked=where is not UNPRICED)

    assert [each for each in says if each not in lines] == []
    assert len(warnings) == len(warns)
    assert all(part in warning for part, warning in zip(warns, warnings, strict=True))


def test_account_with_nothing_to_run_is_an_error():
    with pytest.raises(UsageError, match=r"run_workflow is left out: pia \(pro\) lacks a key that"):
        planned(target(PIA, workflows=[]), "--rate", "1", user_classes=[RUN])


def test_account_in_two_scenarios_counts_once():
    lines, _ = planned(target(PIA), "--rate", "1", user_classes=[RUN, scenario(run_workflow)])

    assert "keys    pro (pia, pro): 100%" in lines
    assert "limits  pia: runWorkflow up to 60 of 100 in 60 s" in lines


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

    _, warnings = planned(where, "--rate", "1", user_classes=[RUN])

    assert warnings == ["not run: failing (fails = true), foreign (no key may run it)"]


def test_requested_workflow_that_is_not_run_is_named():
    poor = persona("poor", user="bea", capabilities={"workflow:run"}, credits="none")
    named = [
        Workflow(slug=each, owner=user, cost_credits=8) for each, user in (("own", "pia"), ("hers", "bea"))
    ]
    workload = workload_of(target(PIA, poor, workflows=named), runs_each=True)

    found = Plan(workload, options("--rate", "1"), [scenario(run_workflow)], is_asked=False)

    assert [*found.left_out()] == ["not run: hers (no credits, or not what the tasks need)"]
