"""Every documented refusal, provoked: its status, its code, its envelope."""

from __future__ import annotations

import pytest

from knouds_harness.contract.document import shipped_document
from knouds_harness.exchange.workflow_names import fresh_name
from knouds_harness.judging.checks.envelopes import form, refusals
from knouds_harness.suite.outcomes import all_outcomes
from knouds_harness.suite.outcomes.outcome import nothing
from knouds_harness.suite.support.call import Call
from knouds_harness.suite.support.subjects import NO_SUCH_MODEL, effectless_call
from knouds_harness.targets.needs.keys import ANY_KEY, MODEL_RUNNER, READER, WORKFLOW_RUNNER, WRITER, key_of
from knouds_harness.targets.needs.need import MAY_WRITE
from knouds_harness.targets.needs.runs import (
    ASYNC_RUN,
    BROKE_ASYNC_RUN,
    FAILING_RUN,
    UNPOLLED_MODEL,
    every,
    once,
)
from knouds_harness.targets.needs.strangers import CANCELLED_BY_STRANGER, READ_BY_STRANGER
from knouds_harness.targets.needs.workflows import FOREIGN_ASYNC_RUN, PRIVATE_WORKFLOW

OF_EVERY_REFUSAL = (
    "envelope.error-is-object",
    "envelope.error-has-text",
    "envelope.error-has-code",
    "envelope.no-internals",
    "ground.no-undocumented-server-error",
)
LARGE_BYTES = 5_000_000  # twice what any workflow document should need


def for_each(**need_by_operation):
    """Parametrize ``operation_id`` and what sending it needs; None where it needs no key."""
    return pytest.mark.parametrize(
        ("operation_id", "need"),
        [
            pytest.param(operation_id, need, id=operation_id, marks=pytest.mark.needs(need) if need else ())
            for operation_id, need in need_by_operation.items()
        ],
    )


def marks_of(check, *needs):
    """What marks a test of a refusal: it shows what its check claims, and what holds of each refusal."""
    shown = [*check.facts, *OF_EVERY_REFUSAL]
    if check is refusals.UNKNOWN_WORKFLOW:
        shown.append("envelope.unknown-workflow-404-has-code")
    marks = [pytest.mark.proves(check, form.envelope), pytest.mark.needs(*needs)]
    return [*marks, *map(pytest.mark.shows, shown)]


def provokes(check):
    """Mark a test with ``marks_of`` a check."""

    def mark(function):
        for each in marks_of(check):
            function = each(function)
        return function

    return mark


def refused_outcomes():
    """The outcomes that are refusals of one request, besides those for which the rate is the reason."""
    for outcome in all_outcomes(shipped_document()):
        check = next(iter(outcome.checks), None)
        is_alone = outcome.spends is nothing and outcome.story is None and 429 not in outcome.statuses
        if is_alone and check is not None and check.family == "envelopes":
            marks = marks_of(check, *outcome.needs)
            yield pytest.param(outcome, check, id="-".join(outcome.name), marks=marks)


@pytest.mark.parametrize(("outcome", "check"), list(refused_outcomes()))
def test_provoked_outcome_is_the_documented_refusal(tester, resources, outcome, check):
    """Each cause gets the status and the code that the sources name for it."""
    exchange = outcome.provoke(resources)

    tester.judge(check, exchange)


@provokes(refusals.PRIVATE_PUBLIC_SCHEMA)
def test_private_workflow_has_no_public_schema(tester, target):
    """The public schema of a private workflow is a 404, of a private template too, also for its owner."""
    owner = tester.need(PRIVATE_WORKFLOW).owner
    seen = [each for each in target.workflows.values() if each.owner == owner or each.template]

    for workflow in (each for each in seen if not each.public):
        call = Call(path_values={"slug": workflow.slug})
        for persona in dict.fromkeys((None, key_of(target, owner))):
            exchange = tester.send("getPublicWorkflowSchema", persona, call)
            tester.judge(refusals.PRIVATE_PUBLIC_SCHEMA, exchange)


@provokes(refusals.RUN_FOREIGN_WORKFLOW)
@pytest.mark.needs(FOREIGN_ASYNC_RUN)
def test_async_run_of_a_foreign_workflow_is_not_found(tester, subjects):
    """Running someone else's private workflow asynchronously is a 404 as well."""
    stranger, workflow = tester.need(FOREIGN_ASYNC_RUN)

    exchange = subjects.run(workflow, stranger, is_async=True, is_refused=True)

    tester.judge(refusals.RUN_FOREIGN_WORKFLOW, exchange)


@provokes(refusals.FOREIGN_EXECUTION)
@pytest.mark.spends.with_args(once(ASYNC_RUN))
@for_each(getExecution=READ_BY_STRANGER, cancelExecution=CANCELLED_BY_STRANGER)
def test_execution_of_another_account_is_not_found(tester, subjects, operation_id, need):
    """Someone else's execution is a 404."""
    (owner, resource), stranger = tester.need(need)
    call = Call(path_values={"id": subjects.execution_id_of(subjects.run(resource, owner, is_async=True))})

    exchange = tester.send(operation_id, stranger, call)

    tester.judge(refusals.FOREIGN_EXECUTION, exchange)


@provokes(refusals.UNKNOWN_MODEL)
def test_async_run_of_an_unknown_model_is_not_found(tester):
    """An asynchronous run of an unknown model is a 404 MODEL_NOT_FOUND as well."""
    query = (("async", "true"),)
    call = Call(path_values={"internalName": NO_SUCH_MODEL}, query=query, json={"inputs": {}})

    exchange = tester.send("runModel", tester.need(MODEL_RUNNER), call)

    tester.judge(refusals.UNKNOWN_MODEL, exchange)


@provokes(refusals.ASYNC_NOT_SUPPORTED)
def test_async_run_of_an_unpolled_model_is_refused(tester, subjects, target):
    """An async run of a model that is not polled is a 400 ASYNC_NOT_SUPPORTED."""
    key, _ = tester.need(UNPOLLED_MODEL)
    for model in every(UNPOLLED_MODEL)(target):
        exchange = subjects.run(model, key, is_async=True, is_refused=True)
        tester.judge(refusals.ASYNC_NOT_SUPPORTED, exchange)


@provokes(refusals.TOO_FEW_CREDITS)
@pytest.mark.needs(BROKE_ASYNC_RUN)
def test_async_run_without_enough_credits_is_refused_at_submit(tester, subjects):
    """An asynchronous run without enough credits is refused when it is submitted."""
    key, resource = tester.need(BROKE_ASYNC_RUN)

    exchange = subjects.run(resource, key, is_async=True, is_refused=True)

    tester.judge(refusals.TOO_FEW_CREDITS, exchange)


@pytest.mark.waits
@pytest.mark.spends.with_args(once(FAILING_RUN))
@provokes(refusals.PROVIDER_FAILURE)
def test_failure_of_the_provider_is_a_documented_500(tester, subjects):
    """A provider's failure is a 500 EXECUTION_FAILED."""
    key, resource = tester.need(FAILING_RUN)

    exchange = subjects.run(resource, key)

    tester.judge(refusals.PROVIDER_FAILURE, exchange)


@provokes(refusals.constant_code)
@for_each(getWorkflow=READER, getWorkflowSchema=READER, runWorkflow=WORKFLOW_RUNNER, runModel=MODEL_RUNNER)
def test_same_cause_gives_same_code(tester, document, operation_id, need):
    """Two unknown resources are refused with one code."""
    operation = document.operation_by_id[operation_id]
    earlier, later = (
        tester.send(
            operation_id,
            tester.need(need),
            effectless_call(operation).having(path_values=dict.fromkeys(operation.path_parameters, name)),
        )
        for name in ("harness-unknown-one", "harness-unknown-two")
    )

    tester.judge(refusals.constant_code, later, earlier=earlier)


@provokes(refusals.unknown_route)
@pytest.mark.needs(ANY_KEY)
@pytest.mark.parametrize("path", ["/api/no-such-route", "/api/workflows/a/b/c", "/api", "/no-such-page"])
def test_unknown_route_is_not_found(tester, path):
    """An unknown route is a 404."""
    exchange = tester.send_elsewhere("GET", path, tester.need(ANY_KEY))

    tester.judge(refusals.unknown_route, exchange)


@provokes(refusals.wrong_method)
@pytest.mark.needs(ANY_KEY, MAY_WRITE)
@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/api/whoami"), ("PATCH", "/api/workflows"), ("POST", "/api/usage"), ("PUT", "/api/health")],
)
def test_method_that_a_path_does_not_have_is_refused(tester, method, path):
    """A method that a path does not have is a 404 or 405."""
    exchange = tester.send_elsewhere(method, path, tester.need(ANY_KEY))

    tester.judge(refusals.wrong_method, exchange)


@provokes(refusals.oversized_body)
@pytest.mark.needs(WRITER)
def test_oversized_body_is_refused(tester):
    """An oversized body is refused."""
    call = Call(json={"name": "", "description": fresh_name("x" * LARGE_BYTES)})

    exchange = tester.send("createWorkflow", tester.need(WRITER), call)

    tester.judge(refusals.oversized_body, exchange)
