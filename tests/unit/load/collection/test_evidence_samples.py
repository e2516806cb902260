"""Evidence of load is bounded, holds no secret, and reaches the record from any process."""

import json
from dataclasses import replace

import pytest
from load_records import operation
from run_records import TARGET

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.load.client.response import Response
from knouds_harness.load.collection.evidence_samples import MOST_OF_A_KIND, Samples, SampleWriter
from knouds_harness.load.collection.seconds import Error
from knouds_harness.runs.operation_load import ErrorCount, RequestStatus

WRONG = Error("runWorkflow async", RequestStatus.WRONG, 409, "NO_SUCH_CODE")
KEY = "knouds_live_no-secret"


def response(body=b'{"code": "NO_SUCH_CODE"}', *, sent_body=b'{"inputs": {}}', headers=b""):
    answer = Response()
    answer.method, answer.url = "POST", f"{TARGET.base_url}/api/workflows/a/run?async=true"
    answer.sent = b"POST /api/workflows/a/run HTTP/1.1\r\nHost: x\r\nx-api-key: " + KEY.encode() + b"\r\n\r\n"
    answer.sent += sent_body
    answer.elapsed_ms = 12.5
    answer.fill(409, b"HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\n" + headers, 0, body)
    return answer


@pytest.fixture
def samples():
    return Samples(TARGET)


def test_exchange_is_kept_whole(samples):
    samples.add(WRONG, response(), 1_764_063_000.0)

    ((error, exchange),) = samples.take()
    assert error == WRONG
    assert (exchange.request.method, exchange.request.path) == ("POST", "/api/workflows/a/run")
    assert exchange.request.query == (("async", "true"),)
    assert exchange.request.body == b'{"inputs": {}}'
    assert exchange.request.operation_id == "runWorkflow"
    assert exchange.request.persona in TARGET.personas
    assert (exchange.status, exchange.code) == (409, "NO_SUCH_CODE")
    assert exchange.header("content-type") == "application/json"


def test_few_exchanges_of_a_kind_are_kept(samples):
    for _ in range(1000):
        samples.add(WRONG, response(), 0.0)
    samples.add(WRONG._replace(code="OTHER"), response(), 0.0)

    assert len(samples.take()) == MOST_OF_A_KIND + 1


def test_number_of_kinds_is_bounded(samples):
    for number in range(1000):
        samples.add(WRONG._replace(code=f"CODE_{number}"), response(), 0.0)

    assert len(samples.take()) == 100


def test_secrets_are_replaced(samples):
    answer = response(
        json.dumps({"echo": KEY}).encode(), sent_body=KEY.encode(), headers=f"X-Echo: {KEY}\r\n".encode()
    )

    samples.add(WRONG, answer, 0.0)

    ((_, exchange),) = samples.take()
    assert KEY not in repr(exchange)
    assert "{{key:" in str(exchange.sent_headers)


def test_response_of_another_client_is_left_out(samples):
    samples.add(WRONG, object(), 0.0)

    assert samples.take() == []


def test_exchanges_of_workers_reach_the_record(samples):
    kept: list[Exchange] = []
    evidence = SampleWriter(kept.append)
    samples.add(WRONG, response(), 0.0)

    evidence.receive(json.loads(json.dumps(samples.packed())))
    evidence.receive(samples.packed())

    (exchange,) = kept
    assert (exchange.id, exchange.status) == ("x00001", 409)


def test_few_exchanges_of_a_kind_are_written_over_all_processes(samples):
    kept: list[Exchange] = []
    evidence = SampleWriter(kept.append)
    samples.add(WRONG, response(), 0.0)
    ((_, exchange),) = samples.take()

    for _ in range(MOST_OF_A_KIND + 1):
        evidence.add(WRONG, exchange)

    assert len(kept) == MOST_OF_A_KIND


def test_metrics_name_the_exchanges_of_each_error(samples):
    """So that a report can link each kind of error to its evidence."""
    evidence = SampleWriter(lambda _: None)
    samples.add(WRONG, response(), 0.0)
    for error, exchange in samples.take():
        evidence.add(error, exchange)
    errors = (
        ErrorCount(status="wrong", status_code=409, code="NO_SUCH_CODE", count=7),
        ErrorCount(status="failed", status_code=None, code="Timeout", count=1),
    )

    (named,) = evidence.named_in((replace(operation("runWorkflow async"), errors=errors),))

    assert [error.exchanges for error in named.errors] == [("x00001",), ()]
