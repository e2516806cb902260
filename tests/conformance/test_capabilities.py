"""The capability matrix: operation by persona, admitted and refused both asserted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.conformance.checks import capabilities
from knouds_harness.conformance.generation import capability_sets
from knouds_harness.conformance.matrix import cell_for, cells_of, prove_cell
from knouds_harness.conformance.needs import (
    FULL_KEY,
    OWN_POLLED_WORKFLOW,
    OWN_WORKFLOW,
    POLLED_MODEL,
    USABLE_MODEL,
    own_workflows,
    usable_models,
)
from knouds_harness.conformance.probe import Call


@pytest.mark.independent
@pytest.mark.operations(secured=True)
@pytest.mark.proves(capabilities.admitted, capabilities.denied)
def test_matrix(probe, subjects, operation, personas):
    """A persona is admitted exactly where its capabilities meet what the operation asks for."""
    for persona in personas:
        if operation in cells_of(persona, (operation,), probe.need(FULL_KEY)):
            prove_cell(subjects, cell_for(subjects, operation, persona))


@pytest.mark.independent
@pytest.mark.proves(capabilities.denied, capabilities.admitted)
def test_bound_key_runs_its_own_resource_only(probe, subjects, document, target, personas):
    """A key bound to one workflow or model runs that one, and none whose name begins or ends like it."""
    resources = {
        "runWorkflow": [workflow.slug for workflow in own_workflows(target)],
        "runModel": [model.name for model in usable_models(target)],
    }
    for persona in filter(_is_bound, personas):
        for operation_id, known in resources.items():
            operation = document.operation_by_id[operation_id]
            if operation in cells_of(persona, (operation,), probe.need(FULL_KEY)):
                for name in known:
                    prove_cell(subjects, cell_for(subjects, operation, persona, name))


def _is_bound(persona):
    """Whether a key names a workflow or model."""
    return any(form.count(":") == 2 for form in persona.capabilities)


@pytest.mark.independent
@pytest.mark.proves(capabilities.denied)
@pytest.mark.parametrize("operation_id", ["runWorkflow", "runModel"])
def test_key_bound_to_a_similar_name(probe, subjects, document, operation_id):
    """A key bound to a part of a name, or to a longer one, does not run what has that name."""
    operation = document.operation_by_id[operation_id]
    resource = operation_id.removeprefix("run").lower()
    (name,) = subjects.call_on_existing(operation).path_values.values()

    for similar in (name[:-1], name[1:], f"{name}-2", f"a-{name}"):
        persona = probe.minted({f"{resource}:{similar}:run"})
        prove_cell(subjects, cell_for(subjects, operation, persona, name))


@pytest.mark.independent
@pytest.mark.parametrize("operation_id", ["runWorkflow", "runModel"])
@pytest.mark.proves(capabilities.admitted, capabilities.denied)
def test_asynchronous_runs_need_the_same(probe, subjects, personas, operation_id):
    """What admits a run admits an asynchronous one, and nothing else: webhook:receive is for its delivery."""
    operation, owner = probe.document.operation_by_id[operation_id], probe.need(FULL_KEY)
    if operation_id == "runWorkflow":
        first = probe.need(OWN_POLLED_WORKFLOW).slug
        is_polled = {workflow.slug: workflow.polled for workflow in own_workflows(probe.target)}
    else:
        first = probe.need(POLLED_MODEL).name
        is_polled = {model.name: model.polled for model in usable_models(probe.target)}
    for persona in personas:
        if persona.user == owner.user and operation in cells_of(persona, (operation,), owner):
            for name in is_polled if _is_bound(persona) else [first]:
                cell = cell_for(subjects, operation, persona, name)
                call = cell.call.having(query=(("async", "true"),))
                if cell.is_admitted:
                    prove_cell(subjects, replace(cell, call=call.having(json={"inputs": []})))
                elif is_polled[name]:  # else it may be refused for that
                    prove_cell(subjects, replace(cell, call=call))


@pytest.mark.independent
@pytest.mark.operations(secured=True)
@pytest.mark.proves(capabilities.granting_what_was_required, capabilities.denied, capabilities.admitted)
def test_minimal_key(probe, subjects, document, operation):
    """Holding only what the operation names is enough; holding everything else is not."""
    named = operation.required_capabilities(subjects.call_on_existing(operation).path_values)
    everything = {form for each in document.operations for form in each.alternatives if "{" not in form}

    for capability in named:
        prove_cell(subjects, cell_for(subjects, operation, probe.minted({capability})))
    prove_cell(subjects, cell_for(subjects, operation, probe.minted(everything - set(named))))


@pytest.mark.independent
@pytest.mark.proves(capabilities.granting_what_was_required, capabilities.denied, capabilities.admitted)
@given(data=st.data())
def test_any_set_of_capabilities_follows_the_rule(probe, subjects, data):
    """Whatever set a key holds, it is admitted exactly where the documented rule says so."""
    operation = data.draw(st.sampled_from([each for each in probe.document.operations if not each.is_public]))
    held = data.draw(capability_sets(_universe(probe)))

    assert not prove_cell(subjects, cell_for(subjects, operation, probe.minted(held)))


def _universe(probe):
    """Capabilities of every form: exact, of a whole resource, bound to a resource or to one named like it."""
    slug = probe.need(OWN_WORKFLOW).slug
    model = probe.need(USABLE_MODEL).name
    return {
        *(f"workflow:{verb}" for verb in ("run", "read", "write", "*")),
        *(f"model:{verb}" for verb in ("run", "*")),
        *(f"execution:{verb}" for verb in ("read", "cancel", "*")),
        *(f"workflow:{name}:run" for name in (slug, slug[:-1], f"{slug}-hd", "other")),
        *(f"model:{name}:run" for name in (model, model[:-1], f"{model}-pro", "other")),
        "webhook:receive",
        "agent:invoke",
    }


@pytest.mark.proves(capabilities.nothing_changed)
def test_denial_has_no_effect(probe, subjects, document, personas):
    """A refused write leaves the workflow as it was."""
    owner = probe.need(FULL_KEY)
    call = Call(path_values={"slug": subjects.make_workflow()})
    before = probe.send("getWorkflow", owner, call).json_or_none()

    for operation_id in ("updateWorkflow", "moveWorkflow", "deleteWorkflow"):
        operation = document.operation_by_id[operation_id]
        for persona in personas:
            if persona.user == owner.user and not operation.admits(persona.capabilities, call.path_values):
                refused = subjects.call_on_existing(operation).having(path_values=call.path_values)
                probe.send(operation_id, persona, refused)

    probe.judge(capabilities.nothing_changed, probe.send("getWorkflow", owner, call), before=before)


@pytest.mark.proves(capabilities.nothing_created)
def test_denied_create_makes_nothing(probe, subjects, document, personas, run):
    """A refused create leaves no workflow behind."""
    owner = probe.need(FULL_KEY)
    operation = document.operation_by_id["createWorkflow"]
    name = f"Harness denied {run.options.seed}"

    for persona in personas:
        if persona.user == owner.user and not operation.admits(persona.capabilities, {}):
            probe.send(operation.id, persona, Call(json={"name": name}))

    listed = probe.send("listWorkflows", owner)
    subjects.note_listed(listed, name)
    probe.judge(capabilities.nothing_created, listed, name=name)
