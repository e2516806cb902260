"""Answers have the documented shape; what all answers share, the tester judges on each of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.exchange.created_workflows import fresh_name, marked
from knouds_harness.exchange.evidence import Call, body_of, status_in
from knouds_harness.judging.checks import schemas, validation
from knouds_harness.suite.generation.strategies import valid_calls
from knouds_harness.targets.needs.keys import ADMIN_KEY, ANY_KEY, AUTHOR, READER
from knouds_harness.targets.needs.rate_limits import LIMITED_KEY
from knouds_harness.targets.needs.runs import (
    ANY_RUN,
    ASYNC_RUN,
    CANCELLED_RUN,
    FAILING_ASYNC_RUN,
    MODEL_RUN,
    WORKFLOW_RUN,
    every,
    once,
)
from knouds_harness.targets.needs.workflows import (
    EDITED_WORKFLOW,
    FILED_WORKFLOW,
    OWN_WORKFLOW,
    PUBLIC_WORKFLOW,
    WITHOUT_GENERATOR,
    WITHOUT_REQUEST_INPUT,
)

FIRST = {"getWorkflow": "getWorkflow-document", "getWorkflowSchema": "getWorkflowSchema-fields"}
DESCRIBED = {
    **dict.fromkeys(("createWorkflow", "updateWorkflow", "moveWorkflow"), AUTHOR),
    "listUsage": ANY_KEY,
}
"""Operations whose requests a schema describes, with the key that they are sent with."""


def shows_success(*operation_ids, needs, also=()):
    """Mark a test that needs this to see operations succeed, and so shows the shapes of their successes."""

    def mark(function):
        marked = pytest.mark.needs(*needs)(pytest.mark.succeeds(*operation_ids)(function))
        return shows(schemas.body, *also)(marked)

    return mark


def shows(*checks):
    return pytest.mark.proves(*checks, schemas.body, schemas.headers, schemas.status_is_documented)


@pytest.mark.independent
@shows_success("getWhoami", needs=(ANY_KEY,))
@pytest.mark.records("getWhoami-admin", needs=(ADMIN_KEY,), is_named=True)
@pytest.mark.records("getWhoami-pro", needs=(LIMITED_KEY,), is_named=True)
@pytest.mark.records("getWhoami-user", needs=(ANY_KEY,), is_named=True)
def test_whoami_has_its_documented_shape(tester, personas):
    """Whoami has its documented shape for every key that works."""
    tester.keep("getWhoami-user", tester.send("getWhoami", tester.need(ANY_KEY)))
    for persona in personas:
        exchange = tester.send("getWhoami", persona)
        tester.keep(f"getWhoami-{'admin' if persona.role == 'admin' else persona.tier}", exchange)


@pytest.mark.independent
@shows_success("listWorkflows", needs=(READER,), also=(validation.bodiless,))
@pytest.mark.shows("workflows.list-is-array")
@pytest.mark.records("listWorkflows-summaries")
def test_list_has_its_documented_shape(tester):
    """Summaries have their documented shape."""
    tester.send("listWorkflows", tester.need(READER))


@pytest.mark.independent
@shows(schemas.cost_without_generator)
def test_estimated_cost_without_generator_node_is_null(tester, target):
    """Without a generator node the estimated cost is null."""
    exchange = tester.send("listWorkflows", tester.need(WITHOUT_GENERATOR).key)

    slugs = frozenset(workflow.slug for workflow in target.workflows.values() if not workflow.has_generator)
    tester.judge(schemas.cost_without_generator, exchange, slugs=slugs)


@pytest.mark.independent
@shows(schemas.cost_as_in_schema)
def test_list_and_schema_agree_on_the_cost(tester, target):
    """In the list, a workflow has an estimated cost where its schema has one, else null."""
    owner, _ = tester.need(OWN_WORKFLOW)
    estimates = {}
    for workflow in [each for each in target.workflows.values() if each.owner == owner.user][:5]:
        exchange = tester.send("getWorkflowSchema", owner, Call(path_values={"slug": workflow.slug}))
        if "estimatedCreditCost" in body_of(exchange):
            estimates[workflow.slug] = body_of(exchange)["estimatedCreditCost"]

    tester.judge(schemas.cost_as_in_schema, tester.send("listWorkflows", owner), estimates=estimates)


@pytest.mark.independent
@shows_success("getWorkflow", "getWorkflowSchema", needs=(OWN_WORKFLOW,))
@pytest.mark.parametrize(
    "operation_id",
    [
        pytest.param(
            "getWorkflow",
            marks=[
                pytest.mark.records("getWorkflow-in-folder", needs=(FILED_WORKFLOW,), is_named=True),
                pytest.mark.records("getWorkflow-document", is_named=True),
            ],
        ),
        pytest.param(
            "getWorkflowSchema",
            marks=[
                pytest.mark.records("getWorkflowSchema-every-field", needs=(PUBLIC_WORKFLOW,), is_named=True),
                pytest.mark.records("getWorkflowSchema-fields", is_named=True),
            ],
        ),
    ],
    ids=str,
)
def test_own_workflows_and_their_schemas_have_the_documented_shape(tester, target, operation_id):
    """Every workflow of one's own, and its schema, has the documented shape."""
    owner, _ = tester.need(OWN_WORKFLOW)

    for workflow in target.workflows.values():
        if workflow.owner == owner.user:
            exchange = tester.send(operation_id, owner, Call(path_values={"slug": workflow.slug}))
            tester.keep(FIRST[operation_id], exchange)
            if workflow.in_folder:
                tester.keep("getWorkflow-in-folder", exchange)
            if workflow.public:
                tester.keep("getWorkflowSchema-every-field", exchange)


@pytest.mark.independent
@shows(schemas.no_request_input)
@pytest.mark.needs(AUTHOR)
def test_schema_of_an_empty_workflow_has_no_fields(tester, test_data):
    """The schema of a workflow that was made without nodes has no fields."""
    owner = tester.need(AUTHOR)
    call = Call(path_values={"slug": test_data.make_workflow(owner)})

    tester.judge(schemas.no_request_input, tester.send("getWorkflowSchema", owner, call))


@pytest.mark.independent
@shows(schemas.no_request_input)
@pytest.mark.needs(WITHOUT_REQUEST_INPUT)
@pytest.mark.records("getWorkflowSchema-no-fields")
def test_schema_without_request_input_node_has_no_fields(tester):
    """The schema of a workflow without a Request Input node has no fields."""
    reader, workflow = tester.need(WITHOUT_REQUEST_INPUT)
    call = Call(path_values={"slug": workflow.slug})

    tester.judge(schemas.no_request_input, tester.send("getWorkflowSchema", reader, call))


@pytest.mark.independent
@shows(schemas.public_schema)
@pytest.mark.succeeds("getPublicWorkflowSchema")
@pytest.mark.records("getPublicWorkflowSchema-public")
def test_public_schema_leaves_out_the_cost(tester):
    """The public schema of a public workflow is served, without the cost."""
    call = Call(path_values={"slug": tester.need(PUBLIC_WORKFLOW).slug})

    tester.judge(schemas.public_schema, tester.send("getPublicWorkflowSchema", None, call))


@pytest.mark.independent
@shows(schemas.public_pricing)
@pytest.mark.succeeds("getPublicPricing")
@pytest.mark.records("getPublicPricing-tiers")
def test_pricing_is_served_to_everybody(tester):
    """Public pricing is served to everybody, as JSON."""
    tester.send("getPublicPricing", None)


@pytest.mark.independent
@shows(schemas.public_health)
@pytest.mark.succeeds("getHealth")
@pytest.mark.records("getHealth-up")
@pytest.mark.shows("ground.responses-are-json-objects", "ground.json-content-type")
def test_health_is_served_to_everybody(tester):
    """Health is served to everybody, as JSON."""
    tester.send("getHealth", None)


@pytest.mark.independent
@shows(schemas.round_trip)
@pytest.mark.records("createWorkflow-as-read", 200, 201)
def test_workflow_as_read_can_be_created_again(tester, test_data):
    """A workflow as read can be sent back to create."""
    owner, workflow = tester.need(EDITED_WORKFLOW)
    read = tester.send("getWorkflow", owner, Call(path_values={"slug": workflow.slug}))

    created = tester.send("createWorkflow", owner, Call(json=marked(read.json_or_none())))

    tester.judge(schemas.round_trip, created)


@pytest.mark.independent
@shows_success("createWorkflow", "updateWorkflow", "moveWorkflow", "deleteWorkflow", needs=(AUTHOR,))
@pytest.mark.records("createWorkflow-created", 200, 201)
def test_writes_answer_in_their_assumed_shape(tester, test_data):
    """Create, update, move and delete answer in their assumed shape."""
    owner = tester.need(AUTHOR)
    values = {"slug": test_data.make_workflow(owner, name=fresh_name("scratch"))}

    tester.send(
        "updateWorkflow", owner, Call(path_values=values, json={"description": "written by the harness"})
    )
    tester.send("moveWorkflow", owner, Call(path_values=values, json={"folderId": None}))
    tester.send("getWorkflow", owner, Call(path_values=values))
    tester.send("deleteWorkflow", owner, Call(path_values=values))


@pytest.mark.waits
@pytest.mark.spends.with_args(every(WORKFLOW_RUN))
@shows_success("runWorkflow", needs=(WORKFLOW_RUN,))
def test_runs_of_workflows_have_the_documented_shape(tester, test_data):
    """A run of every workflow of one's own has the documented shape."""
    key, _ = tester.need(WORKFLOW_RUN)
    test_data.run_at_once([(key, each) for each in every(WORKFLOW_RUN)(tester.target)])


@pytest.mark.waits
@pytest.mark.spends.with_args(every(MODEL_RUN))
@shows_success("runModel", needs=(MODEL_RUN,))
def test_runs_of_models_have_the_documented_shape(tester, test_data):
    """A run of every model has the documented shape."""
    key, _ = tester.need(MODEL_RUN)
    test_data.run_at_once([(key, each) for each in every(MODEL_RUN)(tester.target)])


@pytest.mark.waits
@pytest.mark.spends.with_args(once(ASYNC_RUN, FAILING_ASYNC_RUN))
@shows(schemas.submitted)
@pytest.mark.succeeds("getExecution")
@pytest.mark.shows("async.submit-status-code", "async.submit-shape", "async.submit-is-processing")
@pytest.mark.shows("async.execution-id-is-uuid", "async.poll-url-leads-to-execution")
@pytest.mark.shows("async.webhook-delivery-shape", "execution.completed-has-result")
@pytest.mark.shows("execution.failed-has-error", FAILING_ASYNC_RUN)
def test_execution_from_submit_to_end(tester, test_data):
    """A submit, each poll and the ending, good or bad, have the documented shape."""
    runs = list(filter(None, [tester.need(ASYNC_RUN), FAILING_ASYNC_RUN.met_by(tester.target)]))
    submits = [test_data.run(resource, key, is_async=True) for key, resource in runs]
    for (key, resource), submitted in zip(runs, submits, strict=True):
        tester.judge(schemas.submitted, submitted)
        test_data.await_end(submitted, key, deadline_s=resource.deadline_s)


@pytest.mark.spends.with_args(once(CANCELLED_RUN))
@shows_success("cancelExecution", needs=(CANCELLED_RUN,), also=(validation.bodiless,))
def test_cancel_answers_in_its_assumed_shape(tester, test_data):
    """Cancelling, without a body, answers in its assumed shape, in flight and again after the end."""
    key, resource = tester.need(CANCELLED_RUN)
    submitted = test_data.run(resource, key, is_async=True)
    call = Call(path_values={"id": test_data.execution_id_of(submitted)})

    cancelled = tester.send("cancelExecution", key, call)
    poll = tester.send("getExecution", key, call)
    if poll.is_success and status_in(poll) not in ("completed", "failed"):
        # where the provider was faster, a 400 may be about that
        tester.judge(validation.bodiless, cancelled)
    tester.send("cancelExecution", key, call)


@shows_success("listUsage", needs=(ANY_KEY,))
@pytest.mark.shows("usage.row-shape", "usage.row-status-closed", "usage.source-closed", ANY_RUN)
@pytest.mark.shows("usage.no-provider-ids", ANY_RUN)
@pytest.mark.shows("usage.slim-has-no-workflow", MODEL_RUN)
@pytest.mark.parametrize(
    "query",
    [
        pytest.param({}, marks=pytest.mark.records("listUsage-rows")),
        {"status": "processing"},
        {"status": "completed"},
        pytest.param({"status": "failed"}, marks=pytest.mark.records("listUsage-failed-rows")),
        pytest.param({"limit": "2", "offset": "1"}, marks=pytest.mark.records("listUsage-page")),
    ],
    ids=str,
)
def test_usage_has_its_documented_shape(tester, query):
    """Usage has the documented shape, filtered or not."""
    tester.send("listUsage", tester.need(ANY_KEY), Call(query=tuple(query.items())))


@shows_success("listUsageModels", needs=(ANY_KEY,))
@pytest.mark.records("listUsageModels-models")
def test_usage_models_has_one_of_its_assumed_shapes(tester):
    """Usage models has one of its assumed shapes."""
    tester.send("listUsageModels", tester.need(ANY_KEY))


@pytest.mark.independent
@pytest.mark.thorough
@shows(schemas.body)
@pytest.mark.parametrize(("operation_id", "need"), DESCRIBED.items(), ids=DESCRIBED)
@given(data=st.data())
def test_valid_request_is_answered_in_shape(tester, test_data, operation_id, need, data):
    """Whatever the schema of a request admits, the answer has the documented shape."""
    call = data.draw(valid_calls(tester.document, operation_id))
    if "slug" in call.path_values:
        call = call.having(path_values={"slug": test_data.scratch_slug})

    exchange = tester.send(operation_id, tester.need(need), call)

    assert not tester.findings_about(exchange)
