"""Evidence of load is bounded, has no secret in it, and reaches the record from any process."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from load_records import operation
from run_records import TARGET

from knouds_harness.load.client.response import Response
from knouds_harness.load.collection.evidence_samples import MOST_OF_A_KIND, Samples, SampleWriter
from knouds_harness.load.collection.seconds import Error
from knouds_harness.runs.load_results import ErrorCount, RequestStatus

WRONG = Error("runWorkflow async", RequestStatus.WRONG, 409, "NO_SUCH_CODE")
KEY = "knouds_live_no-secret"


def response(body=b'{"code": "NO_SUCH_CODE"}', *, sent_body=b'{"inputs": {}}', headers=b""):
    """What the client kept of a request and its answer."""
    answer = Response()
    answer.method, answer.url = "POST", f"{TARGET.base_url}/api/workflows/a/run?async=true"
    answer.sent = b"POST /api/workflows/a/run HTTP/1.1\r\nHost: x\r\nx-api-key: " + KEY.encode() + b"\r\n\r\n"
    answer.sent += sent_body
    answer.elapsed_ms = 12.5
    answer.fill(409, b"HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\n" + headers, 0, body)
    return answer


@pytest.fixture
def kept():
    """The exchanges that a run keeps."""
    return []


@pytest.fixture
def evidence(kept):
    """Of the process that leads."""
    return SampleWriter(kept.append)


def test_exchange_is_kept_whole(kept, evidence):
    """Request, answer and whose key it was."""
    Samples(TARGET, on_sample=evidence.add).add(WRONG, response(), 1_764_063_000.0)

    (exchange,) = kept
    assert exchange.id == "x00001"
    assert (exchange.request.method, exchange.request.path) == ("POST", "/api/workflows/a/run")
    assert exchange.request.query == (("async", "true"),)
    assert exchange.request.body == b'{"inputs": {}}'
    assert exchange.request.operation_id == "runWorkflow"
    assert exchange.request.persona in TARGET.personas
    assert (exchange.status, exchange.code) == (409, "NO_SUCH_CODE")
    assert exchange.header("content-type") == "application/json"


def test_few_of_a_kind_are_kept(kept, evidence):
    """However many fail, the record stays small."""
    samples = Samples(TARGET, on_sample=evidence.add)
    for _ in range(1000):
        samples.add(WRONG, response(), 0.0)
    samples.add(WRONG._replace(code="OTHER"), response(), 0.0)

    assert len(kept) == MOST_OF_A_KIND + 1


def test_kinds_are_bounded_too(kept, evidence):
    """A server that makes codes up does not fill the disk."""
    samples = Samples(TARGET, on_sample=evidence.add)
    for number in range(1000):
        samples.add(WRONG._replace(code=f"CODE_{number}"), response(), 0.0)

    assert len(kept) == 100


def test_secrets_are_replaced(kept, evidence):
    """In headers, bodies and whatever the server echoes."""
    answer = response(
        json.dumps({"echo": KEY}).encode(), sent_body=KEY.encode(), headers=f"X-Echo: {KEY}\r\n".encode()
    )

    Samples(TARGET, on_sample=evidence.add).add(WRONG, answer, 0.0)

    (exchange,) = kept
    assert KEY not in repr(exchange)
    assert "{{key:" in str(exchange.sent_headers)


def test_another_clients_answer_is_left_out(kept, evidence):
    """It does not say what was sent."""
    Samples(TARGET, on_sample=evidence.add).add(WRONG, object(), 0.0)

    assert kept == []


def test_worker_hands_its_exchanges_on(kept, evidence):
    """As they are, and each once."""
    worker = Samples(TARGET, on_sample=None)
    worker.add(WRONG, response(), 0.0)

    evidence.receive(json.loads(json.dumps(worker.packed())))
    evidence.receive(worker.packed())

    (exchange,) = kept
    assert exchange.status == 409


def test_figures_name_the_exchanges(evidence):
    """So that a report can link each kind of error to what shows it."""
    Samples(TARGET, on_sample=evidence.add).add(WRONG, response(), 0.0)
    errors = (
        ErrorCount(outcome="wrong", status=409, code="NO_SUCH_CODE", count=7),
        ErrorCount(outcome="failed", status=None, code="Timeout", count=1),
    )

    (named,) = evidence.named_in((replace(operation("runWorkflow async"), errors=errors),))

    assert [error.exchanges for error in named.errors] == [("x00001",), ()]
