"""Answers have the documented shape; what all answers share, the probe judges on each of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.conformance.checks import envelopes, schemas
from knouds_harness.conformance.generation import valid_calls
from knouds_harness.conformance.needs import (
    FAILING_POLLED_MODEL,
    FULL_KEY,
    LIMITED_KEY,
    LIMITED_WORKFLOW,
    OWN_POLLED_WORKFLOW,
    OWN_WORKFLOW,
    POLLED_MODEL,
    PUBLIC_WORKFLOW,
    once,
    own_workflows,
    usable_models,
)
from knouds_harness.conformance.probe import Call
from knouds_harness.conformance.statuses import body_of
from knouds_harness.conformance.subjects import SCRATCH_NAME


def shows(*checks):
    """Mark a test whose answers show the documented shapes."""
    return pytest.mark.proves(
        *checks, schemas.body, schemas.headers, schemas.status_is_documented, envelopes.json_object
    )


@pytest.mark.independent
@shows(schemas.body)
def test_whoami(probe, personas):
    """Whoami has its documented shape for every key that works."""
    for persona in personas:
        probe.send("getWhoami", persona)


@shows(schemas.cost_without_generator)
def test_list(probe, target):
    """Summaries have their documented shape; without a generator node the estimated cost is null."""
    exchange = probe.send("listWorkflows", probe.need(FULL_KEY))

    slugs = frozenset(workflow.slug for workflow in target.workflows.values() if not workflow.has_generator)
    probe.judge(schemas.cost_without_generator, exchange, slugs=slugs)


@shows(schemas.cost_as_in_schema)
def test_list_and_schema_agree_on_the_cost(probe, target):
    """In the list, a workflow has an estimated cost where its schema has one, else null."""
    owner = probe.need(FULL_KEY)
    estimates = {}
    for workflow in [each for each in target.workflows.values() if each.owner == owner.user][:5]:
        exchange = probe.send("getWorkflowSchema", owner, Call(path_values={"slug": workflow.slug}))
        if "estimatedCreditCost" in body_of(exchange):
            estimates[workflow.slug] = body_of(exchange)["estimatedCreditCost"]

    probe.judge(schemas.cost_as_in_schema, probe.send("listWorkflows", owner), estimates=estimates)


@pytest.mark.independent
@shows(schemas.body)
@pytest.mark.parametrize("operation_id", ["getWorkflow", "getWorkflowSchema"])
def test_own_workflows(probe, target, operation_id):
    """Every workflow of one's own, and its schema, has the documented shape."""
    owner = probe.need(FULL_KEY)

    for workflow in target.workflows.values():
        if workflow.owner == owner.user:
            probe.send(operation_id, owner, Call(path_values={"slug": workflow.slug}))


@shows(schemas.no_request_input)
def test_schema_without_request_input(probe):
    """The schema of a workflow without a Request Input node has no fields."""
    call = Call(path_values={"slug": probe.need(schemas.WITHOUT_REQUEST_INPUT).slug})

    probe.judge(schemas.no_request_input, probe.send("getWorkflowSchema", probe.need(FULL_KEY), call))


@shows(schemas.public_schema)
def test_public_schema(probe):
    """The public schema of a public workflow is served, without the cost."""
    call = Call(path_values={"slug": probe.need(PUBLIC_WORKFLOW).slug})

    probe.judge(schemas.public_schema, probe.send("getPublicWorkflowSchema", None, call))


@shows(schemas.public_pricing)
def test_public_pricing(probe):
    """Public pricing is served to everybody, as JSON."""
    probe.judge(schemas.public_pricing, probe.send("getPublicPricing", None))


@shows(schemas.public_health)
def test_health(probe):
    """Health is served to everybody, as JSON."""
    probe.judge(schemas.public_health, probe.send("getHealth", None))


@shows(schemas.round_trip)
def test_round_trip(probe, subjects):
    """A workflow as read can be sent back to create."""
    owner = probe.need(FULL_KEY)
    read = probe.send("getWorkflow", owner, Call(path_values={"slug": probe.need(OWN_WORKFLOW).slug}))

    created = probe.send("createWorkflow", owner, Call(json=read.json_or_none()))
    subjects.note_created(created)

    probe.judge(schemas.round_trip, created)


@shows(schemas.body)
def test_writes(probe, subjects):
    """Create, update, move and delete answer in their assumed shape."""
    owner = probe.need(FULL_KEY)
    values = {"slug": subjects.make_workflow(name=SCRATCH_NAME)}

    probe.send(
        "updateWorkflow", owner, Call(path_values=values, json={"description": "written by the harness"})
    )
    probe.send("moveWorkflow", owner, Call(path_values=values, json={"folderId": None}))
    probe.send("getWorkflow", owner, Call(path_values=values))
    probe.send("deleteWorkflow", owner, Call(path_values=values))


@pytest.mark.spends.with_args(own_workflows)
@shows(schemas.body)
def test_workflow_runs(probe, subjects, target):
    """A run of every workflow of one's own has the documented shape."""
    for workflow in own_workflows(target):
        subjects.run(workflow, probe.need(FULL_KEY))


@pytest.mark.spends.with_args(usable_models)
@shows(schemas.body)
def test_model_runs(probe, subjects, target):
    """A run of every model has the documented shape."""
    for model in usable_models(target):
        subjects.run(model, probe.need(FULL_KEY))


@pytest.mark.spends.with_args(once(LIMITED_WORKFLOW))
@shows(schemas.limited_run_headers)
def test_rate_limit_headers(probe, subjects):
    """A run of an account on a limited tier carries the three rate-limit headers."""
    exchange = subjects.run(probe.need(LIMITED_WORKFLOW), probe.need(LIMITED_KEY))

    probe.judge(schemas.limited_run_headers, exchange)


@pytest.mark.spends.with_args(once(POLLED_MODEL, FAILING_POLLED_MODEL))
@shows(schemas.ended, schemas.submitted)
def test_execution_from_submit_to_end(probe, subjects):
    """A submit, each poll and the ending, good or bad, have the documented shape."""
    models = [probe.need(POLLED_MODEL), probe.need(FAILING_POLLED_MODEL)]
    submits = [subjects.run(model, probe.need(FULL_KEY), is_async=True) for model in models]
    for model, submitted in zip(models, submits, strict=True):
        probe.judge(schemas.submitted, submitted)
        probe.judge(schemas.ended, subjects.await_end(submitted, deadline_s=model.deadline_s))


@pytest.mark.spends.with_args(once(OWN_POLLED_WORKFLOW))
@shows(schemas.submitted)
def test_workflow_submit(probe, subjects):
    """A submit of a workflow has the documented shape."""
    probe.judge(
        schemas.submitted, subjects.run(probe.need(OWN_POLLED_WORKFLOW), probe.need(FULL_KEY), is_async=True)
    )


@pytest.mark.spends.with_args(once(POLLED_MODEL))
@shows(schemas.body)
def test_cancel(probe, subjects):
    """Cancelling answers in its assumed shape, in flight and again after the end."""
    submitted = subjects.run(probe.need(POLLED_MODEL), probe.need(FULL_KEY), is_async=True)
    call = Call(path_values={"id": subjects.execution_id_of(submitted)})

    probe.send("cancelExecution", probe.need(FULL_KEY), call)
    probe.send("getExecution", probe.need(FULL_KEY), call)
    probe.send("cancelExecution", probe.need(FULL_KEY), call)


@shows(schemas.body)
@pytest.mark.parametrize("status", [None, "processing", "completed", "failed"])
def test_usage(probe, status):
    """Usage has the documented shape, filtered or not."""
    probe.send("listUsage", probe.need(FULL_KEY), Call(query=(("status", status),) if status else ()))


@shows(schemas.body)
def test_usage_models(probe):
    """Usage models has one of its assumed shapes."""
    probe.send("listUsageModels", probe.need(FULL_KEY))


@pytest.mark.independent
@pytest.mark.thorough
@shows(schemas.body)
@pytest.mark.parametrize("operation_id", ["createWorkflow", "updateWorkflow", "moveWorkflow", "listUsage"])
@given(data=st.data())
def test_valid_request_is_answered_in_shape(probe, subjects, operation_id, data):
    """Whatever the schema of a request admits, the answer has the documented shape."""
    call = data.draw(valid_calls(probe.document, operation_id))
    if "slug" in call.path_values:
        call = call.having(path_values={"slug": subjects.scratch_slug})

    exchange = probe.send(operation_id, probe.need(FULL_KEY), call)
    subjects.note_created(exchange)

    assert not probe.findings_about(exchange)
