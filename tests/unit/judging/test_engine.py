"""The engine's verdict on one exchange: the breaches that a live check would find, and nothing open."""

from dataclasses import replace

import pytest
from run_records import exchange

from knouds_harness.exchange.evidence import NO_SUCH_WORKFLOW
from knouds_harness.judging.claim import is_answer
from knouds_harness.judging.context import Context
from knouds_harness.judging.engine import judge
from knouds_harness.runs.run_file import RunPersona

REFUSED = {"error": "No.", "code": "UNAUTHORIZED"}
DENIED = {"error": "No.", "code": "CAPABILITY_DENIED", "required": "model:run"}
FAILED = {"error": "No.", "code": "EXECUTION_FAILED"}
RUN: dict[str, object] = {"inputs": {}}


def persona(name, *capabilities, **members):
    given = {"user": "ada", "tier": "enterprise", "role": "user", "state": "active", "credits": "enough"}
    return RunPersona(name=name, capabilities=capabilities, **{**given, **members})


KEYS = {
    each.name: each
    for each in (
        persona("full", "workflow:read", "workflow:run", "model:run"),
        persona("none"),
        persona("revoked", "workflow:read", state="revoked"),
        persona("pro", "workflow:run", "model:run", tier="pro", user="pia"),
    )
}


def broken(shown, *, keys=(), is_ours=True):
    known = {name: KEYS[name] for name in keys}
    context = Context(keys=known, is_ours=is_ours)
    return {
        claim.fact
        for check, claim in judge(shown, context)
        if not claim.holds and check.applies is not is_answer
    }


def with_key(shown, *headers, query=()):
    return replace(shown, sent_headers=headers, request=replace(shown.request, query=query))


@pytest.mark.parametrize(
    ("headers", "query", "fact"),
    [
        ((), (), "auth.missing-key-is-401"),
        ((("x-api-key", ""),), (), "auth.empty-key-is-401"),
        ((("x-api-key", "null"),), (), "auth.malformed-key-is-401"),
        ((("x-api-key", "{{key:unknown}}"),), (), "auth.unknown-key-is-401"),
        ((("x-api-key", "{{key:altered}}"),), (), "auth.altered-key-is-401"),
        ((("authorization", "Bearer {{key:full}}"),), (), "auth.bearer-is-not-accepted"),
        ((), (("key", "{{key:full}}"),), "auth.query-key-is-not-accepted"),
    ],
)
def test_success_with_a_missing_or_wrong_key_is_broken(headers, query, fact):
    """Only in traffic of this harness: a browser's export leaves keys out."""
    accepted = with_key(exchange(1, "listWorkflows", body=[]), *headers, query=query)
    refused = with_key(exchange(1, "listWorkflows", body=REFUSED, status=401), *headers, query=query)

    assert broken(accepted) == {fact}
    assert broken(refused) == set()
    assert broken(accepted, is_ours=False) == set()


@pytest.mark.parametrize(
    ("slug", "is_broken"),
    [("my-flow", False), ("my-flow-2", False), ("my-flow2", False), ("My-Flow", True), ("flow", True)],
)
def test_slug_comes_from_a_plain_name(slug, is_broken):
    shown = exchange(1, "createWorkflow", status=201, sent={"name": "My Flow"}, body={"slug": slug})

    assert ("workflows.create-makes-slug-from-name" in broken(shown)) is is_broken


@pytest.mark.parametrize(
    ("operation", "key", "answer", "fact"),
    [
        ("listWorkflows", "none", {"body": []}, "capability.missing-is-403-denied"),
        ("listWorkflows", "revoked", {"body": []}, "auth.revoked-key-is-401"),
        ("listWorkflows", "full", {"status": 401, "body": REFUSED}, "auth.key-in-x-api-key"),
        ("listWorkflows", "full", {"status": 404, "body": REFUSED}, None),
        ("runModel", "pro", {"status": 500, "body": FAILED, "sent": RUN}, "model.run-under-business-is-403"),
        ("runModel", "pro", {"status": 403, "body": DENIED, "sent": RUN}, None),
        ("runModel", "full", {"status": 403, "body": DENIED}, "capability.exact-is-admitted"),
        ("runWorkflow", "pro", {"body": {"success": True}, "sent": RUN}, "rate.headers-on-success"),
    ],
)
def test_response_is_judged_by_the_rights_of_a_known_key(operation, key, answer, fact):
    shown = exchange(1, operation, persona=key, **answer)

    assert broken(shown, keys=KEYS) == {fact} - {None}
    assert broken(shown) == set()


@pytest.mark.parametrize(
    ("status", "fact"), [(404, None), (400, None), (422, None), (200, "workflows.unknown-is-404")]
)
def test_bad_body_may_be_refused_before_the_missing_workflow(status, fact):
    """Which of two defects a server names is open."""
    shown = exchange(1, "updateWorkflow", status=status, sent={"nodes": [1]}, body=REFUSED)
    shown = replace(shown, request=replace(shown.request, path_values={"slug": NO_SUCH_WORKFLOW}))

    assert broken(shown) == {fact} - {None}


@pytest.mark.parametrize(("size", "is_broken"), [(100, True), (2_000_000, False)])
def test_status_that_no_source_gives_may_come_with_any_code(size, is_broken):
    """Of a body that is too large the status is open; of a small one, 413 is no status of this code."""
    answer = {"error": "No.", "code": "INVALID_BODY"}
    shown = exchange(1, "createWorkflow", status=413, sent={"name": "x" * size}, body=answer)

    claims = judge(shown, Context())

    broken = {claim.fact for _, claim in claims if not claim.holds}
    assert ("envelope.code-fits-status" in broken) == is_broken


@pytest.mark.parametrize(
    "inputs",
    [
        "[1e400]",
        "[-1e999]",
        "[" + "1" * 400 + "]",
        "[" * 300 + "]" * 300,
        "[" * 100_000,
        r'"\ud800"',
        r'{"a": "\udfff"}',
        r'["\x41"]',
        "[NaN] // a comment",
    ],
)
@pytest.mark.parametrize(
    ("code", "wrong_for"), [("INVALID_BODY", b'{"inputs": [1]}'), ("INVALID_INPUTS", b'{"inputs": [1')]
)
def test_inputs_that_parsers_may_refuse_decide_nothing(inputs, code, wrong_for):
    """A sound server may say that this is not JSON, or take more than JSON."""
    shown = exchange(1, "runModel", status=400, body={"error": "No.", "code": code})
    body = f'{{"inputs": {inputs}}}'.encode()
    shown = replace(
        shown,
        sent_headers=(*shown.sent_headers, ("content-type", "application/json")),
        request=replace(shown.request, body=body),
    )

    assert broken(shown) == set()
    assert broken(replace(shown, request=replace(shown.request, body=wrong_for))) != set()


@pytest.mark.parametrize(
    ("operation_id", "status", "is_cause"),
    [(None, 405, True), ("listWorkflows", 405, False), ("getHealth", 503, True)],
)
def test_page_of_a_proxy_is_one_cause(operation_id, status, is_cause):
    """It breaks nothing else; methods that no operation has are among what a proxy may refuse."""
    html = (("content-type", "text/html"),)
    page = exchange(1, "listWorkflows", status=status, raw=b"<html>", headers=html)
    page = replace(page, request=replace(page.request, operation_id=operation_id))

    found = {check.id for check, claim in judge(page, Context()) if not claim.holds}

    assert (found == {"envelopes.intermediary"}) is is_cause
