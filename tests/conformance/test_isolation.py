"""Two users, every resource, every method: neither reaches what is the other's, in either direction."""

from __future__ import annotations

import pytest

from knouds_harness.conformance.authoring import (
    filed,
    folder_of,
    fresh_name,
    make,
    move,
    read,
    run_free,
    write,
)
from knouds_harness.conformance.checks import isolation, usage, workflows
from knouds_harness.conformance.checks.usage import model_ids_of
from knouds_harness.conformance.history import await_rows, read_page, read_rows
from knouds_harness.conformance.needs import FULL_KEY, POLLED_MODEL, STRANGER_KEY, once, usable_models
from knouds_harness.conformance.probe import NO_BODY, UNTESTED, Call

pytestmark = pytest.mark.sequence

BODIES = {
    "runWorkflow": {"inputs": {}},
    "updateWorkflow": {"description": "written by somebody else", "publicPlayground": True},
    "moveWorkflow": {"folderId": None},
}


@pytest.fixture(params=["stranger-on-full", "full-on-stranger"])
def sides(request, probe):
    """Whose it is, and who tries."""
    pair = (probe.need(FULL_KEY), probe.need(STRANGER_KEY))
    return pair if request.param == "stranger-on-full" else pair[::-1]


def tried(probe, operation, intruder, name, value):
    """What an operation answers of a resource that is somebody else's."""
    call = Call(path_values={name: value}, json=BODIES.get(operation.id, NO_BODY))
    return probe.send(operation.id, None if operation.is_public else intruder, call)


@pytest.mark.operations(ids=isolation.ON_WORKFLOWS)
@pytest.mark.proves(isolation.refused, workflows.untouched)
def test_foreign_workflow(probe, subjects, operation, sides):
    """Someone else's private workflow is refused, and is afterwards what it was, as its owner reads it."""
    owner, intruder = sides
    slug, before = filed(probe, subjects, owner, is_public=False)

    probe.judge(isolation.refused, tried(probe, operation, intruder, "slug", slug))

    probe.judge(workflows.untouched, read(probe, owner, slug), before=before)


@pytest.mark.spends.with_args(once(POLLED_MODEL))
@pytest.mark.operations(ids=isolation.ON_EXECUTIONS)
@pytest.mark.proves(isolation.refused, isolation.not_cancelled)
def test_foreign_execution(probe, subjects, operation, sides):
    """Someone else's execution is a 404, and is not cancelled by it, as its owner reads it."""
    owner, intruder = sides
    submitted = subjects.run(probe.need(POLLED_MODEL), owner, is_async=True)
    execution_id = subjects.execution_id_of(submitted)

    probe.judge(isolation.refused, tried(probe, operation, intruder, "id", execution_id))

    poll = probe.send("getExecution", owner, Call(path_values={"id": execution_id}))
    probe.judge(isolation.not_cancelled, poll)


@pytest.mark.proves(workflows.listed)
def test_foreign_workflow_is_not_listed(probe, subjects, sides):
    """What is private does not show in the other's list."""
    owner, intruder = sides
    _, slug = make(subjects, owner, {"name": fresh_name("Mine")})

    probe.judge(workflows.listed, probe.send("listWorkflows", intruder), foreign={slug})


@pytest.mark.proves(isolation.not_received, isolation.still_owned)
def test_foreign_folder(probe, subjects):
    """A workflow that says it is in somebody else's folder neither shows there nor becomes theirs."""
    owner, other = probe.need(STRANGER_KEY), probe.need(FULL_KEY)
    folder_id = folder_of(probe)
    _, slug = make(subjects, owner, {"name": fresh_name("Pushed")})

    move(probe, owner, slug, folder_id)  # whether that is refused is open

    probe.judge(isolation.not_received, probe.send("listWorkflows", other), slug=slug)
    probe.judge(isolation.still_owned, write(probe, owner, slug, {"description": "still mine"}))


@pytest.mark.proves(usage.no_foreign_run)
def test_foreign_runs_are_not_listed(probe, subjects, sides):
    """Usage shows no run of somebody else's, asked for by their workflow's slug or not."""
    owner, intruder = sides
    workflow = subjects.free_workflow(owner)
    known = {row.get("requestId") for row in read_rows(probe, owner)}
    run_free(probe, owner, workflow.slug)

    def new(rows):
        return {row.get("requestId") for row in rows} - known

    foreign = {each for each in new(await_rows(probe, owner, new)) if isinstance(each, str)}
    for page in (read_page(probe, intruder), read_page(probe, intruder, workflowSlug=workflow.slug)):
        probe.judge(usage.no_foreign_run, page, foreign=foreign)


@pytest.mark.spends.with_args(lambda target: cheapest_first(target)[:1])
@pytest.mark.proves(isolation.no_foreign_model)
def test_foreign_models_are_not_listed(probe, subjects):
    """A model that one account runs does not turn up among the models of another."""
    owner, other = probe.need(FULL_KEY), probe.need(STRANGER_KEY)
    listed = usage.listed_models(probe.send("listUsageModels", other)) or []
    model = next((each for each in cheapest_first(probe.target) if each.name not in listed), None)
    if model is None:
        pytest.skip(f"{UNTESTED}a model that the second account does not list already")
    run = subjects.run(model, owner)
    await_rows(probe, owner, lambda rows: any(model.name in model_ids_of(row) for row in rows))

    if run.status == 200:
        probe.judge(isolation.no_foreign_model, probe.send("listUsageModels", other), model=model.name)


def cheapest_first(target):
    """Models that can be run to a good end and have a price."""
    priced = [model for model in usable_models(target) if model.cost_credits is not None]
    return sorted(priced, key=lambda model: model.cost_credits)


@pytest.fixture
def newcomer(probe):
    """A key of an account that never ran anything."""
    probe.minted(set())  # untested where no account can be opened
    account = probe.mint.open_account("enterprise")
    return probe.mint.mint({"workflow:read", "execution:read"}, account=account)


@pytest.mark.proves(isolation.no_rows)
def test_newcomer_has_no_usage(probe, newcomer):
    """Asked for by somebody else's workflow or model too."""
    rows = read_rows(probe, probe.need(FULL_KEY))
    slugs = [str(row["workflowSlug"]) for row in rows if row.get("workflowSlug")]
    models = [each for row in rows for each in model_ids_of(row)]

    probe.judge(isolation.no_rows, read_page(probe, newcomer))
    for slug in slugs[:1]:
        probe.judge(isolation.no_rows, read_page(probe, newcomer, workflowSlug=slug))
    for model in models[:1]:
        probe.judge(isolation.no_rows, read_page(probe, newcomer, modelId=model))


@pytest.mark.proves(isolation.no_models)
def test_newcomer_has_used_no_model(probe, newcomer):
    """Usage models is about one's own history."""
    used = {each for row in read_rows(probe, probe.need(FULL_KEY)) for each in model_ids_of(row)}

    probe.judge(isolation.no_models, probe.send("listUsageModels", newcomer), of_others=used)
