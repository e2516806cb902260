"""Synchronous runs take their defaults, and cost what they should."""

from __future__ import annotations

from dataclasses import replace

import pytest

from knouds_harness.conformance.authoring import doubled, fresh_name, known_graph, make, objects_in
from knouds_harness.conformance.charges import row_of_request, row_once_settled, run_with_row
from knouds_harness.conformance.checks import runs, schemas
from knouds_harness.conformance.needs import (
    ADMIN_RUNNER_KEY,
    COUNTED_MODEL,
    COUNTED_WORKFLOW,
    ENTERPRISE_MODEL,
    FULL_KEY,
    GRANTED_KEY,
    GRANTED_WORKFLOW,
    OWN_WORKFLOW,
    POLLED_MODEL,
    USABLE_MODEL,
    WITHOUT_GENERATOR_WORKFLOW,
    once,
)
from knouds_harness.conformance.probe import UNTESTED, Call
from knouds_harness.conformance.statuses import body_of
from knouds_harness.target.resources import Model, Workflow

FREE_TEXTS = ("text", "textarea")
of_both_kinds = pytest.mark.parametrize("kind", [Workflow, Model], ids=["workflow", "model"])


def schema_of(probe, workflow):
    """The schema of an own workflow; empty where the target does not show it."""
    exchange = probe.send(
        "getWorkflowSchema", probe.need(FULL_KEY), Call(path_values={"slug": workflow.slug})
    )
    schema = exchange.json_or_none()
    return schema if exchange.status == 200 and isinstance(schema, dict) else {}


def sends_defaults(fields, inputs):
    """Whether inputs are the fields' own defaults, apart from free texts; no, where a default is not told."""
    return bool(objects_in(fields)) and all(
        field.get("type") in FREE_TEXTS
        or ("default" in field and inputs.get(field.get("name")) == field["default"])
        for field in objects_in(fields)
    )


@pytest.mark.proves(runs.administrator)
def test_no_model_is_above_an_administrator(probe):
    """An administrator's run of a model is refused for what is wrong with it, never for the tier."""
    admin = probe.need(ADMIN_RUNNER_KEY)
    for need in (USABLE_MODEL, ENTERPRISE_MODEL):
        if (model := need.find(probe.target)) is not None:
            call = Call(path_values={"internalName": model.name}, json={"inputs": []})
            probe.judge(runs.administrator, probe.send("runModel", admin, call))


@pytest.mark.spends.with_args(once(OWN_WORKFLOW, OWN_WORKFLOW))
@pytest.mark.proves(runs.fields_left_out)
def test_fields_left_out(probe, subjects):
    """A run with fields left out is accepted where one with all of them is."""
    workflow, owner = probe.need(OWN_WORKFLOW), probe.need(FULL_KEY)
    schema = schema_of(probe, workflow)
    values = schema.get("values")
    every_field = {**(values if isinstance(values, dict) else {}), **workflow.inputs}

    with_all = subjects.run(replace(workflow, inputs=every_field), owner)
    left_out = subjects.run(replace(workflow, inputs={}), owner)

    is_alike = sends_defaults(schema.get("fields"), every_field)
    probe.judge(runs.fields_left_out, left_out, with_all=with_all, is_alike=is_alike)


@pytest.mark.spends.with_args(once(WITHOUT_GENERATOR_WORKFLOW, WITHOUT_GENERATOR_WORKFLOW))
@pytest.mark.proves(runs.defaults_as_given)
def test_defaults_as_given(probe, subjects):
    """Where nothing is generated, leaving a field out gives the text that its default gives."""
    workflow, owner = probe.need(WITHOUT_GENERATOR_WORKFLOW), probe.need(FULL_KEY)
    fields = schema_of(probe, workflow).get("fields") or []
    if not fields or not all(
        isinstance(field, dict) and {"name", "default"} <= field.keys() for field in fields
    ):
        pytest.skip(f"{UNTESTED}a workflow without generator nodes whose schema names the fields' defaults")
    defaults = {field["name"]: field["default"] for field in fields}

    with_defaults = subjects.run(replace(workflow, inputs=defaults), owner)
    left_out = subjects.run(replace(workflow, inputs={}), owner)

    probe.judge(runs.defaults_as_given, left_out, with_defaults=with_defaults)


@pytest.mark.spends.with_args(once(WITHOUT_GENERATOR_WORKFLOW))
@pytest.mark.proves(runs.nothing_generated)
def test_nothing_generated(probe, subjects):
    """A run of a workflow without generator nodes costs nothing."""
    exchange = subjects.run(probe.need(WITHOUT_GENERATOR_WORKFLOW), probe.need(FULL_KEY))

    probe.judge(runs.nothing_generated, exchange)


@pytest.mark.spends.with_args(lambda target: 3 * once(COUNTED_WORKFLOW, COUNTED_MODEL)(target))
@pytest.mark.proves(runs.charged_per_image)
@of_both_kinds
def test_charged_per_image(probe, subjects, kind):
    """Two images cost twice what one costs."""
    resource, owner = (
        probe.need(COUNTED_WORKFLOW if kind is Workflow else COUNTED_MODEL),
        probe.need(FULL_KEY),
    )
    one, two = ({**resource.inputs, resource.image_count_input: count} for count in (1, 2))

    single = subjects.run(replace(resource, inputs=one), owner)
    double = subjects.run(replace(resource, inputs=two, cost_credits=2 * probe.price(resource)), owner)

    probe.judge(runs.charged_per_image, double, single=single)


@pytest.mark.sequence
@pytest.mark.spends.with_args(lambda target: 3 * once(OWN_WORKFLOW)(target))
@pytest.mark.proves(runs.charged_per_node)
def test_charged_per_generator_node(probe, subjects):
    """A workflow with each of its nodes twice costs what the target itself estimates."""
    owner, graph = probe.need(FULL_KEY), known_graph(probe)
    estimates, answers = [], []
    for members in (graph, doubled(graph)):
        _, slug = make(subjects, owner, {"name": fresh_name("Charged"), **members})
        copy = replace(probe.need(OWN_WORKFLOW), slug=slug, inputs={}, cost_credits=None)
        estimates.append(schema_of(probe, copy).get("estimatedCreditCost"))
        answers.append(subjects.run(copy, owner))

    single, double = answers
    probe.judge(runs.charged_per_node, double, single=single, estimates=estimates)


@pytest.mark.thorough
@pytest.mark.spends.with_args(once(POLLED_MODEL, POLLED_MODEL))
@pytest.mark.proves(runs.charged_alike)
def test_charged_alike(probe, subjects):
    """An asynchronous run costs what the same run costs when it is waited for."""
    model, owner = probe.need(POLLED_MODEL), probe.need(FULL_KEY)
    waited_for = subjects.run(model, owner)
    submitted = subjects.run(model, owner, is_async=True)
    ended = subjects.await_end(submitted, deadline_s=model.deadline_s)
    request_id = body_of(submitted).get("requestId")

    row = row_once_settled(probe, model, lambda rows: row_of_request(rows, request_id))

    probe.judge(runs.charged_alike, ended, waited_for=waited_for, row=row)


# What a trial grant pays costs nothing, so there is nothing to foretell.
@pytest.mark.proves(runs.granted, schemas.body)
def test_granted_run(probe, subjects):
    """A run that a trial grant pays has cost 0."""
    exchange = subjects.run(probe.need(GRANTED_WORKFLOW), probe.need(GRANTED_KEY))

    probe.judge(runs.granted, exchange)


@pytest.mark.spends.with_args(once(OWN_WORKFLOW, USABLE_MODEL))
@pytest.mark.proves(runs.charge_in_usage)
@of_both_kinds
def test_charge_in_usage(probe, subjects, kind):
    """What a run says it cost is what its usage row says."""
    resource = probe.need(OWN_WORKFLOW if kind is Workflow else USABLE_MODEL)

    exchange, row = run_with_row(probe, resource, lambda: subjects.run(resource, probe.need(FULL_KEY)))

    probe.judge(runs.charge_in_usage, exchange, row=row)
