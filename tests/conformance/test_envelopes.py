"""Every documented refusal, provoked: its status, its code, its envelope."""

from __future__ import annotations

import pytest

from knouds_harness.conformance.checks import envelopes, refusals
from knouds_harness.conformance.needs import (
    BROKE_KEY,
    BROKE_POLLED_WORKFLOW,
    BROKE_WORKFLOW,
    BUSINESS_KEY,
    CONTROL,
    DISABLED_MODEL,
    ENTERPRISE_MODEL,
    EXHAUSTED_KEY,
    EXHAUSTED_WORKFLOW,
    FAILING_WORKFLOW,
    FULL_KEY,
    OWN_POLLED_WORKFLOW,
    OWN_PRIVATE_WORKFLOW,
    POLLED_MODEL,
    PRO_MODEL_KEY,
    STRANGER_KEY,
    UNPOLLED_MODEL,
    USABLE_MODEL,
    once,
)
from knouds_harness.conformance.probe import UNTESTED, Call
from knouds_harness.conformance.subjects import NO_SUCH_MODEL, harmless_call

LARGE_BYTES = 5_000_000  # twice what any workflow document should need


def provokes(check):
    """Mark a test that provokes a refusal: the envelope's own checks judge it too."""
    return pytest.mark.proves(
        check,
        envelopes.envelope,
        envelopes.code_fits_status,
        envelopes.context_fields,
        envelopes.no_internals,
        envelopes.json_content_type,
        envelopes.no_server_error,
        envelopes.throttled_headers,
    )


@provokes(refusals.UNKNOWN_WORKFLOW)
@pytest.mark.parametrize("operation_id", ["getWorkflow", "updateWorkflow", "moveWorkflow", "deleteWorkflow"])
def test_unknown_workflow(probe, document, operation_id):
    """An unknown slug is a 404 on read and write."""
    operation = document.operation_by_id[operation_id]

    exchange = probe.send(operation_id, probe.need(FULL_KEY), harmless_call(operation))

    probe.judge(refusals.UNKNOWN_WORKFLOW, exchange)


@provokes(refusals.UNKNOWN_SCHEMA)
@pytest.mark.parametrize("operation_id", ["getWorkflowSchema", "getPublicWorkflowSchema"])
def test_unknown_schema(probe, document, operation_id):
    """The schema of an unknown slug is a 404."""
    operation = document.operation_by_id[operation_id]
    persona = None if operation.is_public else probe.need(FULL_KEY)

    exchange = probe.send(operation_id, persona, harmless_call(operation))

    probe.judge(refusals.UNKNOWN_SCHEMA, exchange)


@provokes(refusals.PRIVATE_PUBLIC_SCHEMA)
def test_public_schema_of_private_workflow(probe, target):
    """The public schema of a private workflow is a 404, of a private template too, also for its owner."""
    owner = probe.need(OWN_PRIVATE_WORKFLOW).owner
    seen = [each for each in target.workflows.values() if each.owner == owner or each.template]

    for workflow in (each for each in seen if not each.public):
        call = Call(path_values={"slug": workflow.slug})
        for persona in (None, FULL_KEY.find(target)):
            exchange = probe.send("getPublicWorkflowSchema", persona, call)
            probe.judge(refusals.PRIVATE_PUBLIC_SCHEMA, exchange)


@provokes(refusals.RUN_UNKNOWN_WORKFLOW)
def test_run_of_unknown_workflow(probe, document):
    """Running an unknown workflow is a 404."""
    call = harmless_call(document.operation_by_id["runWorkflow"])

    exchange = probe.send("runWorkflow", probe.need(FULL_KEY), call)

    probe.judge(refusals.RUN_UNKNOWN_WORKFLOW, exchange)


@provokes(refusals.RUN_FOREIGN_WORKFLOW)
def test_run_of_foreign_workflow(probe, subjects):
    """Running someone else's private workflow is a 404."""
    exchange = subjects.run(probe.need(OWN_PRIVATE_WORKFLOW), probe.need(STRANGER_KEY))

    probe.judge(refusals.RUN_FOREIGN_WORKFLOW, exchange)


@provokes(refusals.RUN_FOREIGN_WORKFLOW)
def test_async_run_of_foreign_workflow(probe, subjects):
    """Running someone else's private workflow asynchronously is a 404 as well."""
    workflow = probe.need(OWN_POLLED_WORKFLOW)
    if workflow.public or workflow.template:
        pytest.skip(f"{UNTESTED}a private workflow of the full key's account with polled = true")

    exchange = subjects.run(workflow, probe.need(STRANGER_KEY), is_async=True)

    probe.judge(refusals.RUN_FOREIGN_WORKFLOW, exchange)


@provokes(refusals.READ_FOREIGN_WORKFLOW)
@pytest.mark.parametrize("operation_id", ["getWorkflow", "getWorkflowSchema"])
def test_read_of_foreign_workflow(probe, operation_id):
    """Someone else's private workflow cannot be read."""
    call = Call(path_values={"slug": probe.need(OWN_PRIVATE_WORKFLOW).slug})

    exchange = probe.send(operation_id, probe.need(STRANGER_KEY), call)

    probe.judge(refusals.READ_FOREIGN_WORKFLOW, exchange)


@provokes(refusals.WRITE_FOREIGN_WORKFLOW)
@pytest.mark.parametrize("operation_id", ["updateWorkflow", "moveWorkflow", "deleteWorkflow"])
def test_write_of_foreign_workflow(probe, subjects, document, operation_id):
    """Someone else's workflow cannot be written."""
    call = subjects.call_on_existing(document.operation_by_id[operation_id])

    exchange = probe.send(operation_id, probe.need(STRANGER_KEY), call)

    probe.judge(refusals.WRITE_FOREIGN_WORKFLOW, exchange)


@provokes(refusals.UNKNOWN_EXECUTION)
@pytest.mark.parametrize("operation_id", ["getExecution", "cancelExecution"])
def test_unknown_execution(probe, document, operation_id):
    """An unknown execution is a 404."""
    call = harmless_call(document.operation_by_id[operation_id])

    exchange = probe.send(operation_id, probe.need(FULL_KEY), call)

    probe.judge(refusals.UNKNOWN_EXECUTION, exchange)


@provokes(refusals.FOREIGN_EXECUTION)
@pytest.mark.parametrize("operation_id", ["getExecution", "cancelExecution"])
def test_foreign_execution(probe, subjects, operation_id):
    """Someone else's execution is a 404."""
    call = Call(path_values={"id": subjects.execution_id})

    exchange = probe.send(operation_id, probe.need(STRANGER_KEY), call)

    probe.judge(refusals.FOREIGN_EXECUTION, exchange)


@provokes(refusals.UNKNOWN_MODEL)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_unknown_model(probe, is_async):
    """An unknown model is a 404 MODEL_NOT_FOUND."""
    query = (("async", "true"),) if is_async else ()
    call = Call(path_values={"internalName": NO_SUCH_MODEL}, query=query, json={"inputs": {}})

    exchange = probe.send("runModel", probe.need(FULL_KEY), call)

    probe.judge(refusals.UNKNOWN_MODEL, exchange)


@provokes(refusals.DISABLED_MODEL_REFUSED)
def test_disabled_model(probe, subjects):
    """A disabled model is a 404 MODEL_NOT_FOUND."""
    exchange = subjects.run(probe.need(DISABLED_MODEL), probe.need(FULL_KEY))

    probe.judge(refusals.DISABLED_MODEL_REFUSED, exchange)


@provokes(refusals.MODEL_ABOVE_TIER)
def test_model_above_tier(probe, subjects):
    """A model above the account's tier is a 403 MODEL_TIER_REQUIRED."""
    exchange = subjects.run(probe.need(ENTERPRISE_MODEL), probe.need(BUSINESS_KEY))

    probe.judge(refusals.MODEL_ABOVE_TIER, exchange)


@provokes(refusals.MODEL_RUN_UNDER_BUSINESS)
def test_model_run_under_business(probe, subjects):
    """A model run of an account under business is a 403."""
    exchange = subjects.run(probe.need(USABLE_MODEL), probe.need(PRO_MODEL_KEY))

    probe.judge(refusals.MODEL_RUN_UNDER_BUSINESS, exchange)


@provokes(refusals.ASYNC_NOT_SUPPORTED)
def test_async_run_of_unpolled_model(probe, subjects, target):
    """An async run of a model that is not polled is a 400 ASYNC_NOT_SUPPORTED."""
    probe.need(UNPOLLED_MODEL)
    for model in target.models.values():
        if not (model.polled or model.disabled or model.fails or model.needs_tier == "enterprise"):
            exchange = subjects.run(model, probe.need(FULL_KEY), is_async=True)
            probe.judge(refusals.ASYNC_NOT_SUPPORTED, exchange)


@provokes(refusals.TOO_FEW_CREDITS)
def test_too_few_credits(probe, subjects):
    """A run without enough credits is a 402 INSUFFICIENT_CREDITS."""
    exchange = subjects.run(probe.need(BROKE_WORKFLOW), probe.need(BROKE_KEY))

    probe.judge(refusals.TOO_FEW_CREDITS, exchange)


@provokes(refusals.TOO_FEW_CREDITS)
def test_too_few_credits_for_an_async_run(probe, subjects):
    """An asynchronous run without enough credits is refused when it is submitted."""
    if CONTROL.find(probe.target) is None:
        exchange = subjects.run(probe.need(BROKE_POLLED_WORKFLOW), probe.need(BROKE_KEY), is_async=True)
        probe.judge(refusals.TOO_FEW_CREDITS, exchange)
        return
    model = probe.need(POLLED_MODEL)
    if probe.price(model) == 0:
        pytest.skip(f"{UNTESTED}a polled model that costs anything")
    account = probe.mint.open_account("business", credits=0)

    exchange = subjects.run(model, probe.mint.mint({"model:run"}, account=account), is_async=True)

    probe.judge(refusals.TOO_FEW_CREDITS, exchange)


@provokes(refusals.EXHAUSTED_GRANT)
def test_exhausted_grant(probe, subjects):
    """A run on a used-up trial grant is a 402 grant_exhausted."""
    exchange = subjects.run(probe.need(EXHAUSTED_WORKFLOW), probe.need(EXHAUSTED_KEY))

    probe.judge(refusals.EXHAUSTED_GRANT, exchange)


@pytest.mark.spends.with_args(once(FAILING_WORKFLOW))
@provokes(refusals.PROVIDER_FAILURE)
def test_provider_failure(probe, subjects):
    """A provider's failure is a 500 EXECUTION_FAILED."""
    exchange = subjects.run(probe.need(FAILING_WORKFLOW), probe.need(FULL_KEY))

    probe.judge(refusals.PROVIDER_FAILURE, exchange)


@provokes(envelopes.constant_code)
@pytest.mark.parametrize("operation_id", ["getWorkflow", "getWorkflowSchema", "runWorkflow", "runModel"])
def test_same_cause_gives_same_code(probe, document, operation_id):
    """Two unknown resources are refused with one code."""
    operation = document.operation_by_id[operation_id]
    earlier, later = (
        probe.send(
            operation_id,
            probe.need(FULL_KEY),
            harmless_call(operation).having(path_values=dict.fromkeys(operation.path_parameters, name)),
        )
        for name in ("harness-unknown-one", "harness-unknown-two")
    )

    probe.judge(envelopes.constant_code, later, earlier=earlier)


@provokes(envelopes.unknown_route)
@pytest.mark.parametrize("path", ["/api/no-such-route", "/api/workflows/a/b/c", "/api", "/no-such-page"])
def test_unknown_route(probe, path):
    """An unknown route is a 404."""
    exchange = probe.send_elsewhere("GET", path, probe.need(FULL_KEY))

    probe.judge(envelopes.unknown_route, exchange)


@provokes(envelopes.wrong_method)
@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/api/whoami"), ("PATCH", "/api/workflows"), ("POST", "/api/usage"), ("PUT", "/api/health")],
)
def test_wrong_method(probe, method, path):
    """A method that a path does not have is a 404 or 405."""
    exchange = probe.send_elsewhere(method, path, probe.need(FULL_KEY))

    probe.judge(envelopes.wrong_method, exchange)


@provokes(envelopes.oversized_body)
def test_oversized_body(probe):
    """An oversized body is refused."""
    call = Call(json={"name": "", "description": "x" * LARGE_BYTES})

    exchange = probe.send("createWorkflow", probe.need(FULL_KEY), call)

    probe.judge(envelopes.oversized_body, exchange)
