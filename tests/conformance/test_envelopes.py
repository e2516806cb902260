"""Every documented refusal, provoked: its status, its code, its envelope."""

import pytest

from knouds_harness.exchange.effectless_requests import NO_SUCH_MODEL, effectless_call
from knouds_harness.exchange.evidence import NO_BODY, Call
from knouds_harness.exchange.workflow_names import fresh_name
from knouds_harness.judging.checks.envelopes import form, refusals
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.keys import (
    ANY_KEY,
    EXECUTION_CANCELLER,
    EXECUTION_READER,
    MODEL_RUNNER,
    READER,
    TWO_AUTHORS,
    WORKFLOW_RUNNER,
    WRITER,
    key_of,
)
from knouds_harness.targets.needs.need import MAY_READ, MAY_WRITE
from knouds_harness.targets.needs.runs import (
    ASYNC_RUN,
    DISABLED_MODEL,
    ENTERPRISE_MODEL,
    PRO_MODEL_RUN,
    UNPOLLED_MODEL,
    every,
    is_paid,
    key_that_runs,
    once,
)
from knouds_harness.targets.needs.workflows import (
    CANCELLED_BY_STRANGER,
    FOREIGN_WORKFLOW,
    FOREIGN_WORKFLOW_RUN,
    PRIVATE_WORKFLOW,
    READ_BY_STRANGER,
)
from knouds_harness.targets.resources import Model, Workflow

OF_EVERY_REFUSAL = (
    "envelope.error-is-object",
    "envelope.error-has-text",
    "envelope.error-has-code",
    "envelope.no-internals",
    "ground.no-undocumented-server-error",
)
LARGE_BYTES = 5_000_000  # twice what any workflow document should need
BLANKS = b" " * 1_500_000


def for_each(**need_by_operation):
    """Parametrize ``operation_id`` and what sending it needs, with further marks."""
    return pytest.mark.parametrize(
        ("operation_id", "need"),
        [
            pytest.param(operation_id, need, id=operation_id, marks=[pytest.mark.needs(need), *marks])
            for operation_id, (need, *marks) in need_by_operation.items()
        ],
    )


def marks_of(check, *needs):
    """What marks a test of a refusal: it shows what its check claims, and what holds of each refusal."""
    shown = [*check.facts, *OF_EVERY_REFUSAL]
    if check is refusals.unknown_workflow:
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


def refused(name, check, *needs, extra=()):
    """A case of ``operation_id`` and its check that is recorded under this name."""
    marks = [*marks_of(check, *needs), pytest.mark.records(name), *extra]
    return pytest.param(name.partition("-")[0], *needs[-1:], check, id=name, marks=marks)


@pytest.mark.parametrize(
    ("operation_id", "need", "check"),
    [
        refused(f"{operation_id}-{outcome}", check, MAY_READ, need)
        for operation_id, outcome, need, check in (
            ("getWorkflow", "unknown-slug", READER, refusals.unknown_workflow),
            ("getWorkflowSchema", "unknown-slug", READER, refusals.unknown_schema),
            ("updateWorkflow", "unknown-slug", WRITER, refusals.unknown_workflow),
            ("moveWorkflow", "unknown-slug", WRITER, refusals.unknown_workflow),
            ("deleteWorkflow", "unknown-slug", WRITER, refusals.unknown_workflow),
            ("runWorkflow", "unknown", WORKFLOW_RUNNER, refusals.run_unknown_workflow),
            ("runModel", "unknown", MODEL_RUNNER, refusals.unknown_model),
            ("getExecution", "unknown", EXECUTION_READER, refusals.unknown_execution),
            ("cancelExecution", "unknown", EXECUTION_CANCELLER, refusals.unknown_execution),
        )
    ],
)
def test_what_does_not_exist_is_not_found(tester, document, operation_id, need, check):
    """An unknown workflow, model or execution gets the status and code that the sources name for it."""
    call = effectless_call(document.operation_by_id[operation_id])

    tester.send(operation_id, tester.need(need), call)


@provokes(refusals.unknown_schema)
@pytest.mark.records("getPublicWorkflowSchema-unknown-slug")
def test_public_schema_of_an_unknown_workflow_is_not_found(tester, document):
    """The public schema of an unknown workflow is a 404."""
    call = effectless_call(document.operation_by_id["getPublicWorkflowSchema"])

    tester.send("getPublicWorkflowSchema", None, call)


@pytest.mark.parametrize(
    ("operation_id", "need", "check"),
    [
        refused(f"{operation_id}-foreign", refusals.read_foreign_workflow, MAY_READ, FOREIGN_WORKFLOW)
        for operation_id in ("getWorkflow", "getWorkflowSchema")
    ],
)
def test_foreign_private_workflow_cannot_be_read(tester, operation_id, need, check):
    """Someone else's private workflow of the profile is refused, and so is its schema."""
    stranger, workflow = tester.need(need)

    tester.send(operation_id, stranger, Call(path_values={"slug": workflow.slug}))


@provokes(refusals.write_foreign_workflow)
@pytest.mark.needs(TWO_AUTHORS)
@pytest.mark.parametrize(
    ("operation_id", "body"),
    [
        pytest.param(each, body, id=each, marks=pytest.mark.records(f"{each}-foreign"))
        for each, body in (
            ("updateWorkflow", {"description": "Written by the harness."}),
            ("moveWorkflow", {"folderId": None}),
            ("deleteWorkflow", NO_BODY),
        )
    ],
)
def test_foreign_workflow_cannot_be_written(tester, subjects, operation_id, body):
    """A write to someone else's workflow is refused."""
    owner, stranger = tester.need(TWO_AUTHORS)
    call = Call(path_values={"slug": subjects.make_workflow(owner)}, json=body)

    tester.send(operation_id, stranger, call)


def refusal_of(subjects, resource, key, **form):
    """The answer to a run that has to be refused; what an account can pay for costs less than it may."""
    exchange = subjects.run(resource, key, is_refused=True, **form)
    if exchange.is_success and not isinstance(key.credits, str):
        raise Untested(
            f"a run that costs more than the {key.credits:g} credits of keys.{key.name}", "profile"
        )
    return exchange


@pytest.mark.parametrize(
    ("operation_id", "need", "check"),
    [
        refused("runWorkflow-foreign", refusals.run_foreign_workflow, FOREIGN_WORKFLOW_RUN),
        refused("runModel-disabled", refusals.disabled_model, DISABLED_MODEL),
        refused("runModel-above-tier", refusals.model_above_tier, ENTERPRISE_MODEL),
        refused("runModel-under-business", refusals.model_run_under_business, PRO_MODEL_RUN),
        *(
            refused(f"{operation_id}-{outcome}", check, need)
            for operation_id, kind in (("runWorkflow", Workflow), ("runModel", Model))
            for outcome, check, need in (
                ("no-credits", refusals.too_few_credits, key_that_runs(kind, funds="none", fits=is_paid)),
                (
                    "grant-used-up",
                    refusals.exhausted_grant,
                    key_that_runs(kind, funds="exhausted", fits=is_paid),
                ),
            )
        ),
    ],
)
def test_run_is_refused_for_its_reason(tester, subjects, operation_id, need, check):
    """Each reason to refuse a run gets the status and the code that the sources name for it."""
    key, resource = tester.need(need)
    polled = [found for found in need.fitting(tester.target) if found[1].polled]

    for submitter, submitted in polled[:1]:
        tester.judge(check, refusal_of(subjects, submitted, submitter, is_async=True))
    tester.judge(check, refusal_of(subjects, resource, key))  # the last is what is recorded


@provokes(refusals.private_public_schema)
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


@provokes(refusals.foreign_execution)
@pytest.mark.spends.with_args(once(ASYNC_RUN))
@for_each(
    getExecution=(READ_BY_STRANGER, pytest.mark.records("getExecution-foreign")),
    cancelExecution=(CANCELLED_BY_STRANGER, pytest.mark.records("cancelExecution-foreign")),
)
def test_execution_of_another_account_is_not_found(tester, subjects, operation_id, need):
    """Someone else's execution is a 404."""
    (owner, resource), stranger = tester.need(need)
    call = Call(path_values={"id": subjects.execution_id_of(subjects.run(resource, owner, is_async=True))})

    tester.send(operation_id, stranger, call)


@provokes(refusals.unknown_model)
def test_async_run_of_an_unknown_model_is_not_found(tester):
    """An asynchronous run of an unknown model is a 404 MODEL_NOT_FOUND as well."""
    query = (("async", "true"),)
    call = Call(path_values={"internalName": NO_SUCH_MODEL}, query=query, json={"inputs": {}})

    tester.send("runModel", tester.need(MODEL_RUNNER), call)


@provokes(refusals.async_not_supported)
@pytest.mark.records("runModel-async-not-supported")
def test_async_run_of_an_unpolled_model_is_refused(tester, subjects, target):
    """An async run of a model that is not polled is a 400 ASYNC_NOT_SUPPORTED."""
    key, _ = tester.need(UNPOLLED_MODEL)
    for model in every(UNPOLLED_MODEL)(target):
        subjects.run(model, key, is_async=True, is_refused=True)


@pytest.mark.waits
@pytest.mark.parametrize(
    ("operation_id", "need", "check"),
    [
        refused(
            f"{operation_id}-provider-failed",
            refusals.provider_failure,
            need,
            extra=[pytest.mark.spends.with_args(once(need))],
        )
        for operation_id, kind in (("runWorkflow", Workflow), ("runModel", Model))
        for need in [key_that_runs(kind, having="with fails = true", fits=lambda each: each.fails)]
    ],
)
def test_failure_of_the_provider_is_a_documented_500(tester, subjects, operation_id, need, check):
    """A provider's failure is a 500 EXECUTION_FAILED."""
    key, resource = tester.need(need)

    subjects.run(resource, key)


@provokes(refusals.constant_code)
@for_each(
    getWorkflow=(READER,),
    getWorkflowSchema=(READER,),
    runWorkflow=(WORKFLOW_RUNNER,),
    runModel=(MODEL_RUNNER,),
)
def test_same_cause_gives_same_code(tester, document, operation_id, need):
    """Two unknown resources are refused with one code."""
    operation = document.operation_by_id[operation_id]
    earlier, later = (
        tester.send(
            operation_id,
            tester.need(need),
            effectless_call(operation).having(
                path_values=dict.fromkeys(operation.path_parameters, name), is_deliberate=True
            ),
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

    tester.judge(refusals.oversized_body, exchange)
