"""The capability matrix: operation by persona, admitted and refused both asserted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.contract.operations import RUN_OPERATIONS
from knouds_harness.exchange.effectless_requests import effectless_call
from knouds_harness.exchange.evidence import Call
from knouds_harness.exchange.execution_status import body_of
from knouds_harness.exchange.workflow_names import fresh_name
from knouds_harness.judging.checks import capabilities
from knouds_harness.suite.generation.strategies import capability_sets
from knouds_harness.suite.matrix import cell_for, prove_cell
from knouds_harness.suite.selection import operations_for
from knouds_harness.targets.needs.keys import (
    ADMIN_KEY,
    AUTHOR,
    AUTHOR_AND_LESSER,
    EMPTY_KEY,
    LESSER_KEY,
    READER,
    STAR_KEY,
    WILDCARD_ELSEWHERE_KEY,
    WILDCARD_KEY,
    WORKFLOW_RUNNER,
    usable_keys,
)
from knouds_harness.targets.needs.need import CONTROL, MAY_READ, MAY_RUN, KeyAndResource, Need
from knouds_harness.targets.needs.runs import (
    ASYNC_MODEL_CALL,
    ASYNC_WORKFLOW_CALL,
    is_runnable,
    once,
    own_workflows,
    usable_models,
)
from knouds_harness.targets.needs.workflows import (
    ANY_MODEL,
    ANY_WORKFLOW,
    BOUND_KEY,
    BOUND_KEY_BESIDE_ANOTHER,
    BOUND_WORKFLOW_KEY_AND_AUTHOR,
    lesser_key,
    subject_account,
)
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.resources import Workflow


def holding_only(capability):
    """A key that holds this and nothing else, and a workflow of its account."""

    def fitting(target):
        for key in usable_keys(target):
            for workflow in own_workflows(target, key.user):
                if key.capabilities == {capability} and is_runnable(workflow):
                    yield KeyAndResource(key, workflow)

    return Need(says=f"a key that holds {capability} alone, and a workflow of its account", fitting=fitting)


def lacking_key(operation):
    """A key that holds nothing an operation asks for, in no form, of an account that has what it acts on."""
    words = {alternative.partition(":")[0] for alternative in operation.alternatives}
    account = subject_account(operation)

    def fitting(target):
        for user in account.fitting(target):
            for key in reversed(usable_keys(target)):  # what holds little shows most
                held = {each.partition(":")[0] for each in key.capabilities}
                if key.user == user and held.isdisjoint(words | {"*"}):
                    yield key

    says = f"a key of that account without any {' or '.join(sorted(words))} capability"
    return Need(says=says, fitting=fitting, also=(account,))


def bound_to_workflow(*, is_other):
    """A key that is bound to running one of two workflows of its account, and that workflow or the other."""

    def fitting(target):
        for key in usable_keys(target):
            own = own_workflows(target, key.user)
            for bound in own:
                if key.capabilities == {f"workflow:{bound.slug}:run"} and len(own) > 1:
                    yield from (KeyAndResource(key, each) for each in own if (each != bound) is is_other)

    says = "a key that holds workflow:<slug>:run alone, of one of two workflows of its account"
    return Need(says=says, fitting=fitting, also=(MAY_RUN,))


BOUND_TO_WORKFLOW = bound_to_workflow(is_other=False)
BOUND_TO_ANOTHER = bound_to_workflow(is_other=True)
OF_ANY_KEY = [each.id for each in operations_for(secured=True, ids=None) if not each.alternatives]
OF_CAPABILITIES = [each.id for each in operations_for(secured=True, ids=None) if each.alternatives]


@pytest.mark.independent
@pytest.mark.operations(ids=OF_CAPABILITIES)
@pytest.mark.proves(capabilities.admitted, capabilities.denied)
@pytest.mark.shows("capability.exact-is-admitted", READER)
@pytest.mark.shows("capability.star-is-admitted", STAR_KEY)
@pytest.mark.shows("capability.resource-wildcard-is-admitted", WILDCARD_KEY)
@pytest.mark.shows("capability.wildcard-stays-in-resource", WILDCARD_ELSEWHERE_KEY)
@pytest.mark.shows("capability.bound-form-only-runs", BOUND_KEY)
@pytest.mark.shows("capability.missing-is-403-denied", EMPTY_KEY)
@pytest.mark.shows("capability.orthogonal", LESSER_KEY)
@pytest.mark.shows("capability.denied-names-required", LESSER_KEY)
@pytest.mark.shows("capability.required-form", LESSER_KEY)
def test_key_is_admitted_where_its_capabilities_suffice(subjects, operation, personas):
    """A persona is admitted exactly where its capabilities meet what the operation asks for."""
    prove_cells(subjects, operation, personas)


@pytest.mark.independent
@pytest.mark.operations(ids=OF_ANY_KEY)
@pytest.mark.proves(capabilities.admitted)
@pytest.mark.shows("capability.any-valid-key-suffices")
def test_every_key_is_admitted_where_none_needs_a_capability(subjects, operation, personas):
    """Whatever a persona holds, it is admitted to an operation that asks for no capability."""
    prove_cells(subjects, operation, personas)


def prove_cells(subjects, operation, personas):
    account = subjects.account_if_any(operation)
    for persona in personas:
        prove_cell(subjects, cell_for(subjects, operation, persona, account))


@pytest.mark.independent
@pytest.mark.proves(capabilities.denied, capabilities.admitted)
@pytest.mark.needs(BOUND_KEY)
@pytest.mark.shows("capability.bound-form-is-admitted")
@pytest.mark.shows("capability.bound-form-is-exact", BOUND_KEY_BESIDE_ANOTHER)
def test_bound_key_runs_its_own_resource_only(tester, subjects, document, target, personas):
    """A key bound to one workflow or model runs that one, and none whose name begins or ends like it."""
    for persona in filter(_is_bound, personas):
        resources = {
            "runWorkflow": [workflow.slug for workflow in own_workflows(target, persona.user)],
            "runModel": [model.name for model in usable_models(target)],
        }
        for operation_id, known in resources.items():
            operation = document.operation_by_id[operation_id]
            for name in known:
                prove_cell(subjects, cell_for(subjects, operation, persona, persona.user, name))


def _is_bound(persona):
    """Whether a key names a workflow or model."""
    return any(form.count(":") == 2 for form in persona.capabilities)


@pytest.mark.independent
@pytest.mark.proves(capabilities.denied)
@pytest.mark.needs(CONTROL)
@pytest.mark.shows("capability.bound-form-is-exact")
@pytest.mark.parametrize("operation_id", RUN_OPERATIONS)
def test_key_bound_to_a_similar_name(tester, subjects, document, operation_id):
    """A key bound to a part of a name, or to a longer one, does not run what has that name."""
    operation = document.operation_by_id[operation_id]
    resource = operation_id.removeprefix("run").lower()
    account = subjects.account_of(operation)
    (name,) = subjects.call_on_existing(operation).path_values.values()

    for similar in (name[:-1], name[1:], f"{name}-2", f"a-{name}"):
        persona = tester.minted({f"{resource}:{similar}:run"}, account=account)
        prove_cell(subjects, cell_for(subjects, operation, persona, account, name))


@pytest.mark.independent
@pytest.mark.proves(capabilities.denied)
@pytest.mark.needs(BOUND_WORKFLOW_KEY_AND_AUTHOR)
@pytest.mark.shows("capability.bound-form-is-exact")
@pytest.mark.shows("capability.bound-form-only-runs")
def test_bound_key_reads_nothing_and_runs_no_neighbour(tester, subjects, document):
    """A key bound to a workflow does not read it, and runs none whose name begins, ends or has it inside."""
    bound, workflow, author = tester.need(BOUND_WORKFLOW_KEY_AND_AUTHOR)
    words = workflow.slug.replace("-", " ")
    for operation_id in ("getWorkflow", "getWorkflowSchema"):
        operation = document.operation_by_id[operation_id]
        prove_cell(subjects, cell_for(subjects, operation, bound, bound.user, workflow.slug))

    run = document.operation_by_id["runWorkflow"]
    for name in (f"{words} {fresh_name('')}", fresh_name(words), fresh_name(f"{words} more")):
        neighbour = subjects.make_workflow(author, name=name.strip())
        prove_cell(subjects, cell_for(subjects, run, bound, bound.user, neighbour))


@pytest.mark.independent
@pytest.mark.proves(capabilities.denied)
@pytest.mark.needs(CONTROL, AUTHOR)
@pytest.mark.shows("capability.bound-form-is-exact")
@pytest.mark.shows("capability.bound-form-only-runs")
def test_key_bound_to_own_workflow_does_nothing_but_run_it(tester, subjects, document):
    """A key bound to a workflow neither reads nor writes it, and runs none that differs in one character."""
    author, name = tester.need(AUTHOR), fresh_name("bound")
    slug = subjects.make_workflow(author, name=name)
    bound = tester.minted({f"workflow:{slug}:run"}, account=author.user)

    for operation in document.operations:
        if (
            operation.path_parameters == ("slug",)
            and not operation.is_public
            and operation.id != "runWorkflow"
        ):
            prove_cell(subjects, cell_for(subjects, operation, bound, author.user, slug))
    run = document.operation_by_id["runWorkflow"]
    for near in (f"{name[:-1]}x", f"{name}x", name[:-1]):
        neighbour = subjects.make_workflow(author, name=near)
        prove_cell(subjects, cell_for(subjects, run, bound, author.user, neighbour))


@pytest.mark.independent
@pytest.mark.parametrize(
    ("operation_id", "need"),
    [
        pytest.param(operation_id, need, id=operation_id, marks=pytest.mark.needs(need))
        for operation_id, need in (("runWorkflow", ASYNC_WORKFLOW_CALL), ("runModel", ASYNC_MODEL_CALL))
    ],
)
@pytest.mark.proves(capabilities.admitted, capabilities.denied)
@pytest.mark.shows("capability.exact-is-admitted", WORKFLOW_RUNNER)
@pytest.mark.shows("capability.orthogonal", LESSER_KEY)
def test_asynchronous_runs_need_the_same(tester, subjects, personas, operation_id, need):
    """What admits a run admits an asynchronous one, and nothing else: webhook:receive is for its delivery."""
    operation, (key, polled) = tester.document.operation_by_id[operation_id], tester.need(need)
    known = (
        own_workflows(tester.target, key.user)
        if isinstance(polled, Workflow)
        else usable_models(tester.target)
    )
    is_polled = {_name_of(each): each.polled for each in known}
    for persona in personas:
        if persona.user == key.user:
            for name in is_polled if _is_bound(persona) else [_name_of(polled)]:
                cell = cell_for(subjects, operation, persona, key.user, name)
                if cell.is_admitted or is_polled[name]:  # else it may be refused for that
                    call = cell.call.having(query=(("async", "true"),))
                    prove_cell(subjects, replace(cell, call=call))


def _name_of(resource):
    """What stands for a workflow or model in the path."""
    return resource.slug if isinstance(resource, Workflow) else resource.name


@pytest.mark.independent
@pytest.mark.operations(ids=OF_CAPABILITIES)
@pytest.mark.proves(capabilities.denied, capabilities.admitted)
@pytest.mark.needs(CONTROL)
@pytest.mark.shows("capability.denied-names-required")
@pytest.mark.shows("capability.exact-is-admitted")
@pytest.mark.shows("capability.orthogonal")
def test_key_that_holds_only_what_is_named_is_admitted(tester, subjects, document, operation):
    """Holding only what the operation names is enough; holding everything else is not."""
    account = subjects.account_of(operation)
    named = operation.required_capabilities(subjects.call_on_existing(operation).path_values)

    for held in (*({capability} for capability in named), every_capability(document) - set(named)):
        prove_cell(subjects, cell_for(subjects, operation, tester.minted(held, account=account), account))


@pytest.mark.independent
@pytest.mark.operations(ids=OF_ANY_KEY)
@pytest.mark.proves(capabilities.admitted)
@pytest.mark.needs(CONTROL)
@pytest.mark.shows("capability.any-valid-key-suffices")
def test_key_that_holds_everything_is_admitted_where_nothing_is_asked_for(
    tester, subjects, document, operation
):
    """To hold more than an operation asks for is no reason to refuse a key."""
    account = subjects.account_of(operation)
    persona = tester.minted(every_capability(document), account=account)

    prove_cell(subjects, cell_for(subjects, operation, persona, account))


def every_capability(document):
    return {form for each in document.operations for form in each.alternatives if "{" not in form}


@pytest.mark.independent
@pytest.mark.proves(capabilities.denied, capabilities.admitted)
@pytest.mark.needs(ANY_WORKFLOW, ANY_MODEL, CONTROL)
@pytest.mark.shows("capability.denied-names-required")
@pytest.mark.shows("capability.exact-is-admitted")
@given(data=st.data())
def test_any_set_of_capabilities_follows_the_rule(tester, subjects, data):
    """Whatever set a key holds, it is admitted exactly where the documented rule says so."""
    operation = data.draw(
        st.sampled_from([each for each in tester.document.operations if not each.is_public])
    )
    held = data.draw(capability_sets(_universe(tester)))
    account = subjects.account_of(operation)

    assert not prove_cell(
        subjects, cell_for(subjects, operation, tester.minted(held, account=account), account)
    )


def _universe(tester):
    """Capabilities of every form: exact, of a whole resource, bound to a resource or to one named like it."""
    slug = tester.need(ANY_WORKFLOW).slug
    model = tester.need(ANY_MODEL).name
    return {
        *(f"workflow:{verb}" for verb in ("run", "read", "write", "*")),
        *(f"model:{verb}" for verb in ("run", "*")),
        *(f"execution:{verb}" for verb in ("read", "cancel", "*")),
        *(f"workflow:{name}:run" for name in (slug, slug[:-1], f"{slug}-hd", "other")),
        *(f"model:{name}:run" for name in (model, model[:-1], f"{model}-pro", "other")),
        "webhook:receive",
        "agent:invoke",
    }


@pytest.mark.independent
@pytest.mark.parametrize(
    ("operation", "need"),
    [
        pytest.param(each, need, id=each.id, marks=pytest.mark.needs(need))
        for each in operations_for(secured=True, ids=None)
        if each.path_parameters
        for need in [lesser_key(each)]
    ],
)
@pytest.mark.proves(capabilities.denied_alike)
def test_denial_tells_nothing(tester, subjects, operation, need):
    """A key that may not do something is told the same whether what it asks for exists or not."""
    persona, call = tester.need(need), subjects.call_on_existing(operation)

    known = tester.send(operation.id, persona, call)
    unknown = tester.send(
        operation.id, persona, call.having(path_values=effectless_call(operation).path_values)
    )

    if known.code == "CAPABILITY_DENIED":
        tester.judge(capabilities.denied_alike, unknown, of_existing=known)


@pytest.mark.parametrize(
    ("operation", "need"),
    [
        pytest.param(
            each,
            need,
            id=each.id,
            marks=[pytest.mark.needs(need), pytest.mark.records(f"{each.id}-lacks-capability", 403)],
        )
        for each in operations_for(secured=True, ids=None)
        if each.alternatives
        for need in [lacking_key(each)]
    ],
)
@pytest.mark.proves(capabilities.denied)
@pytest.mark.shows("capability.missing-is-403-denied")
def test_key_without_the_capability_is_denied(tester, subjects, operation, need):
    """A key that holds nothing which the operation asks for is refused."""
    tester.send(operation.id, tester.need(need), subjects.call_on_existing(operation))


@pytest.mark.parametrize(
    ("operation_id", "need"),
    [
        pytest.param(
            name.partition("-")[0],
            need,
            id=name,
            marks=[
                pytest.mark.needs(MAY_READ, need),
                pytest.mark.proves(check),
                pytest.mark.shows(f"capability.{fact}"),
                pytest.mark.records(name, 200 if check is capabilities.admitted else 403),
                *marks,
            ],
        )
        for name, need, fact, *marks in (
            ("getWorkflow-wildcard", holding_only("workflow:*"), "resource-wildcard-is-admitted"),
            ("getWorkflow-wildcard-of-executions", holding_only("execution:*"), "wildcard-stays-in-resource"),
            ("getWorkflow-bound", BOUND_TO_WORKFLOW, "bound-form-only-runs"),
            ("listWorkflows-may-only-write", holding_only("workflow:write"), "orthogonal"),
            ("listWorkflows-admin", ADMIN_KEY, "star-is-admitted"),
            (
                "runWorkflow-bound",
                BOUND_TO_WORKFLOW,
                "bound-form-is-admitted",
                pytest.mark.spends.with_args(once(BOUND_TO_WORKFLOW, BOUND_TO_WORKFLOW)),
            ),
            ("runWorkflow-bound-to-another", BOUND_TO_ANOTHER, "bound-form-is-exact"),
        )
        for check in [capabilities.admitted if fact.endswith("is-admitted") else capabilities.denied]
    ],
)
def test_form_of_a_capability_decides(tester, subjects, operation_id, need):
    """A key that holds one capability, of one form, is admitted exactly where that form admits it."""
    found = tester.need(need)
    key = found if isinstance(found, Persona) else found.key

    if operation_id == "runWorkflow":
        if need is BOUND_TO_WORKFLOW:
            subjects.run(found.resource, key, is_async=True)
        subjects.run(found.resource, key, is_refused=need is BOUND_TO_ANOTHER)
    else:
        values = {"slug": found.resource.slug} if operation_id == "getWorkflow" else {}
        tester.send(operation_id, key, Call(path_values=values))


@pytest.mark.proves(capabilities.nothing_changed)
@pytest.mark.needs(AUTHOR_AND_LESSER)
def test_denial_has_no_effect(tester, subjects, document, personas):
    """A refused write leaves the workflow as it was."""
    owner, _ = tester.need(AUTHOR_AND_LESSER)
    call = Call(path_values={"slug": subjects.make_workflow(owner)})
    before = body_of(tester.send("getWorkflow", owner, call))

    for operation_id in ("updateWorkflow", "moveWorkflow", "deleteWorkflow"):
        operation = document.operation_by_id[operation_id]
        for persona in personas:
            if persona.user == owner.user and not operation.admits(persona.capabilities, call.path_values):
                refused = subjects.call_on_existing(operation).having(path_values=call.path_values)
                tester.send(operation_id, persona, refused)

    tester.judge(capabilities.nothing_changed, tester.send("getWorkflow", owner, call), before=before)


@pytest.mark.proves(capabilities.nothing_created)
@pytest.mark.needs(AUTHOR_AND_LESSER)
def test_denied_create_makes_nothing(tester, document, personas):
    """A refused create leaves no workflow behind."""
    owner, _ = tester.need(AUTHOR_AND_LESSER)
    operation = document.operation_by_id["createWorkflow"]
    name = fresh_name("denied")

    for persona in personas:
        if persona.user == owner.user and not operation.admits(persona.capabilities, {}):
            tester.send(operation.id, persona, Call(json={"name": name}))

    listed = tester.send("listWorkflows", owner)
    tester.judge(capabilities.nothing_created, listed, name=name)
