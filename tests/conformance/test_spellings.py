"""Every spelling of a request that reaches a handler is guarded, and answered, as the plain one is."""

from dataclasses import replace
from random import Random

import pytest

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.effectless_requests import effectless_call
from knouds_harness.exchange.evidence import Call
from knouds_harness.exchange.execution_status import body_of
from knouds_harness.judging.checks import capabilities, spellings
from knouds_harness.judging.checks.envelopes import form
from knouds_harness.suite.generation.header_forms import header_form, in_form, needed
from knouds_harness.suite.generation.spellings import SPELLINGS, spelled
from knouds_harness.suite.selection import operations_for
from knouds_harness.suite.support.workflow_authoring import filed
from knouds_harness.targets.needs.keys import ANY_KEY, AUTHOR_AND_LESSER, TWO_AUTHORS, TWO_AUTHORS_WHO_RUN
from knouds_harness.targets.needs.workflows import lesser_key

pytestmark = pytest.mark.independent

OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "_method")
WRITES = ("updateWorkflow", "moveWorkflow", "deleteWorkflow")


def unable_to_start(operation, call):
    """The call, with inputs that keep a run from starting where it is let in."""
    return call.having(json={"inputs": []}) if operation.action is Action.RUN else call


def try_spellings(tester, plain, fact):
    """Send what was refused in every other spelling, and judge each answer."""
    for name in SPELLINGS:
        request = spelled(plain.request, name)
        if request is not None:
            exchange = tester.send_unjudged(request)
            elsewhere = None
            if spellings.lets_in(exchange):
                nowhere = replace(plain.request, path="/api/harness-no-such-route")
                elsewhere = tester.send_unjudged(spelled(nowhere, name))
            tester.judge(form.no_server_error, exchange)
            tester.judge(spellings.guarded, exchange, refused_by=fact, elsewhere=elsewhere)


@pytest.mark.operations(secured=True)
@pytest.mark.proves(spellings.guarded)
@pytest.mark.shows(spellings.WITHOUT_KEY)
def test_no_spelling_admits_a_request_without_a_key(tester, subjects, operation):
    """What is refused without a key is refused in every spelling."""
    call = unable_to_start(operation, subjects.call_without_key(operation))

    plain = tester.send(operation.id, None, call)

    if plain.status == 401:
        try_spellings(tester, plain, spellings.WITHOUT_KEY)


@pytest.mark.parametrize(
    ("operation", "need"),
    [
        pytest.param(each, need, id=each.id, marks=pytest.mark.needs(need))
        for each in operations_for(secured=True, ids=None)
        if each.alternatives
        for need in [lesser_key(each)]
    ],
)
@pytest.mark.proves(spellings.guarded)
@pytest.mark.shows(spellings.WITHOUT_CAPABILITY)
def test_no_spelling_admits_a_key_without_the_capability(tester, subjects, operation, need):
    """What a key may not do, it may not do in any spelling."""
    call = unable_to_start(operation, subjects.call_on_existing(operation))

    plain = tester.send(operation.id, tester.need(need), call)

    if plain.code == "CAPABILITY_DENIED":
        try_spellings(tester, plain, spellings.WITHOUT_CAPABILITY)


@pytest.mark.operations(
    ids=spellings.FOREIGN, shows={each: (fact,) for each, fact in spellings.FOREIGN.items()}
)
@pytest.mark.proves(spellings.guarded)
@pytest.mark.needs(TWO_AUTHORS)
def test_no_spelling_opens_the_workflow_of_another_account(tester, subjects, operation):
    """What is refused to other accounts is refused in every spelling."""
    need = TWO_AUTHORS_WHO_RUN if operation.id == "runWorkflow" else TWO_AUTHORS
    owner, stranger = tester.need(need)
    slug, _ = filed(tester, subjects, owner, is_public=False)
    call = subjects.call_on_existing(operation).having(path_values={"slug": slug})

    plain = tester.send(operation.id, stranger, unable_to_start(operation, call))

    if plain.status in (403, 404):
        try_spellings(tester, plain, spellings.FOREIGN[operation.id])


@pytest.mark.proves(capabilities.nothing_changed)
@pytest.mark.needs(AUTHOR_AND_LESSER)
@pytest.mark.parametrize("name", OVERRIDES)
def test_read_that_names_another_method_changes_nothing(tester, subjects, document, name):
    """A read stays a read, whatever method a header or the query names."""
    owner, lesser = tester.need(AUTHOR_AND_LESSER)
    slug = subjects.make_workflow(owner)
    before = body_of(tester.send("getWorkflow", owner, Call(path_values={"slug": slug})))

    for operation_id in WRITES:
        operation = document.operation_by_id[operation_id]
        call = subjects.call_on_existing(operation).having(path_values={"slug": slug})
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
    forms = {}

    def is_different(varied):
        request = in_form(plain.request, varied)
        sent = tester.send_unjudged(request)
        came = tester.rate_limit_retry.retry(sent, lambda: tester.send_unjudged(request))
        forms[tuple(varied)] = came
        return came.status != 429 and not came.is_lost and not spellings.is_alike(came, plain)

    varied = header_form(number)
    if is_different(varied):
        varied = needed(varied, is_different)
    came = forms[tuple(varied)]
    if came.status is not None and came.status >= 500:
        tester.judge(form.no_server_error, came)
    elif plain.status not in (None, 429) and plain.status < 500 and came.status != 429 and not came.is_lost:
        statuses = set(operation.responses)
        tester.judge(spellings.answered_alike, came, plain=plain, form=varied, statuses=statuses)
