"""Which account does which task, and in which order."""

import re
from collections import Counter
from itertools import islice

import pytest
from load_workload import persona, scenario, target, workload_of

from knouds_harness.errors import GuardStop, UsageError
from knouds_harness.load.tasks import (
    TASK_BY_NAME,
    cancel_run,
    follow_run,
    list_usage,
    list_workflows,
    read_health,
    read_pricing,
    read_schema,
    run_cheapest,
    run_model,
    run_workflow,
    who_am_i,
    workflow_crud,
)
from knouds_harness.load.workload.workload import SharedTask, UserTasks, shares
from knouds_harness.targets.resources import Limits, Model, Workflow

RUNS_WORKFLOWS = {"workflow:run"}
ALL_TASKS = tuple(TASK_BY_NAME.values())
PIA = persona(capabilities=RUNS_WORKFLOWS)
BEA = persona("business", user="bea", tier="business", capabilities={"model:run", "execution:read"})
ADA = persona("full", user="ada", tier="enterprise", capabilities=RUNS_WORKFLOWS)
WORKFLOW = Workflow(slug="portrait", owner="pia", cost_credits=8)
CLIP = Workflow(slug="clip", owner="pia", polled=True, cost_credits=80)
MODEL = Model(name="gpt-image-2", polled=True, cost_credits=20)


def done(where, *tasks):
    parts = workload_of(where).task_resources(scenario(*tasks))
    return {part.task: [each.user for each in part.accounts] for part in parts}


def why(where, task):
    (reason,) = workload_of(where).left_out(scenario(task))
    return reason


@pytest.mark.parametrize(
    ("capabilities", "tasks"),
    [
        ((), {who_am_i, list_usage, read_pricing, read_health}),
        (("workflow:read",), {list_workflows, read_schema}),
        (("workflow:run",), {run_workflow}),
        (("workflow:portrait:run",), {run_workflow}),
        (("workflow:*",), {run_workflow, list_workflows, read_schema, workflow_crud}),
        (("workflow:read", "workflow:write"), {list_workflows, read_schema, workflow_crud}),
        (("model:run",), {run_model}),
        (("model:gpt-image-2:run",), {run_model}),
        (("model:*", "execution:*"), {run_model, follow_run, cancel_run}),
        (("workflow:run", "execution:read"), {run_workflow, follow_run}),
        (("workflow:clip:run", "execution:read", "execution:cancel"), {run_workflow, follow_run, cancel_run}),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, tuple) else "",
)
def test_one_key_does_all_tasks_that_it_may(capabilities, tasks):
    """With any form of capability, workflows alone or models alone."""
    key = persona(tier="business", capabilities=capabilities)
    without = {who_am_i, list_usage, read_pricing, read_health}

    assert set(done(target(key, workflows=[WORKFLOW, CLIP], models=[MODEL]), *ALL_TASKS)) == tasks | without


def test_what_needs_no_key_is_done_without_any():
    """No header stands for one; what needs a key is left out."""
    bare = target()
    workload = workload_of(bare)

    parts = workload.task_resources(scenario(*ALL_TASKS))
    turns = [next(workload.turns(part)) for part in parts]

    assert {part.task for part in parts} == {read_pricing, read_health}
    assert [dict(turn.sender_headers).get("x-api-key") for turn in turns] == [None, None]
    assert [keys for _, _, keys, _ in workload.account_tasks([scenario(*ALL_TASKS)])] == [(), ()]
    assert "an active key" in why(bare, who_am_i)


def test_keys_of_one_account_share_a_task():
    keys = [
        persona("runs", capabilities={"workflow:run"}),
        persona("reads", capabilities={"execution:read"}),
        persona("cancels", capabilities={"execution:cancel"}),
    ]
    where = target(*keys, workflows=[CLIP])
    (turn,) = islice(UserTasks(scenario(cancel_run), workload_of(where)).turns[cancel_run], 1)

    assert turn.persona.name == "runs"
    assert {operation: key.name for operation, key in turn.others.items()} == {
        "getExecution": "reads",
        "cancelExecution": "cancels",
    }


def test_keys_of_different_accounts_share_no_task():
    stranger = persona("stranger", user="x", capabilities={"execution:read"})

    assert why(target(PIA, stranger, workflows=[CLIP]), follow_run) == (
        "follow_run is left out: pia (pro) lacks a key that holds execution:read"
    )


def test_several_accounts_contribute_what_each_can():
    where = target(PIA, BEA, workflows=[WORKFLOW], models=[MODEL])

    assert done(where, run_workflow, run_model, follow_run) == {
        run_workflow: ["pia"],
        run_model: ["bea"],
        follow_run: ["bea"],
    }


def test_mix_is_kept_across_accounts():
    user_class = scenario(run_workflow, run_workflow, run_workflow, run_model, workflow_crud)
    parts = workload_of(target(PIA, BEA, workflows=[WORKFLOW], models=[MODEL])).task_resources(user_class)

    assert {part.task: part.share for part in parts} == {run_workflow: 0.75, run_model: 0.25}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((PIA, ADA), ["ada"]),
        ((PIA, persona("gone", user="x", state="revoked")), ["pia"]),
        ((PIA, persona("root", user="x", role="admin")), ["pia"]),
        ((PIA, persona("broke", user="x", credits="none")), ["pia"]),
        ((PIA, persona("free", user="x", tier="free")), ["pia"]),
        ((PIA, persona("deaf", user="x", capabilities={"model:run"})), ["pia"]),
        ((PIA, persona("second", user="x", capabilities={"workflow:run"})), ["pia", "x"]),
    ],
)
def test_accounts_without_a_rate_limit_send_all_runs(keys, expected):
    workflows = [Workflow(slug=f"of-{key.user}", owner=key.user, cost_credits=1) for key in keys]

    assert done(target(*keys, workflows=workflows), run_workflow) == {run_workflow: expected}


def test_account_without_credits_still_reads():
    broke = persona(capabilities={"workflow:run"}, credits="none")

    assert set(done(target(broke, workflows=[WORKFLOW]), who_am_i, run_workflow)) == {who_am_i}


BIG = Model(name="big", needs_tier="enterprise", cost_credits=1)
LACKS = {
    "pia (pro) lacks a key that holds workflow:run, for a workflow of its account, with credits": (
        target(persona(capabilities=()), workflows=[WORKFLOW]),
        run_workflow,
    ),
    "pia (pro) lacks cost_credits of portrait: the price is unknown": (
        target(PIA, workflows=[Workflow(slug="portrait", owner="pia")]),
        run_workflow,
    ),
    "pia (pro) lacks a key that holds model:run, for a model, with credits (models take the tier business "
    "or enterprise)": (target(persona(capabilities={"model:run"}), models=[MODEL]), run_model),
    "bea (business) lacks a key that holds model:run, for a model, with credits": (
        target(BEA, models=[BIG]),
        run_model,
    ),
    "bea (business) lacks a key that holds execution:read, a key that holds workflow:run or model:run, for a "
    "workflow or model with polled = true, with credits": (
        target(persona(user="bea", tier="business", capabilities=()), models=[MODEL]),
        follow_run,
    ),
    "it needs an active key of an account that may hold keys (pro and above), not an administrator's": (
        target(persona(state="revoked"), workflows=[WORKFLOW]),
        who_am_i,
    ),
    "it needs an account of the tier pro or business": (
        target(ADA, workflows=[Workflow(slug="w", owner="ada", cost_credits=1)]),
        run_cheapest,
    ),
    'it needs "run" in limits.allow': (
        target(PIA, workflows=[WORKFLOW], limits=Limits(credits=1)),
        run_workflow,
    ),
}


@pytest.mark.parametrize(("lacks", "where", "task"), [(says, *of) for says, of in LACKS.items()], ids=LACKS)
def test_task_left_out_names_what_is_missing(lacks, where, task):
    user_class = scenario(task, crosses_limit=task is run_cheapest)
    (reason,) = workload_of(where).left_out(user_class)

    assert reason == f"{task.__name__} is left out: {lacks}"
    refused = GuardStop if "limits.allow" in lacks else UsageError
    with pytest.raises(refused, match=f"nothing of Scenario can be done: {re.escape(reason)}"):
        workload_of(where).task_resources(user_class)


@pytest.mark.parametrize(
    ("keys", "expected"), [((PIA, BEA), ["pia"]), ((BEA,), ["bea"])], ids=["both", "business"]
)
def test_account_with_the_lowest_limit_crosses_it(keys, expected):
    """That costs least; an account without a workflow runs a model."""
    where = target(*keys, workflows=[WORKFLOW, CLIP], models=[MODEL])
    (part,) = workload_of(where).task_resources(scenario(run_cheapest, crosses_limit=True))

    assert [each.user for each in part.accounts] == expected
    (run_request,) = part.accounts[0].run_requests(*part.needs)
    assert run_request.cost_credits == (8 if expected == ["pia"] else 20)


def test_custom_task_gets_a_key_for_the_scenarios_needs():
    def sing(_user):
        pass

    where = target(persona("runs", capabilities={"workflow:run"}), persona("able"), workflows=[WORKFLOW])
    needs = ("workflow:run", "webhook:receive")
    role = UserTasks(scenario(sing, who_am_i, needs=needs), workload_of(where))

    assert next(role.turns[sing]).persona.name == "able"
    assert role.own_tasks == {sing}
    assert workload_of(where).left_out(scenario(sing, needs=("workflow:write",))) == [
        "sing is left out: pia (pro) lacks a key that holds workflow:write"
    ]


def accounts(*keys):
    return workload_of(target(*keys)).accounts


def test_turns_keep_the_shares_at_all_times():
    """Accounts alternate as evenly as they can; none gets ten turns in a row and then waits."""
    bea = persona("business", user="bea", tier="business")
    workload = workload_of(target(PIA, bea))
    (part,) = workload.task_resources(scenario(who_am_i))
    in_turn = [each.account.user for each in islice(workload.turns(part), 110)]

    assert Counter(in_turn) == {"bea": 100, "pia": 10}
    assert all(Counter(in_turn[start : start + 11])["pia"] == 1 for start in range(100))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((ADA, persona("other", user="x", tier="enterprise")), (0.5, 0.5)),
        ((PIA, persona("partner", user="x", tier="partner")), (0.5, 0.5)),
        ((PIA, BEA), (1 / 11, 10 / 11)),
    ],
    ids=["no limits", "a limit that no source tells", "by limits"],
)
def test_tasks_are_shared_by_rate_limit(keys, expected):
    assert shares(accounts(*keys)) == pytest.approx(expected)


def test_every_task_declares_its_needs():
    """So that none fails at its first turn because something is missing."""
    assert all(isinstance(each, SharedTask) for each in (*ALL_TASKS, run_cheapest))


def test_requested_workflows_are_run_by_every_account_that_may():
    """If none are requested, accounts without a rate limit do the whole task."""
    theirs = Workflow(slug="hers", owner="ada", cost_credits=8)
    where = target(PIA, BEA, ADA, workflows=[WORKFLOW, theirs])
    task = scenario(run_workflow)

    run = [
        {each.path for each in workload_of(where, runs_each=asked).run_requests([task])}
        for asked in (False, True)
    ]

    assert run == [{"/api/workflows/hers/run"}, {"/api/workflows/hers/run", "/api/workflows/portrait/run"}]
