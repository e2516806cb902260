"""Synchronous runs take their defaults, and cost what they should."""

from dataclasses import replace

import pytest

from knouds_harness.contract.operations import RUN_OPERATIONS
from knouds_harness.exchange.created_workflows import fresh_name
from knouds_harness.exchange.evidence import Call, body_of, objects_in
from knouds_harness.exchange.usage import MAX_LIMIT
from knouds_harness.judging.checks import runs, schemas, usage
from knouds_harness.suite.generation.dimensions import BODY, run_call
from knouds_harness.suite.generation.walk import Walk
from knouds_harness.suite.support.usage_rows import (
    is_used_by_others,
    read_page,
    row_of_request,
    row_once_settled,
    run_with_row,
)
from knouds_harness.suite.support.workflow_authoring import doubled, graph_of
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.keys import ADMIN_MODEL_RUNNER
from knouds_harness.targets.needs.rate_limits import FREE_RUNNER
from knouds_harness.targets.needs.runs import (
    CHARGED_ASYNC_RUN,
    COUNTED_MODEL_RUN,
    COUNTED_WORKFLOW_RUN,
    EDITED_WORKFLOW_RUN,
    FREE_WORKFLOW_RUN,
    MODEL_RUN,
    READ_WORKFLOW_RUN,
    WORKFLOW_RUN,
    charged_first,
    key_that_runs,
    once,
)
from knouds_harness.targets.needs.workflows import ANY_MODEL
from knouds_harness.targets.resources import Model, Workflow

FREE_TEXTS = ("text", "textarea")


def of_both_kinds(workflow, model, *, times, records=None):
    """Parametrize what is run, and spent so many times; have an outcome of both recorded."""
    return pytest.mark.parametrize(
        "need",
        [
            pytest.param(
                need,
                id=kind,
                marks=[
                    *([pytest.mark.spends.with_args(once(*[need] * times))] if times else []),
                    *([pytest.mark.records(f"run{kind.title()}-{records}", 200)] if records else []),
                ],
            )
            for kind, need in (("workflow", workflow), ("model", model))
        ],
    )


def schema_of(tester, reader, workflow):
    """The schema of an own workflow; empty where the target does not show it."""
    exchange = tester.send("getWorkflowSchema", reader, Call(path_values={"slug": workflow.slug}))
    schema = exchange.json_or_none()
    return schema if exchange.status == 200 and isinstance(schema, dict) else {}


def sends_defaults(fields, inputs):
    """Whether inputs are the fields' own defaults, apart from free texts; no, where a default is not told."""
    return bool(objects_in(fields)) and all(
        field.get("type") in FREE_TEXTS
        or ("default" in field and inputs.get(field.get("name")) == field["default"])
        for field in objects_in(fields)
    )


def models_for_an_administrator(target):
    """The model that is run, and those above every tier, whose price is reserved."""
    above = [each for each in target.models.values() if each.needs_tier == "enterprise" and not each.disabled]
    return [ANY_MODEL.find(target), *above]


@pytest.mark.independent
@pytest.mark.spends.with_args(models_for_an_administrator)
@pytest.mark.proves(runs.administrator)
def test_no_model_is_above_an_administrator(tester, test_data):
    """An administrator's run of a model is refused for what is wrong with it, never for the tier."""
    admin = tester.need(ADMIN_MODEL_RUNNER)
    usable, *above = models_for_an_administrator(tester.target)
    for model in (usable, *above):
        call = Call(path_values={"internalName": model.name}, json={"inputs": []})
        tester.send("runModel", admin, call)
    if tester.price(usable) is not None:  # only a run that is let through shows that nothing stops it
        test_data.run(usable, admin)


@pytest.mark.waits
@pytest.mark.spends.with_args(once(*[READ_WORKFLOW_RUN] * 3))
@pytest.mark.proves(runs.fields_left_out)
def test_run_with_fields_left_out_is_accepted(tester, test_data):
    """A run with all fields left out, or all but one, is accepted where one with every field is."""
    owner, workflow = tester.need(READ_WORKFLOW_RUN)
    schema = schema_of(tester, owner, workflow)
    values = schema.get("values")
    every_field = {**(values if isinstance(values, dict) else {}), **workflow.inputs}

    one_field = dict(list(every_field.items())[:1])

    with_all, *left_out = test_data.run_at_once(
        [(owner, replace(workflow, inputs=inputs)) for inputs in (every_field, {}, one_field)], may_fail=True
    )

    is_alike = sends_defaults(schema.get("fields"), every_field)
    for each in left_out:
        tester.judge(runs.fields_left_out, each, with_all=with_all, is_alike=is_alike)


@pytest.mark.independent
@pytest.mark.spends.with_args(once(FREE_WORKFLOW_RUN, FREE_WORKFLOW_RUN))
@pytest.mark.proves(runs.defaults_as_given)
def test_field_left_out_gives_what_its_default_gives(tester, test_data):
    """Where nothing is generated, leaving a field out gives the text that its default gives."""
    owner, workflow = tester.need(FREE_WORKFLOW_RUN)
    fields = schema_of(tester, owner, workflow).get("fields") or []
    if not fields or not all(
        isinstance(field, dict) and {"name", "default"} <= field.keys() for field in fields
    ):
        raise Untested(
            "a workflow without generator nodes whose schema names the fields' defaults", "profile"
        )
    defaults = {field["name"]: field["default"] for field in fields}

    with_defaults = test_data.run(replace(workflow, inputs=defaults), owner)
    left_out = test_data.run(replace(workflow, inputs={}), owner)

    tester.judge(runs.defaults_as_given, left_out, with_defaults=with_defaults)


@pytest.mark.independent
@pytest.mark.proves(runs.nothing_generated)
@pytest.mark.records("runWorkflow-free", 200)
def test_run_without_generator_nodes_costs_nothing(tester, test_data):
    """A run of a workflow without generator nodes costs nothing."""
    owner = tester.need(FREE_RUNNER)

    exchange = test_data.run(test_data.cheapest_workflow(owner), owner)

    tester.judge(runs.nothing_generated, exchange)


@pytest.mark.waits
@pytest.mark.proves(runs.charged_per_image)
@of_both_kinds(COUNTED_WORKFLOW_RUN, COUNTED_MODEL_RUN, times=3)
def test_two_images_cost_twice_as_much_as_one(tester, test_data, need):
    """Two images cost twice what one costs."""
    owner, resource = tester.need(need)
    one, two = ({**resource.inputs, resource.image_count_input: count} for count in (1, 2))
    of_two = replace(resource, inputs=two, cost_credits=2 * tester.price(resource))

    single, double = test_data.run_at_once([(owner, replace(resource, inputs=one)), (owner, of_two)])

    tester.judge(runs.charged_per_image, double, single=single)


@pytest.mark.independent
@pytest.mark.sequence
@pytest.mark.spends.with_args(once(*[EDITED_WORKFLOW_RUN] * 3))
@pytest.mark.proves(runs.charged_per_node)
def test_each_generator_node_is_charged(tester, test_data):
    """A workflow with each of its nodes twice costs what the target itself estimates."""
    owner, workflow = tester.need(EDITED_WORKFLOW_RUN)
    graph = graph_of(tester, owner, workflow)
    estimates, copies = [], []
    for members in (graph, doubled(graph)):
        slug = test_data.make_workflow(owner, name=fresh_name("Charged"), **members)
        copies.append(replace(workflow, slug=slug, inputs={}, cost_credits=None))
        estimates.append(schema_of(tester, owner, copies[-1]).get("estimatedCreditCost"))

    single, double = test_data.run_at_once([(owner, copy) for copy in copies])
    tester.judge(runs.charged_per_node, double, single=single, estimates=estimates)


@pytest.mark.waits
@pytest.mark.thorough
@pytest.mark.spends.with_args(once(CHARGED_ASYNC_RUN, CHARGED_ASYNC_RUN))
@pytest.mark.proves(runs.charged_alike)
def test_async_run_costs_what_a_sync_run_costs(tester, test_data):
    """An asynchronous run costs what the same run costs when it is waited for."""
    run = owner, resource = tester.need(CHARGED_ASYNC_RUN)
    submitted = test_data.run(resource, owner, is_async=True)
    waited_for = test_data.run(resource, owner)
    ended = test_data.await_end(submitted, owner, deadline_s=resource.deadline_s)[-1]
    request_id = body_of(submitted).get("requestId")

    row = row_once_settled(tester, run, lambda rows: row_of_request(rows, request_id))

    tester.judge(runs.charged_alike, ended, waited_for=waited_for, row=row)


# What a trial grant pays costs nothing, so there is nothing to foretell.
@pytest.mark.waits
@pytest.mark.proves(runs.granted, schemas.body)
@of_both_kinds(
    *(key_that_runs(kind, funds="granted") for kind in (Workflow, Model)), times=0, records="granted"
)
def test_run_paid_by_a_grant_costs_nothing(tester, test_data, need):
    """A run that a trial grant pays has cost 0."""
    key, resource = tester.need(need)

    exchange = test_data.run(resource, key)

    tester.judge(runs.granted, exchange)


@pytest.mark.waits
@pytest.mark.proves(runs.charge_in_usage)
@of_both_kinds(charged_first(WORKFLOW_RUN), charged_first(MODEL_RUN), times=1, records="result")
def test_usage_row_has_the_cost_that_the_run_told(tester, test_data, need):
    """What a run says it cost is what its usage row says."""
    run = key, resource = tester.need(need)

    exchange, row = run_with_row(tester, run, lambda: test_data.run(resource, key))

    tester.judge(runs.charge_in_usage, exchange, row=row)


def are_of_other_tests(tester, user):
    """Whether new rows are of runs that other tests began: some servers show a run when it has ended."""
    for operation_id in RUN_OPERATIONS:
        with tester.reservations.made((user, operation_id)):
            pass  # what was in flight has been answered, and counts
    return tester.has_more_rows_than_runs(user) is False


@pytest.mark.proves(usage.refused_run_is_not_charged)
@pytest.mark.operations(ids=RUN_OPERATIONS)
def test_refused_run_is_not_charged(tester, test_data, operation):
    """Whatever is wrong with the body of a run, in either form, no usage row charges for it."""
    key, walk = tester.need(run_call(operation)).key, Walk(test_data, operation)
    drafts = [draft for point in walk.points(BODY, is_quick=True) if (draft := walk.draft(point))]
    sendings = [(operation.id, draft.persona, draft.call) for draft in drafts]
    for _ in range(2):  # another client may have run in between until its window was full
        before = read_page(tester, key, limit=MAX_LIMIT)
        answers = tester.send_at_once(sendings, is_repeated=True)
        page = read_page(tester, key, limit=MAX_LIMIT)
        if any(each.is_success for each in answers):  # which would rightly be charged
            return
        if not list(usage.refused_run_is_not_charged.judge(page, before=before)):
            return
        if is_used_by_others(tester, key, page):
            raise Untested(f"an account that nobody else uses: {key.user} has runs that are not ours")
        if are_of_other_tests(tester, key.user):
            return
    tester.judge(usage.refused_run_is_not_charged, page, before=before)
