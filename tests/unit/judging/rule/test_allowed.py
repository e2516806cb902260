"""Answers, read by the rule: which are legal, which break a fact and which show one to hold."""

from dataclasses import replace

import pytest
from run_records import DOCUMENT, exchange

from knouds_harness.judging.rule.allowed import allowed
from knouds_harness.judging.rule.asked import AskedRequest, Known, KnownResource
from knouds_harness.judging.rule.reading import read
from knouds_harness.judging.rule.reasons import OVER_LIMIT, UNKNOWN_ROUTE

FULL = frozenset({"workflow:read", "workflow:write", "workflow:run", "model:run", "execution:read"})
ADA = Known(state="active", held=FULL, user="ada", tier="pro", role="user")
OWN = KnownResource(exists=True, owner="ada", is_deleted=False, is_public=False, is_template=False)
NOWHERE = KnownResource(exists=False, is_deleted=False)
PLAIN = b'{"name": "Harbour"}'


def asked(operation_id, body=None, *, name="portrait", **more):
    operation = DOCUMENT.operation_by_id[operation_id]
    values = dict.fromkeys(operation.path_parameters, name)
    key = "missing" if operation.is_public else "known"
    return AskedRequest(operation=operation, path_values=values, body=body, **{"key": key, **more})


def answered(request, status, code=None, **members):
    body = {**({"error": "No.", "code": code} if code else {}), **members}
    return exchange(1, request.operation, status=status, body=body)


def facts(request, known, answer, hold):
    return {each.fact for _, each in read(answer, allowed(request, known)) if each.holds is hold}


MOVED_NOWHERE = asked("moveWorkflow"), replace(ADA, resource=NOWHERE)
RUN_NOWHERE_UNPAID = asked("runWorkflow", b'{"inputs": {}}'), replace(ADA, resource=NOWHERE, funds="none")
THEIRS = replace(OWN, owner="bob")
READ_THEIRS_UNABLE = asked("getWorkflow"), replace(ADA, resource=THEIRS, held=frozenset({"workflow:write"}))
BOUND = replace(ADA, held=frozenset({"workflow:other:run"}), resource=KnownResource())
RUN_BOUND = asked("runWorkflow", b'{"inputs": {}}'), BOUND
CREATED = asked("createWorkflow", PLAIN), ADA
RUN_ID = "00000000-0000-4000-8000-000000000001"
RUNNING = replace(ADA, held=frozenset({"execution:*"}), resource=KnownResource(exists=True, owner="ada"))
CANCELLED = asked("cancelExecution", name=RUN_ID), RUNNING
POLLED = asked("getExecution", name=RUN_ID), RUNNING
POLLED_AFTER_END = POLLED[0], replace(RUNNING, resource=replace(RUNNING.resource, has_ended=True))
READ_OWN = asked("getWorkflow"), replace(ADA, resource=OWN)
FREE = replace(ADA, tier="free", has_workflow=True)
REFUSED_READ = {"capability.orthogonal", "workflows.foreign-private-read-is-refused"}
SPACED = asked("createWorkflow", b'{"name": " Harbour "}'), ADA
READ_UNDECLARED = asked("getWorkflow", is_json=False), READ_OWN[1]
DELETED_UNKNOWN = asked("deleteWorkflow", key="missing"), Known(resource=NOWHERE)
MOVED_TO_ROOT = asked("moveWorkflow", b'{"folderId": null}'), MOVED_NOWHERE[1]


@pytest.mark.parametrize(
    ("case", "status", "code", "broken"),
    [
        (MOVED_NOWHERE, 404, "NOT_FOUND", set()),
        (MOVED_NOWHERE, 400, "INVALID_BODY", set()),
        (MOVED_NOWHERE, 200, None, {"workflows.unknown-is-404", "workflows.move-body"}),
        (RUN_NOWHERE_UNPAID, 404, "NOT_FOUND", set()),
        (RUN_NOWHERE_UNPAID, 402, "INSUFFICIENT_CREDITS", set()),
        (RUN_NOWHERE_UNPAID, 200, None, {"run.unknown-workflow-is-404"}),
        (RUN_NOWHERE_UNPAID, 403, "CAPABILITY_DENIED", {"capability.exact-is-admitted"}),
        (READ_THEIRS_UNABLE, 403, "CAPABILITY_DENIED", set()),
        (READ_THEIRS_UNABLE, 403, "FORBIDDEN", set()),
        (READ_THEIRS_UNABLE, 404, "NOT_FOUND", set()),
        (READ_THEIRS_UNABLE, 401, "UNAUTHORIZED", {"auth.key-in-x-api-key", "capability.orthogonal"}),
        (READ_THEIRS_UNABLE, 200, None, REFUSED_READ),
        (RUN_BOUND, 403, "CAPABILITY_DENIED", set()),
        (RUN_BOUND, 404, "NOT_FOUND", set()),
        (RUN_BOUND, 200, None, {"capability.bound-form-is-exact"}),
        (POLLED, 404, "NOT_FOUND", {"execution.poll-shape"}),
        (POLLED_AFTER_END, 404, "NOT_FOUND", {"execution.final-is-absorbing"}),
        (CANCELLED, 404, "NOT_FOUND", set()),  # it may have ended, and how that is told is assumed
        ((asked("updateWorkflow", is_json=False), READ_OWN[1]), 415, "OTHER_TYPE", set()),
        (READ_UNDECLARED, 415, "OTHER_TYPE", {"ground.bodiless-needs-no-content-type"}),
        (CREATED, 201, None, set()),
        (CREATED, 403, "FORBIDDEN", {"workflows.create-refusal-status"}),
        (CREATED, 409, "CONFLICT", {"workflows.create-refusal-status"}),  # an assumption, no breach
        (SPACED, 409, "CONFLICT", {"workflows.create-refusal-status"}),
        ((asked("createWorkflow", b'{"name": "Harbour", "nodes": []}'), ADA), 409, "CONFLICT", set()),
        ((CREATED[0], FREE), 409, "WORKFLOW_LIMIT_REACHED", set()),
        ((CREATED[0], FREE), 201, None, {"workflows.free-capped-at-one"}),
        (READ_OWN, 404, "NOT_FOUND", {"workflows.creator-owns"}),
        (READ_OWN, 418, "TEAPOT", {"ground.status-is-documented"}),
        ((asked("getHealth"), Known()), 401, "UNAUTHORIZED", {"auth.public-operations-need-no-key"}),
        ((asked("getWhoami", key="missing"), Known()), 403, "CAPABILITY_DENIED", {"auth.before-capability"}),
        ((asked("getWhoami", key=""), Known()), 401, "UNAUTHORIZED", set()),
        ((asked("listWorkflows"), replace(ADA, held=None)), 403, "CAPABILITY_DENIED", set()),
        (DELETED_UNKNOWN, 404, "NOT_FOUND", {"auth.missing-key-is-401"}),
    ],
)
def test_breach_is_what_no_legal_server_could_answer(case, status, code, broken):
    """Whatever a server looks at first: of two reasons that apply, either answer is legal."""
    assert facts(case[0], case[1], answered(case[0], status, code), False) == broken


@pytest.mark.parametrize(
    ("case", "status", "code", "fact"),
    [
        (MOVED_NOWHERE, 404, "NOT_FOUND", None),  # a move without a folder may be a 404 as well
        (MOVED_TO_ROOT, 404, "NOT_FOUND", "workflows.unknown-is-404"),
        (READ_THEIRS_UNABLE, 403, "CAPABILITY_DENIED", "capability.orthogonal"),
        (READ_OWN, 200, None, "workflows.creator-owns"),
        (READ_OWN, 200, None, "capability.exact-is-admitted"),
        (READ_OWN, 503, "BUSY", None),
    ],
)
def test_fact_is_verified_by_an_answer_that_shows_it(case, status, code, fact):
    """That is by one that a server which breaks the fact could not have given."""
    held = facts(case[0], case[1], answered(case[0], status, code), True)

    assert fact in held if fact else not held


def test_body_that_was_not_captured_says_nothing():
    """A run without a known body may have been any run."""
    run = asked("runWorkflow", key="", is_body_known=False)

    assert not facts(run, Known(), answered(run, 200), False)
    assert not facts(run, Known(), answered(run, 400, "INVALID_INPUTS"), False)


def test_refusal_without_a_reason_says_why_there_is_none():
    claims = read(answered(READ_OWN[0], 404, "NOT_FOUND"), allowed(*READ_OWN))

    said = [each.expected for _, each in claims if not each.holds]
    holds = "execution:read, model:run, workflow:read, workflow:run, workflow:write"
    assert said == [
        f"no documented reason to refuse: the key works, the key holds {holds}, what it names exists"
    ]


def test_sender_may_know_more_than_the_request_tells():
    request = AskedRequest(operation=None)
    answer = replace(exchange(1, "getHealth"), status=200)

    assert not list(read(answer, allowed(request, Known())))
    assert facts(request, Known(asserted=frozenset({UNKNOWN_ROUTE.id})), answer, False) == {
        "ground.unknown-route-is-404"
    }


def test_server_error_over_the_limit_is_not_the_refusal():
    body = {"error": "Too many requests.", "code": "RATE_LIMIT_EXCEEDED"}
    answer = exchange(1, "getHealth", status=503, body=body)
    known = Known(asserted=frozenset({OVER_LIMIT.id}))

    assert facts(AskedRequest(operation=None), known, answer, False) == {"rate.over-limit-is-429"}
