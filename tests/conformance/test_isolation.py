"""Two users, every resource, every method: neither reaches what is the other's, in either direction."""

import pytest

from knouds_harness.exchange.created_workflows import fresh_name
from knouds_harness.exchange.evidence import NO_BODY, Call
from knouds_harness.exchange.usage import listed_models, model_ids_of
from knouds_harness.judging.checks import envelopes, isolation, usage, workflows
from knouds_harness.suite.selection import operations_for
from knouds_harness.suite.support.usage_rows import await_rows, read_page, read_rows
from knouds_harness.suite.support.workflow_authoring import filed, folder_of, move, read, run_free, write
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs import CONTROL
from knouds_harness.targets.needs.keys import ANY_KEY, TWO_AUTHORS, TWO_AUTHORS_WHO_RUN
from knouds_harness.targets.needs.runs import once, usable_models
from knouds_harness.targets.needs.workflows import (
    CANCELLED_BY_STRANGER,
    FILED_AND_STRANGER,
    MODEL_RUN_AND_STRANGER,
    OTHER_CANCELLED_BY_STRANGER,
    OTHER_READ_BY_STRANGER,
    READ_BY_STRANGER,
)

pytestmark = pytest.mark.sequence

REFUSED = {
    "runWorkflow": envelopes.run_foreign_workflow,
    "getWorkflowSchema": envelopes.read_foreign_workflow,
    "getPublicWorkflowSchema": envelopes.private_public_schema,
    "getWorkflow": envelopes.read_foreign_workflow,
    "updateWorkflow": envelopes.write_foreign_workflow,
    "moveWorkflow": envelopes.write_foreign_workflow,
    "deleteWorkflow": envelopes.write_foreign_workflow,
}
BODIES = {
    "runWorkflow": {"inputs": {}},
    "updateWorkflow": {"description": "written by somebody else", "publicPlayground": True},
    "moveWorkflow": {"folderId": None},
}


in_both_directions = pytest.mark.parametrize("order", [1, -1], ids=["stranger-on-owner", "owner-on-stranger"])


def tried(tester, operation, intruder, name, value):
    call = Call(path_values={name: value}, json=BODIES.get(operation.id, NO_BODY))
    return tester.send(operation.id, None if operation.is_public else intruder, call)


@pytest.mark.independent
@in_both_directions
@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(each, id=each.id, marks=pytest.mark.shows(*REFUSED[each.id].facts))
        for each in operations_for(ids=REFUSED)
    ],
)
@pytest.mark.proves(*dict.fromkeys(REFUSED.values()), workflows.untouched)
@pytest.mark.needs(TWO_AUTHORS)
def test_private_workflow_is_refused_to_others_and_stays_as_it_was(tester, test_data, operation, order):
    """Someone else's private workflow is refused, and is afterwards what it was, as its owner reads it."""
    need = TWO_AUTHORS_WHO_RUN if operation.id == "runWorkflow" else TWO_AUTHORS
    owner, intruder = tester.need(need)[::order]
    slug, before = filed(tester, test_data, owner, is_public=False)

    tried(tester, operation, intruder, "slug", slug)

    tester.judge(workflows.untouched, read(tester, owner, slug), before=before)


@pytest.mark.independent
@pytest.mark.parametrize(
    ("operation_id", "need"),
    [
        pytest.param(
            operation_id,
            need,
            id=f"{operation_id}-{order}",
            marks=[
                pytest.mark.spends.with_args(once(need)),
                pytest.mark.records(f"{operation_id}-foreign", needs=(need,), is_named=True),
            ],
        )
        for operation_id, need, order in (
            ("getExecution", READ_BY_STRANGER, "stranger-on-owner"),
            ("getExecution", OTHER_READ_BY_STRANGER, "owner-on-stranger"),
            ("cancelExecution", CANCELLED_BY_STRANGER, "stranger-on-owner"),
            ("cancelExecution", OTHER_CANCELLED_BY_STRANGER, "owner-on-stranger"),
        )
    ],
)
@pytest.mark.proves(envelopes.foreign_execution, isolation.not_cancelled)
@pytest.mark.shows("execution.foreign-is-404")
def test_execution_is_hidden_from_others_and_not_cancelled_by_them(
    tester, test_data, document, operation_id, need
):
    """Someone else's execution is a 404, and is not cancelled by it, as its owner reads it."""
    (owner, resource), intruder = tester.need(need)
    submitted = test_data.run(resource, owner, is_async=True)
    execution_id = test_data.execution_id_of(submitted)

    hidden = tried(tester, document.operation_by_id[operation_id], intruder, "id", execution_id)
    tester.keep(f"{operation_id}-foreign", hidden)

    poll = tester.send("getExecution", owner, Call(path_values={"id": execution_id}))
    tester.judge(isolation.not_cancelled, poll)


@pytest.mark.independent
@pytest.mark.proves(isolation.not_received, workflows.creator_may)
def test_workflow_moved_to_a_foreign_folder_does_not_show_there(tester, test_data):
    """A workflow that says it is in somebody else's folder neither shows there nor becomes theirs."""
    (other, _), owner = tester.need(FILED_AND_STRANGER)
    folder_id = folder_of(tester)
    slug = test_data.make_workflow(owner, name=fresh_name("Pushed"))

    move(tester, owner, slug, folder_id)  # whether that is refused is open

    tester.judge(isolation.not_received, tester.send("listWorkflows", other), slug=slug)
    write(tester, owner, slug, {"description": "still mine"})


@in_both_directions
@pytest.mark.proves(usage.no_foreign_run)
@pytest.mark.needs(TWO_AUTHORS_WHO_RUN)
def test_foreign_runs_are_not_listed(tester, test_data, order):
    """Usage shows no run of somebody else's, asked for by their workflow's slug or not."""
    owner, intruder = tester.need(TWO_AUTHORS_WHO_RUN)[::order]
    workflow = test_data.free_workflow(owner)
    known = {row.get("requestId") for row in read_rows(tester, owner)}
    run_free(tester, owner, workflow.slug)

    def new(rows):
        return {row.get("requestId") for row in rows} - known

    foreign = {each for each in new(await_rows(tester, owner, new)) if isinstance(each, str)}
    for page in (read_page(tester, intruder), read_page(tester, intruder, workflowSlug=workflow.slug)):
        tester.judge(usage.no_foreign_run, page, foreign=foreign)


# Which models the second account lists already is not known before: at most the dearest is left.
@pytest.mark.spends.with_args(lambda target: cheapest_first(target)[-1:])
@pytest.mark.proves(isolation.no_foreign_model)
def test_foreign_models_are_not_listed(tester, test_data):
    """A model that one account runs does not turn up among the models of another."""
    (owner, _), other = tester.need(MODEL_RUN_AND_STRANGER)
    listed = listed_models(tester.send("listUsageModels", other))
    if listed is None:
        raise Untested("a list of the second account's models")
    model = next((each for each in cheapest_first(tester.target) if each.name not in listed), None)
    if model is None:
        raise Untested("a model that the second account does not list already", "profile")
    run = test_data.run(model, owner)
    await_rows(tester, owner, lambda rows: any(model.name in model_ids_of(row) for row in rows))

    if run.status == 200:
        tester.judge(isolation.no_foreign_model, tester.send("listUsageModels", other), model=model.name)


def cheapest_first(target):
    """Models that can be run to a good end and have a price."""
    priced = [model for model in usable_models(target) if model.cost_credits is not None]
    return sorted(priced, key=lambda model: model.cost_credits)


@pytest.fixture
def newcomer(tester):
    """A key of an account that never ran anything."""
    tester.need(CONTROL)  # untested where no account can be opened
    account = tester.mint.open_account("enterprise")
    return tester.mint.mint({"workflow:read", "execution:read"}, account=account)


@pytest.mark.proves(isolation.no_rows)
def test_newcomer_has_no_usage(tester, newcomer):
    """Asked for by somebody else's workflow or model too."""
    rows = read_rows(tester, tester.need(ANY_KEY))
    slugs = [str(row["workflowSlug"]) for row in rows if row.get("workflowSlug")]
    models = [each for row in rows for each in model_ids_of(row)]

    tester.judge(isolation.no_rows, read_page(tester, newcomer))
    for slug in slugs[:1]:
        tester.judge(isolation.no_rows, read_page(tester, newcomer, workflowSlug=slug))
    for model in models[:1]:
        tester.judge(isolation.no_rows, read_page(tester, newcomer, modelId=model))


@pytest.mark.proves(isolation.no_models)
def test_newcomer_has_used_no_model(tester, newcomer):
    """Usage models is about one's own history."""
    used = {each for row in read_rows(tester, tester.need(ANY_KEY)) for each in model_ids_of(row)}

    tester.judge(isolation.no_models, tester.send("listUsageModels", newcomer), of_others=used)
