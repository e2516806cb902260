"""Our checks as schemathesis calls them: conversion, verdicts, waivers, and knowledge of the account."""

import json
from typing import Any

import pytest
import requests
import schemathesis
from schemathesis.checks import CHECKS

import knouds_harness.schemathesis_checks  # noqa: F401 - registers the checks
from knouds_harness.contract.document import shipped_document
from knouds_harness.schemathesis_checks import exchange_of

CHECK = "knouds_envelopes_envelope"
WAIVER = {"fact": "envelope.plain-401-has-code", "reason": "known", "expires": "2999-01-01"}
LIMITED = {"user": {"id": "u", "email": "e@x", "role": "user", "tier": "pro", "approved": True}}
UNLIMITED = {"user": {**LIMITED["user"], "tier": "enterprise"}}
NO_CODE = {"error": "no"}
RESULT = {"success": True, "result": {"images": []}, "cost": 1, "ms": 1}


def check_named(name: str, **table: Any) -> Any:
    """Return what schemathesis makes of a registered check and its configuration."""
    check: Any = CHECKS.get_one(name)
    return check(**table)


@pytest.fixture(scope="module")
def schema():
    """The document, under a base path."""
    schema = schemathesis.openapi.from_dict(
        dict(shipped_document().raw), config=schemathesis.Config.from_dict({})
    )
    schema.config.update(base_url="http://127.0.0.1/v1")
    return schema


@pytest.fixture
def judge(schema):
    def judge(check, operation_id, status, body, **options):
        return check.after_response(None, *answered(schema, operation_id, status, body, **options))

    return judge


def answered(schema, operation_id, status, body, *, headers=None, method=None, path=None):
    case = schema.find_operation_by_id(operation_id).Case()
    url = f"http://127.0.0.1/v1{path or case.operation.path.format(slug='portrait', id='x')}"
    sent = requests.Request(
        method or case.operation.method.upper(), url, headers={"x-api-key": "k"}
    ).prepare()
    response = schemathesis.Response(
        status_code=status,
        headers={"content-type": ["application/json"], **(headers or {})},
        content=json.dumps(body).encode(),
        request=sent,
        elapsed=0.1,
        verify=False,
    )
    return response, case


def test_exchange_names_the_operation_that_was_reached_under_a_base_path(schema):
    """The base path is removed, and path values are read from the request as it was sent."""
    exchange = exchange_of(*answered(schema, "getWorkflow", 404, {}, path="/api/workflows/a%20b?x=1"))
    of_another = exchange_of(*answered(schema, "getWorkflow", 200, [], path="/api/workflows"))

    assert (exchange.request.operation_id, exchange.request.path_values) == ("getWorkflow", {"slug": "a b"})
    assert (exchange.request.query, exchange.elapsed_ms) == ((("x", "1"),), 100)
    assert exchange.sent_headers == ()  # they hold the key
    assert of_another.request.operation_id == "listWorkflows"


def test_breach_fails(judge):
    with pytest.raises(AssertionError, match=r"breach: envelope\.error-has-code \(/code\)"):
        judge(check_named(CHECK), "getExecution", 404, NO_CODE)


def test_assumption_does_not_fail(judge):
    """A create whose response lacks the slug breaks only an assumption."""
    assert judge(check_named("knouds_schemas_body"), "createWorkflow", 201, {"id": 1}) is None


def test_conflict_fails_unless_it_is_waived(judge):
    """A waiver that has expired accepts nothing."""
    for waivers in ((), (WAIVER | {"expires": "2020-01-01"},)):
        with pytest.raises(AssertionError, match="conflict"):
            judge(check_named(CHECK, waivers=waivers), "getWhoami", 401, NO_CODE)

    judge(check_named(CHECK, waivers=[WAIVER]), "getWhoami", 401, NO_CODE)


@pytest.mark.parametrize("lacking", ["fact", "reason", "expires"])
def test_incomplete_waiver_is_refused(lacking):
    """A waiver says what it accepts, why, and until when."""
    with pytest.raises(ValueError, match=r"reason|expires|which findings"):
        check_named(CHECK, waivers=[{name: WAIVER[name] for name in WAIVER if name != lacking}])


def test_preflight_is_not_judged(judge):
    """The ground rules are about the API's methods, not a proxy's response to OPTIONS."""
    assert judge(check_named("knouds_envelopes_json_object"), "getHealth", 200, "", method="OPTIONS") is True


def test_runs_of_a_limited_account_alone_carry_the_headers(judge):
    """For unlimited accounts the headers are open, and so they are for unknown ones."""
    check = check_named("knouds_schemas_limited_run_headers")
    others: list[Any] = [UNLIMITED, {"user": {**LIMITED["user"], "role": "admin"}}, NO_CODE, []]
    for whoami in others:
        judge(check, "getWhoami", 200, whoami)
        assert judge(check, "runWorkflow", 200, RESULT) is True

    judge(check, "getWhoami", 200, LIMITED)

    with pytest.raises(AssertionError, match="X-RateLimit-Reset"):
        judge(check, "runWorkflow", 200, RESULT)


def test_rate_limit_is_that_of_the_tier(judge):
    check = check_named("knouds_rate_limits_told_limit")
    judge(check, "getWhoami", 200, LIMITED)

    with pytest.raises(AssertionError, match=r"tier\.rate-limit-pro"):
        judge(check, "runWorkflow", 200, RESULT, headers={"x-ratelimit-limit": ["1000"]})
