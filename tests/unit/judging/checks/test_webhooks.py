"""The checks of deliveries: what breaks them, and when they make no claim."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from exchanges import broken, claimed, exchange

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


@pytest.mark.parametrize(
    ("status", "facts"), [(200, set()), (404, {"webhook.one-per-ended-execution"}), (429, set())]
)
def test_delivery_is_of_an_execution(status, facts):
    assert broken(webhooks.of_an_execution, delivery(), poll=exchange(status, {})) == facts


@pytest.mark.parametrize("raw", [b"", b"[", b"\xff", b"[" * 100_000, b"[]", b"null"])
def test_payload_is_an_object(raw):
    came = delivery(raw=raw)

    assert broken(webhooks.payload, came) == {"webhook.payload-shape"}
    assert claimed(webhooks.event, came, ending="completed") == set()
    assert claimed(webhooks.agrees, came, poll=poll(), submitted=exchange(202, {})) == set()


@pytest.mark.parametrize(
    ("changes", "request_id", "is_broken"),
    [
        ({}, "req_1", False),
        ({"result": {**PAYLOAD["result"], "addedLater": 1}}, "req_1", False),
        ({"result": None}, None, False),
        ({"status": "failed"}, "req_1", True),
        ({}, "req_2", True),
        ({"result": {"audios": ["https://media.example/2"]}}, "req_1", True),
        ({"status": "processing"}, "req_2", False),
    ],
)
def test_delivery_agrees_with_the_poll(changes, request_id, is_broken):
    """Documented members that both have are compared; no claim before the end."""
    submitted = exchange(202, {"requestId": request_id})

    assert bool(broken(webhooks.agrees, delivery(), poll=poll(**changes), submitted=submitted)) == is_broken


@pytest.mark.parametrize(("taken", "is_broken"), [(1, False), (0, True), (2, True)])
def test_ended_execution_is_delivered_once(taken, is_broken):
    assert bool(broken(webhooks.one_each, poll(), taken=taken)) == is_broken
    assert claimed(webhooks.one_each, poll(status="processing"), taken=0) == set()


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


@pytest.mark.parametrize(("attempts", "facts"), [(0, set()), (2, set()), (7, set())])
def test_refused_delivery_is_tried_again(attempts, facts):
    """A second attempt is enough; another check judges a missing first one."""
    assert broken(webhooks.retried, poll(), attempts=attempts) == facts
    assert broken(webhooks.retried, poll(), attempts=1) == {"webhook.retries-refused-delivery"}


@pytest.mark.parametrize(
    ("delivery_says", "is_broken"),
    [({"configured": True, "url": "http://a"}, False), ({"configured": False}, True), ({}, False)],
)
def test_submit_announces_the_delivery(delivery_says, is_broken):
    assert bool(broken(webhooks.announced, exchange(202, {"webhookDelivery": delivery_says}))) == is_broken


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


@pytest.mark.parametrize(
    ("shown", "facts"),
    [
        ("completed", set()),
        ("processing", {"webhook.agrees-with-poll"}),
        ("failed", {"webhook.agrees-with-poll"}),
        ("done", set()),
    ],
)
def test_delivered_execution_has_ended(shown, facts):
    """The shapes judge an undocumented status."""
    assert broken(webhooks.shown_at_once, poll(status=shown), delivered=delivery()) == facts
