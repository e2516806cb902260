"""Evidence of load is bounded, holds no secret, and reaches the record."""

import json
from dataclasses import replace

import pytest
from load_records import operation
from run_records import TARGET

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.load.client.response import Response
from knouds_harness.load.collection.evidence_samples import SampleWriter
from knouds_harness.load.collection.rows import MOST_OF_A_KIND
from knouds_harness.load.collection.seconds import Error
from knouds_harness.runs.operation_load import ErrorCount, RequestStatus

WRONG = Error("runWorkflow async", RequestStatus.WRONG, 409, "NO_SUCH_CODE")
KEY = "knouds_live_no-secret"


def copy(body=b'{"code": "NO_SUCH_CODE"}', *, sent_body=b'{"inputs": {}}', headers=b""):
    head = b"POST /api/workflows/a/run HTTP/1.1\r\nHost: x\r\nx-api-key: " + KEY.encode() + b"\r\n\r\n"
    response = Response()
    response.sender, response.method, response.sent = "full", "POST", head + sent_body
    response.url = f"{TARGET.base_url}/api/workflows/a/run?async=true"
    response.fill(409, b"HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\n" + headers, 0, body)
    return response


@pytest.fixture
def written() -> list[Exchange]:
    return []


@pytest.fixture
def evidence(written) -> SampleWriter:
    return SampleWriter(TARGET, written.append, cost_credits_by_path={"/api/workflows/a/run": 3.0})


def test_exchange_is_kept_whole(evidence, written):
    evidence.add(WRONG, copy())

    (exchange,) = written
    assert (exchange.request.method, exchange.request.path) == ("POST", "/api/workflows/a/run")
    assert exchange.request.query == (("async", "true"),)
    assert exchange.request.body == b'{"inputs": {}}'
    assert exchange.request.operation_id == "runWorkflow"
    assert exchange.request.persona == "full"
    assert (exchange.request.action, exchange.request.cost_credits) == ("run", 3.0)
    assert (exchange.status, exchange.code) == (409, "NO_SUCH_CODE")
    assert exchange.header("content-type") == "application/json"


def test_exchange_of_a_scenario_is_of_its_operation(evidence, written):
    evidence.add(WRONG._replace(operation=f"Runners: {WRONG.operation}"), copy())

    assert written[0].request.operation_id == "runWorkflow"


def test_few_exchanges_of_a_kind_are_written(evidence, written):
    for _ in range(100):
        evidence.add(WRONG, copy())
    evidence.add(WRONG._replace(code="OTHER"), copy())

    assert len(written) == MOST_OF_A_KIND + 1


def test_number_of_kinds_is_bounded(evidence, written):
    for number in range(300):
        evidence.add(WRONG._replace(code=f"CODE_{number}"), copy())

    assert len(written) == 100


def test_secrets_are_replaced(evidence, written):
    echoed = json.dumps({"echo": KEY}).encode()

    evidence.add(WRONG, copy(echoed, sent_body=KEY.encode(), headers=f"X-Echo: {KEY}\r\n".encode()))

    (exchange,) = written
    assert KEY not in repr(exchange)
    assert "{{key:" in str(exchange.sent_headers)


def test_metrics_name_the_exchanges_of_each_error(evidence):
    """So that a report can link each kind of error to its evidence."""
    evidence.add(WRONG, copy())
    errors = (
        ErrorCount(status="wrong", status_code=409, code="NO_SUCH_CODE", count=7),
        ErrorCount(status="failed", status_code=None, code="Timeout", count=1),
    )

    (named,) = evidence.named_in((replace(operation("runWorkflow async"), errors=errors),))

    assert [error.exchanges for error in named.errors] == [("x00001",), ()]
