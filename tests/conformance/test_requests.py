"""Requests with unusual values are refused for them, and for nothing else.

What is refused names a resource that exists, if the profile offers one, so that only the value is wrong.
"""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.contract.operations import RUN_OPERATIONS
from knouds_harness.judging.checks import authentication, capabilities, envelopes, validation
from knouds_harness.judging.claim import Check
from knouds_harness.suite.generation.dimensions import (
    BODY,
    CAPABILITIES,
    KEY,
    RESOURCE,
    Value,
    with_body,
    with_key,
    with_name,
)
from knouds_harness.suite.generation.strategies import (
    altered_keys,
    bodies_not_json,
    malformed_keys,
    malformed_slugs,
    misshapen_documents,
    unknown_keys,
    wrong_inputs,
)
from knouds_harness.suite.generation.walk import Point, Walk, recorded_outcomes, values_of
from knouds_harness.suite.selection import operations_for
from knouds_harness.targets.needs import Need
from knouds_harness.targets.needs.keys import (
    ANY_KEY,
    EMPTY_KEY,
    LESSER_KEY,
    READER,
    STAR_KEY,
    WILDCARD_ELSEWHERE_KEY,
    WILDCARD_KEY,
    WORKFLOW_RUNNER,
)
from knouds_harness.targets.needs.runs import WORKFLOW_CALL
from knouds_harness.targets.needs.workflows import (
    BOUND_KEY,
    BOUND_KEY_BESIDE_ANOTHER,
    account_with_resource,
    lesser_key,
)

pytestmark = pytest.mark.independent

SECURED = operations_for(secured=True)
RUNS = operations_for(secured=True, ids=RUN_OPERATIONS)
CREATE = operations_for(secured=True, ids=("createWorkflow",))
OF_EVERY_REFUSAL = (
    "envelope.error-is-object",
    "envelope.error-has-text",
    "envelope.error-has-code",
    "envelope.no-internals",
    "ground.no-undocumented-server-error",
)
OF_CAPABILITIES: dict[str, tuple[Need[object], ...]] = {
    "capability.exact-is-admitted": (READER,),
    "capability.star-is-admitted": (STAR_KEY,),
    "capability.resource-wildcard-is-admitted": (WILDCARD_KEY,),
    "capability.wildcard-stays-in-resource": (WILDCARD_ELSEWHERE_KEY,),
    "capability.bound-form-only-runs": (BOUND_KEY,),
    "capability.missing-is-403-denied": (EMPTY_KEY,),
    "capability.orthogonal": (LESSER_KEY,),
    "capability.denied-names-required": (LESSER_KEY,),
    "capability.required-form": (LESSER_KEY,),
}
OF_ANY_KEY = ("capability.any-valid-key-suffices",)
OF_RUNS = OF_CAPABILITIES | {"capability.bound-form-is-exact": (BOUND_KEY_BESIDE_ANOTHER,)}


def of_reasons(operation, dimension):
    """The case of a dimension whose values are refused: its checks, and what it shows if what is met."""
    values = [each for each in values_of(operation) if each.dimension == dimension]
    checks = [*dict.fromkeys(each.check for each in values), envelopes.envelope]
    checks = checks[::-1] if dimension == RESOURCE else checks  # what the first needs, all need
    shown: dict[str, tuple[Need[object], ...]] = dict.fromkeys(OF_EVERY_REFUSAL, ())
    for value in values:
        for fact in value.check.facts if value.check else ():
            shown[fact] = min(shown.get(fact, value.needs), value.needs, key=len)
    if envelopes.unknown_workflow in checks:
        shown["envelope.unknown-workflow-404-has-code"] = ()
    if dimension == KEY:
        shown["envelope.plain-401-has-code"] = ()
        if operation.path_parameters:
            checks.append(authentication.tells_nothing)
            shown["auth.refusal-tells-nothing"] = (account_with_resource(operation),)
    return case(operation, dimension, checks, shown)


def of_capabilities(operation):
    """The case of what keys may do, which the rule alone judges."""
    shown = OF_RUNS if operation.id in RUN_OPERATIONS else OF_CAPABILITIES
    checks: list[Check[...]] = [capabilities.admitted, capabilities.denied]
    if not operation.alternatives:
        shown, checks = dict.fromkeys(OF_ANY_KEY, ()), checks[:1]
    elif operation.path_parameters:
        checks.append(capabilities.denied_alike)
        shown |= {"capability.denial-tells-nothing": (lesser_key(operation),)}
    recorded = [
        pytest.mark.records(f"{operation.id}-{each}", **BY_KEYS) for each in recorded_outcomes(operation)
    ]
    return case(operation, CAPABILITIES, checks, shown, *recorded)


def case(operation, dimension, checks, shown, *marks):
    recorded = {
        each.outcome: each for each in reversed(list(values_of(operation))) if each.dimension == dimension
    }
    marks += tuple(
        pytest.mark.records(
            f"{operation.id}-{outcome}",
            *each.statuses,
            needs=each.needs,
            is_named=True,
            says=each.check.sentence,
        )
        for outcome, each in recorded.items()
        if outcome and each.check
    )
    marks += (pytest.mark.proves(*checks), *(pytest.mark.shows(fact, *shown[fact]) for fact in shown))
    return pytest.param(operation, dimension, id=f"{operation.id}-{dimension}", marks=marks)


BY_KEYS = {
    "is_named": True,
    "says": "A key is admitted exactly where its capabilities meet what is asked for.",
}


@pytest.mark.in_a_row(90)
@pytest.mark.parametrize(
    ("operation", "dimension"),
    [
        *(
            of_reasons(each, dimension)
            for each in operations_for()
            for dimension in (KEY, RESOURCE, BODY)
            if any(value.dimension == dimension for value in values_of(each))
        ),
        *map(of_capabilities, SECURED),
    ],
)
def test_request_is_refused_for_its_reason_alone(run, test_data, personas, operation, dimension):
    """What one value of a request, or two, is a reason to refuse is refused so, and all else is admitted."""
    Walk(test_data, operation, personas).walk(dimension, is_quick=run.options.quick)


@pytest.mark.in_a_row(20)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            (operations, values, check, change),
            id=name,
            marks=[pytest.mark.proves(check), pytest.mark.shows(*check.facts, *needs)],
        )
        for name, operations, values, check, change, *needs in (
            ("unknown-key", SECURED, unknown_keys, authentication.unknown_key, with_key),
            ("malformed-key", SECURED, malformed_keys, authentication.malformed_key, with_key),
            ("altered-key", SECURED, altered_keys, authentication.altered_key, with_key),
            ("name", RUNS, malformed_slugs, validation.malformed_slug, with_name, WORKFLOW_RUNNER),
            ("inputs", RUNS, wrong_inputs, validation.inputs_not_object, with_body, WORKFLOW_CALL),
            ("not-json", RUNS, bodies_not_json, validation.body_not_json, with_body, WORKFLOW_CALL),
            ("create", CREATE, misshapen_documents, validation.misshapen_create, with_body),
        )
    ],
)
@given(data=st.data())
def test_any_such_value_is_refused(tester, test_data, case, data):
    """Whatever a request has in place of a key, a name, inputs or a document is refused for that."""
    operations, values, check, change = case
    operation = data.draw(st.sampled_from(operations))
    needed = (tester.need(ANY_KEY).secret,) if values is altered_keys else ()
    value = Value(
        dimension=KEY if change is with_key else BODY,
        name="generated",
        check=check,
        change=partial(change, data.draw(values(*needed))),
    )

    exchange = Walk(test_data, operation).send(Point(value))

    assert not tester.findings_about(exchange)
