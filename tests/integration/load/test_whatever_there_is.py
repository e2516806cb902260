"""Scenarios with what an ordinary customer has: one key, a workflow or a model."""

import pytest
from example_targets import CLIP, IMAGE, PORTRAIT, PRO, SmallProfile
from loading import load

from knouds_harness.errors import ExitCode

SHORT = ("--rate", "4", "--duration", "3s", "--quiet", "--seed", "1")
RUNS_MODELS = ("model:run", "execution:read", "execution:cancel")
FOLLOWED = {"getExecution"}
CANCELLED = {"getExecution", "cancelExecution"}


@pytest.fixture
def small(tmp_path, sandbox):
    return SmallProfile(folder=tmp_path, sandbox=sandbox)


def run(tmp_path, scenario, profile):
    loaded = load(tmp_path / "runs", scenario, "--target", profile.written(), "--verify", *SHORT)

    assert loaded.exit_code in {ExitCode.KEPT, ExitCode.INVALID_MEASUREMENT}, loaded.out + loaded.err
    assert all(each.outcomes["kept"] == each.requests for each in loaded.results.operations)
    return loaded


def sent(loaded):
    return {each.operation for each in loaded.results.operations}


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("scenario", "operations"),
    [
        ("sync_runs", {"runWorkflow"}),
        ("async_cycles", {"runWorkflow async"} | FOLLOWED),
        ("cancels", {"runWorkflow async"} | CANCELLED),
    ],
)
def test_one_key_and_one_polled_workflow_are_enough(tmp_path, small, scenario, operations):
    profile = small.key("full", PRO, user="ada", tier="enterprise").resource(CLIP)

    assert sent(run(tmp_path, scenario, profile)) == operations


@pytest.mark.nightly
def test_mix_of_one_pro_key_and_one_workflow_leaves_out_what_cannot_be_done(tmp_path, small):
    """And says which task, and why, before it begins and in the record."""
    profile = small.key("pro", PRO, user="pia", tier="pro").resource(PORTRAIT)

    loaded = run(tmp_path, "mixed", profile)

    assert sent(loaded) <= {
        *("runWorkflow", "getWhoami", "listWorkflows", "getWorkflowSchema", "listUsage"),
        *("createWorkflow", "getWorkflow", "updateWorkflow", "moveWorkflow", "deleteWorkflow"),
    }
    for task in ("run_model", "follow_run", "cancel_run"):
        assert f"warning: {task} is left out: pia (pro) lacks " in loaded.err
        assert f"{task} is left out" in loaded.results.note


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("scenario", "operations"),
    [
        ("sync_runs", {"runModel"}),
        ("async_cycles", {"runModel async"} | FOLLOWED),
        ("cancels", {"runModel async"} | CANCELLED),
    ],
)
def test_models_alone_are_enough(tmp_path, small, scenario, operations):
    profile = small.key("business", RUNS_MODELS, user="bea", tier="business").resource(IMAGE)

    assert sent(run(tmp_path, scenario, profile)) == operations


@pytest.mark.nightly
def test_keys_of_one_account_share_the_work(tmp_path, small):
    """One runs, another polls, a third cancels: none of them may do what the others do."""
    for capability in ("workflow:run", "execution:read", "execution:cancel"):
        name = f"only-{capability.replace(':', '-')}"
        small.key(name, (capability,), user="ada", tier="enterprise")

    loaded = run(tmp_path, "cancels", small.resource(CLIP))

    assert sent(loaded) == {"runWorkflow async"} | CANCELLED


@pytest.mark.nightly
def test_key_bound_to_one_workflow_runs_it(tmp_path, small):
    profile = small.key("bound-workflow", ("workflow:portrait:run",), user="ada", tier="enterprise")

    loaded = run(tmp_path, "sync_runs", profile.resource(PORTRAIT.replace("pia-", "").replace("pia", "ada")))

    assert sent(loaded) == {"runWorkflow"}


@pytest.mark.nightly
def test_key_that_holds_nothing_reads_what_any_key_may(tmp_path, small):
    """The smallest profile: who it is, what was used, health and prices."""
    profile = small.key("none", (), user="ada", tier="enterprise")

    loaded = run(tmp_path, "reads", profile)

    assert sent(loaded) <= {"getWhoami", "listUsage", "getPublicPricing", "getHealth"}
    assert "list_workflows is left out: ada (enterprise) lacks a key that holds workflow:read" in loaded.err


def test_several_accounts_contribute(tmp_path, small):
    """The pro account runs its workflow, the business account models."""
    profile = (
        small.key("pro", PRO, user="pia", tier="pro")
        .key("business", RUNS_MODELS, user="bea", tier="business")
        .resource(PORTRAIT)
        .resource(IMAGE)
    )

    assert sent(run(tmp_path, "sync_runs", profile)) == {"runWorkflow", "runModel"}


@pytest.mark.nightly
@pytest.mark.parametrize("scenario", ["async_cycles", "cancels"])
@pytest.mark.parametrize("plan_only", [("--plan-only",), ()], ids=["plan", "run"])
def test_where_nothing_is_left_the_plan_and_the_run_say_the_same(tmp_path, small, scenario, plan_only):
    profile = small.key("bound-workflow", ("workflow:portrait:run",), user="ada", tier="enterprise")

    loaded = load(tmp_path / "runs", scenario, "--target", profile.written(), *plan_only, *SHORT)

    assert loaded.exit_code == ExitCode.USAGE
    assert "ada (enterprise) lacks a key that holds execution:read" in loaded.err
    assert "a workflow with polled = true" in loaded.err
    assert loaded.found is None
