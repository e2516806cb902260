"""Every spelling of a request that reaches a handler is guarded, and answered, as the plain one is."""

from dataclasses import replace
from random import Random

import pytest

from knouds_harness.contract.operations import RUN_OPERATIONS
from knouds_harness.exchange.evidence import Call, body_of, effectless_call
from knouds_harness.judging.checks import authentication, capabilities, envelopes, spellings
from knouds_harness.suite.generation.unusual_requests import SPELLINGS, header_form, in_form, spelled
from knouds_harness.suite.generation.walk import Point, Walk, values_of
from knouds_harness.suite.selection import operations_for
from knouds_harness.targets.needs.keys import ANY_KEY, AUTHOR_AND_LESSER

pytestmark = pytest.mark.independent

OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "_method")
REFUSING = (401, 403, 404)
WRITES = ("updateWorkflow", "moveWorkflow", "deleteWorkflow")


def refused(operation):
    """What refuses the plain requests to an operation, and by which fact."""
    for value in values_of(operation):
        if value.check is authentication.missing_key:
            yield value, spellings.WITHOUT_KEY
        elif value.check is capabilities.denied:
            yield value, spellings.WITHOUT_CAPABILITY
        elif value.name == "foreign":
            yield value, spellings.FOREIGN[operation.id]


@pytest.mark.parametrize(
    ("operation", "value", "fact"),
    [
        pytest.param(
            operation,
            value,
            fact,
            id=f"{operation.id}-{value.name}",
            marks=[pytest.mark.needs(*value.needs), pytest.mark.shows(fact)],
        )
        for operation in operations_for(secured=True)
        for value, fact in refused(operation)
    ],
)
@pytest.mark.proves(spellings.guarded)
def test_no_spelling_admits_what_is_refused(tester, test_data, operation, value, fact):
    """What is refused without a key or a capability, or to other accounts, is so in every spelling."""
    draft = Walk(test_data, operation).draft(Point(value))
    assert draft is not None
    call = draft.call
    if operation.id in RUN_OPERATIONS:  # so that it does not start where it is let in
        call = call.having(json={"inputs": []})
    plain = tester.send(operation.id, draft.persona, call, key=draft.key)

    for name in SPELLINGS if plain.status in REFUSING else ():
        request = spelled(plain.request, name)
        if request is not None:
            exchange = tester.send_unjudged(request)
            elsewhere = None
            if spellings.lets_in(exchange):
                nowhere = replace(plain.request, path="/api/harness-no-such-route")
                elsewhere = tester.send_unjudged(spelled(nowhere, name))
            tester.judge(envelopes.no_server_error, exchange)
            tester.judge(spellings.guarded, exchange, refused_by=fact, elsewhere=elsewhere)


@pytest.mark.proves(capabilities.nothing_changed)
@pytest.mark.needs(AUTHOR_AND_LESSER)
@pytest.mark.parametrize("name", OVERRIDES)
def test_read_that_names_another_method_changes_nothing(tester, test_data, document, name):
    """A read stays a read, whatever method a header or the query names."""
    owner, lesser = tester.need(AUTHOR_AND_LESSER)
    slug = test_data.make_workflow(owner)
    before = body_of(tester.send("getWorkflow", owner, Call(path_values={"slug": slug})))

    for operation_id in WRITES:
        operation = document.operation_by_id[operation_id]
        call = test_data.call_on_existing(operation).having(path_values={"slug": slug})
        write = spelled(call.request(operation, persona=lesser.name), name)
        assert write is not None
        tester.send_unjudged(replace(write, method="GET"))

    after = tester.send("getWorkflow", owner, Call(path_values={"slug": slug}))
    tester.judge(capabilities.nothing_changed, after, before=before)


@pytest.mark.operations
@pytest.mark.proves(spellings.answered_alike)
@pytest.mark.shows(spellings.HEADERS)
def test_request_with_other_headers_is_answered_alike(run, tester, document, operation):
    """Case and order of header names, Accept, Accept-Encoding and User-Agent do not matter."""
    key = None if operation.is_public else tester.need(ANY_KEY)
    plain = tester.send(operation.id, key, effectless_call(operation))
    number = Random(run.options.seed).randrange(100) + document.operations.index(operation)
    for dimension, variation in header_form(number).items():
        request = in_form(plain.request, {dimension: variation})
        came = tester.send_unjudged(request)
        came = tester.rate_limit_retry.retry(came, lambda request=request: tester.send_unjudged(request))
        is_told = not came.is_lost and 429 not in (plain.status, came.status)
        if came.status is not None and came.status >= 500:
            tester.judge(envelopes.no_server_error, came)
        elif is_told and plain.status is not None and plain.status < 500:
            tester.judge(
                spellings.answered_alike,
                came,
                plain=plain,
                form={dimension: variation},
                statuses=set(operation.responses),
            )
