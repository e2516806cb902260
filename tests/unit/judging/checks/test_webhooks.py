"""The checks of deliveries: what breaks them, and when they make no claim."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from exchanges import assert_breaks, broken, claimed, exchange, named, rows

from knouds_harness.exchange.redaction import Redactor
from knouds_harness.exchange.webhooks import Delivery, sign
from knouds_harness.judging.checks import webhooks

NOW = datetime(2026, 11, 25, tzinfo=UTC)
NOW_UNIX_S = int(NOW.timestamp())
SECRET = "whsec_0123456789abcdef"
PAYLOAD: dict[str, Any] = {
    "event": "execution.completed",
    "executionId": "8d3f4a52-59a1-4c6b-9e0e-0d2c6a4b1f00",
    "requestId": "req_1",
    "userId": "usr_ada",
    "workflowSlug": None,
    "modelIds": ["suno-v5"],
    "status": "completed",
    "result": {"audios": ["https://media.example/1"]},
}


def delivery(payload=PAYLOAD, *, header=None, raw=None):
    body = json.dumps(payload).encode() if raw is None else raw
    header = sign(body, secret=SECRET, at_unix_s=NOW_UNIX_S) if header is None else header
    came = Delivery(
        number=1,
        path="/open",
        headers=(("content-type", "application/json"), ("X-Knouds-Signature", header)),
        body=body,
        received_at=NOW,
        status=204,
    )
    return came.as_exchange("http://127.0.0.1/open", Redactor())


def poll(**changes):
    body = {name: PAYLOAD[name] for name in ("executionId", "status", "result")}
    return exchange(200, {**body, **changes}, operation_id="getExecution")


@pytest.mark.parametrize("raw", [b"", b"[", b"\xff", b"[" * 100_000, b"[]", b"null"])
def test_payload_is_an_object(raw):
    came = delivery(raw=raw)

    assert broken(webhooks.payload, came) == {"webhook.payload-shape"}
    assert claimed(webhooks.event, came, ending="completed") == set()
    assert claimed(webhooks.agrees, came, poll=poll(), submitted=exchange(202, {})) == set()


@pytest.mark.parametrize(
    ("check", "fact"),
    [
        (webhooks.none_without_capability, "webhook.needs-receive-capability"),
        (webhooks.none_without_webhook, "webhook.one-per-ended-execution"),
    ],
)
@pytest.mark.parametrize(
    ("came", "later_delivered", "holds"),
    [(0, True, [True]), (0, False, []), (1, False, [False]), (1, True, [False])],
)
def test_key_that_receives_nothing_gets_no_delivery(check, fact, came, later_delivered, holds):
    """No delivery counts as evidence only if later ones have arrived."""
    claims = list(check.judge(poll(), came=came, later_delivered=later_delivered))

    assert [(each.fact, each.holds) for each in claims] == [(fact, each) for each in holds]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({}, set()),
        ({"userId": None, "modelIds": "suno-v5"}, set()),  # the shape judges that
        ({"modelIds": ["suno-v5", "claude-sonnet"]}, set()),
        ({"userId": "ada@example.com"}, {"/userId"}),
        ({"modelIds": []}, {"/modelIds"}),
        ({"modelIds": ["fal-ai/suno"]}, {"/modelIds"}),
    ],
)
def test_delivery_names_account_and_model(changes, where):
    """The account that whoami names; the model of the run is among the ids."""
    came = delivery({**PAYLOAD, **changes})

    claims = webhooks.describes.judge(came, user_id="usr_ada", model_id="suno-v5")

    assert {claim.where for claim in claims if not claim.holds} == where


CASES = {
    "a delivery is of an execution": rows(
        webhooks.of_an_execution,
        (exchange(200, {}), False),
        (exchange(404, {}), True),
        (exchange(429, {}), False),
        answer=delivery(),
    ),
    "a delivery agrees with the poll, once there is an end": rows(
        webhooks.agrees,
        (poll(), exchange(202, {"requestId": "req_1"}), False),
        (poll(result={**PAYLOAD["result"], "addedLater": 1}), exchange(202, {"requestId": "req_1"}), False),
        (poll(result=None), exchange(202, {"requestId": None}), False),
        (poll(status="failed"), exchange(202, {"requestId": "req_1"}), True),
        (poll(), exchange(202, {"requestId": "req_2"}), True),
        (poll(result={"audios": ["https://media.example/2"]}), exchange(202, {"requestId": "req_1"}), True),
        (poll(status="processing"), exchange(202, {"requestId": "req_2"}), False),
        answer=delivery(),
    ),
    "an ended execution is delivered once": rows(
        webhooks.one_each,
        (poll(), 1, False),
        (poll(), 0, True),
        (poll(), 2, True),
        (poll(status="processing"), 0, None),
    ),
    "a refused delivery is tried again": rows(
        webhooks.retried, (0, False), (1, True), (2, False), (7, False), answer=poll()
    ),
    "a submit announces the delivery": rows(
        webhooks.announced,
        (exchange(202, {"webhookDelivery": {"configured": True, "url": "http://a"}}), False),
        (exchange(202, {"webhookDelivery": {"configured": False}}), True),
        (exchange(202, {"webhookDelivery": {}}), False),
    ),
    "a delivered execution has ended": rows(
        webhooks.shown_at_once,
        (poll(status="completed"), delivery(), False),
        (poll(status="processing"), delivery(), True),
        (poll(status="failed"), delivery(), True),
        (poll(status="done"), delivery(), False),
    ),
}


@pytest.mark.parametrize(("check", "answer", "known", "facts"), named(CASES))
def test_check_finds_what_is_broken(check, answer, known, facts):
    assert_breaks(check, answer, known, facts)
