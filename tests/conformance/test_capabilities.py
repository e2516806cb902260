"""What a key may do: any set of capabilities, and that a denial tells nothing and has no effect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.exchange.created_workflows import fresh_name
from knouds_harness.exchange.evidence import Call, body_of
from knouds_harness.judging.checks import capabilities
from knouds_harness.suite.generation.strategies import capability_sets
from knouds_harness.suite.generation.walk import Point, Walk, key_value
from knouds_harness.targets.needs import CONTROL, MAY_RUN, MAY_WRITE
from knouds_harness.targets.needs.keys import AUTHOR_AND_LESSER, STAR_KEY
from knouds_harness.targets.needs.runs import once
from knouds_harness.targets.needs.workflows import ANY_MODEL, ANY_WORKFLOW, BOUND_KEY

pytestmark = pytest.mark.independent


@pytest.mark.in_a_row(20)
@pytest.mark.proves(capabilities.denied, capabilities.admitted)
@pytest.mark.needs(ANY_WORKFLOW, ANY_MODEL, CONTROL)
@pytest.mark.shows("capability.denied-names-required", "capability.exact-is-admitted")
@given(data=st.data())
def test_any_set_of_capabilities_follows_the_rule(tester, test_data, data):
    """Whatever set a key holds, it is admitted exactly where the documented rule says so."""
    operation = data.draw(
        st.sampled_from([each for each in tester.document.operations if not each.is_public])
    )
    held = data.draw(capability_sets(_universe(tester)))
    key = tester.minted(held, account=test_data.account_of(operation))

    exchange = Walk(test_data, operation).send(Point(key_value(key.name, key)))

    assert exchange is None or not tester.findings_about(exchange)


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


@pytest.mark.spends.with_args(once(BOUND_KEY, BOUND_KEY))
@pytest.mark.proves(capabilities.admitted)
@pytest.mark.needs(BOUND_KEY)
@pytest.mark.shows("capability.bound-form-is-admitted")
@pytest.mark.records("runWorkflow-bound", 200)
def test_bound_key_runs_what_it_is_bound_to(tester, test_data):
    """A key that is bound to a workflow or model runs that, in either form."""
    key, resource = tester.need(BOUND_KEY)

    if resource.polled:
        test_data.run(resource, key, is_async=True)
    test_data.run(resource, key)


@pytest.mark.proves(capabilities.admitted)
@pytest.mark.needs(STAR_KEY, MAY_RUN, MAY_WRITE)
@pytest.mark.shows("capability.star-is-admitted")
def test_star_reads_and_cancels_executions_of_its_own(tester, test_data):
    """A key that holds everything reads and cancels what it ran, where only its capability can refuse it."""
    key = tester.need(STAR_KEY)
    submitted = test_data.run(test_data.free_workflow(key), key, is_async=True)
    call = Call(path_values={"id": test_data.execution_id_of(submitted)})

    tester.send("getExecution", key, call)
    tester.send("cancelExecution", key, call)


@pytest.mark.proves(capabilities.nothing_changed)
@pytest.mark.needs(AUTHOR_AND_LESSER)
def test_denial_has_no_effect(tester, test_data, document, personas):
    """A refused write leaves the workflow as it was."""
    owner, _ = tester.need(AUTHOR_AND_LESSER)
    call = Call(path_values={"slug": test_data.make_workflow(owner)})
    before = body_of(tester.send("getWorkflow", owner, call))

    for operation_id in ("updateWorkflow", "moveWorkflow", "deleteWorkflow"):
        operation = document.operation_by_id[operation_id]
        for persona in personas:
            if persona.user == owner.user and not operation.admits(persona.capabilities, call.path_values):
                refused = test_data.call_on_existing(operation).having(path_values=call.path_values)
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
