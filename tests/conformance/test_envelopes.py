"""Refusals for what is no value of a request: of routes, methods and sizes, and what other tests set up."""

import pytest

from knouds_harness.exchange.created_workflows import fresh_name
from knouds_harness.exchange.evidence import Call, effectless_call
from knouds_harness.judging.checks import envelopes
from knouds_harness.suite.generation.dimensions import USUAL_KEYS
from knouds_harness.targets.needs import MAY_WRITE
from knouds_harness.targets.needs.keys import ANY_KEY, WRITER, key_of
from knouds_harness.targets.needs.runs import FAILS, UNPOLLED_MODEL, every, key_that_runs, once
from knouds_harness.targets.needs.workflows import PRIVATE_WORKFLOW
from knouds_harness.targets.resources import Model, Workflow

LARGE_BYTES = 5_000_000  # twice what any workflow document should need
BLANKS = b" " * 1_500_000


@pytest.mark.independent
@pytest.mark.proves(envelopes.private_public_schema)
@pytest.mark.records("getPublicWorkflowSchema-private", is_named=True)
def test_private_workflow_has_no_public_schema(tester, target):
    """The public schema of a private workflow is a 404, of a private template too, also for its owner."""
    owner = tester.need(PRIVATE_WORKFLOW).owner
    seen = [each for each in target.workflows.values() if each.owner == owner or each.template]

    for workflow in (each for each in seen if not each.public):
        call = Call(path_values={"slug": workflow.slug})
        for persona in dict.fromkeys((None, key_of(target, owner))):
            exchange = tester.send("getPublicWorkflowSchema", persona, call)
            tester.keep("getPublicWorkflowSchema-private", exchange)


@pytest.mark.independent
@pytest.mark.proves(envelopes.async_not_supported)
@pytest.mark.records("runModel-async-not-supported")
def test_async_run_of_an_unpolled_model_is_refused(tester, test_data, target):
    """An async run of a model that is not polled is a 400 ASYNC_NOT_SUPPORTED."""
    key, _ = tester.need(UNPOLLED_MODEL)
    for model in every(UNPOLLED_MODEL)(target):
        operation_id, _, call = test_data.running(model, key, is_async=True)
        tester.send(operation_id, key, call.having(cost_credits=0.0))


@pytest.mark.waits
@pytest.mark.proves(envelopes.provider_failure)
@pytest.mark.parametrize(
    "need",
    [
        pytest.param(
            need,
            id=kind.__name__.lower(),
            marks=[
                pytest.mark.records(f"run{kind.__name__}-provider-failed"),
                pytest.mark.spends.with_args(once(need)),
            ],
        )
        for kind in (Workflow, Model)
        for need in [key_that_runs(kind, having=(FAILS,))]
    ],
)
def test_failure_of_the_provider_is_a_documented_500(tester, test_data, need):
    """A provider's failure is a 500 EXECUTION_FAILED."""
    key, resource = tester.need(need)

    test_data.run(resource, key)


@pytest.mark.independent
@pytest.mark.proves(envelopes.constant_code)
@pytest.mark.operations(ids=("getWorkflow", "getWorkflowSchema", "runWorkflow", "runModel"))
def test_same_cause_gives_same_code(tester, operation):
    """Two unknown resources are refused with one code."""
    key = tester.need(USUAL_KEYS[operation.id])
    earlier, later = (
        tester.send(
            operation.id,
            key,
            effectless_call(operation).having(
                path_values=dict.fromkeys(operation.path_parameters, name), is_deliberate=True
            ),
        )
        for name in ("harness-unknown-one", "harness-unknown-two")
    )

    tester.judge(envelopes.constant_code, later, earlier=earlier)


@pytest.mark.independent
@pytest.mark.proves(envelopes.unknown_route)
@pytest.mark.needs(ANY_KEY)
@pytest.mark.parametrize("path", ["/api/no-such-route", "/api/workflows/a/b/c", "/api", "/no-such-page"])
def test_unknown_route_is_not_found(tester, path):
    """An unknown route is a 404."""
    exchange = tester.send_elsewhere("GET", path, tester.need(ANY_KEY))

    tester.judge(envelopes.unknown_route, exchange)


@pytest.mark.independent
@pytest.mark.proves(envelopes.wrong_method)
@pytest.mark.needs(ANY_KEY, MAY_WRITE)
@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/api/whoami"), ("PATCH", "/api/workflows"), ("POST", "/api/usage"), ("PUT", "/api/health")],
)
def test_method_that_a_path_does_not_have_is_refused(tester, method, path):
    """A method that a path does not have is a 404 or 405."""
    exchange = tester.send_elsewhere(method, path, tester.need(ANY_KEY))

    tester.judge(envelopes.wrong_method, exchange)


@pytest.mark.independent
@pytest.mark.proves(envelopes.oversized_body)
@pytest.mark.needs(WRITER)
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(Call(raw=BLANKS), id="blanks", marks=pytest.mark.records("createWorkflow-too-large")),
        pytest.param(Call(json={"name": "", "description": "x" * LARGE_BYTES}), id="description"),
    ],
)
def test_oversized_body_is_refused(tester, call):
    """An oversized body is refused."""
    if call.raw is None:
        call = call.having(json={**call.json, "description": fresh_name(call.json["description"])})

    exchange = tester.send("createWorkflow", tester.need(WRITER), call)

    tester.judge(envelopes.oversized_body, exchange)
