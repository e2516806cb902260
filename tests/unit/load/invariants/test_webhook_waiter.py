"""Deliveries reach the user that waits for them, if their signature holds."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime

import gevent
import pytest
from run_records import TARGET

from knouds_harness.exchange.signature import HEADER, sign
from knouds_harness.exchange.webhook_receiver import Delivery, Receiver
from knouds_harness.load.invariants.webhook_waiter import WebhookWaiter, open_webhook_waiter
from knouds_harness.targets.personas import Secret
from knouds_harness.targets.resources import Webhook

SECRET = "whsec_0123456789abcdef"


@pytest.fixture
def webhook_waiter():
    with Receiver() as receiver:
        webhook = Webhook(url=receiver.url("/"), secret=Secret(SECRET, "webhook-secret"))
        yield WebhookWaiter(webhook, [], receiver=receiver)


def delivery_of(body, signature, at_unix_s):
    return Delivery(
        number=1,
        path="/",
        headers=((HEADER, signature),),
        body=body,
        received_at=datetime.fromtimestamp(at_unix_s, UTC),
        status=204,
    )


def post(execution_id="e1", status="completed", *, secret=SECRET):
    now = time.time()
    body = json.dumps({"executionId": execution_id, "status": status}).encode()
    return delivery_of(body, sign(body, secret=secret, at_unix_s=int(now)), now)


def test_delivery_wakes_its_waiter(webhook_waiter):
    gevent.spawn(webhook_waiter.take, post("e1", "failed"))

    assert webhook_waiter.await_arrival("e1", timeout_s=5).status == "failed"


def test_delivery_before_the_wait_is_kept(webhook_waiter):
    webhook_waiter.take(post())

    assert webhook_waiter.await_arrival("e1", timeout_s=0).status == "completed"


def test_delivery_of_another_execution_wakes_no_one(webhook_waiter):
    gevent.spawn(webhook_waiter.take, post("e2"))

    assert webhook_waiter.await_arrival("e1", timeout_s=0.01) is None
    assert webhook_waiter.await_arrival("e2", timeout_s=5) is not None


def test_no_wait_after_the_end(webhook_waiter):
    """Deliveries that have arrived are still returned; the rest has to be polled in time."""
    gevent.spawn(webhook_waiter.end_waits)

    assert webhook_waiter.await_arrival("e1", timeout_s=60) is None
    assert webhook_waiter.await_arrival("e2", timeout_s=60) is None
    webhook_waiter.take(post("e3"))
    assert webhook_waiter.await_arrival("e3", timeout_s=0) is not None


def test_delivery_with_a_wrong_signature_is_ignored_and_counted(webhook_waiter):
    webhook_waiter.take(post(secret="another-secret-0"))

    assert webhook_waiter.await_arrival("e1", timeout_s=0) is None
    assert list(webhook_waiter.notes()) == ["1 deliveries had an invalid signature, and were ignored."]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"executionId": 7}', b"\xff"], ids=repr)
def test_malformed_delivery_is_ignored(webhook_waiter, body):
    webhook_waiter.take(delivery_of(body, sign(body, secret=SECRET, at_unix_s=0), 0.0))

    assert webhook_waiter.await_arrival("e1", timeout_s=0) is None


def test_unclaimed_deliveries_are_bounded(webhook_waiter):
    for number in range(10_001):
        webhook_waiter.take(post(f"e{number}"))

    assert webhook_waiter.await_arrival("e0", timeout_s=0) is None
    assert webhook_waiter.await_arrival("e10000", timeout_s=0) is not None


def test_profile_without_a_webhook_is_the_reason():
    webhook_waiter, reason = open_webhook_waiter(TARGET, [], receiver=None, yes_production=False)

    assert webhook_waiter is None
    assert "no [webhook]" in reason


def test_secret_of_the_profile_or_of_a_key_verifies():
    own = "whsec_of_this_key_alone"
    key = replace(TARGET.personas["full"], webhook_secret=Secret(own, "webhook-secret:full"))
    with Receiver() as receiver:
        webhook = Webhook(url=receiver.url("/"), secret=Secret(SECRET, "webhook-secret"))
        waiter = WebhookWaiter(webhook, [key], receiver=receiver)
        for execution_id, secret in (("shared", SECRET), ("own", own), ("other", "whsec_of_another_key")):
            waiter.take(post(execution_id, secret=secret))

    assert waiter.await_arrival("shared", timeout_s=0) is not None
    assert waiter.await_arrival("own", timeout_s=0) is not None
    assert waiter.await_arrival("other", timeout_s=0) is None
