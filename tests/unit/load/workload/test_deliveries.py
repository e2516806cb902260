"""Deliveries are passed on to the processes that send, and reach the user that waits for them."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import gevent
import pytest
from run_records import TARGET

from knouds_harness.exchange.signature import HEADER, sign
from knouds_harness.exchange.webhook_receiver import Delivery, Receiver
from knouds_harness.load.workload.deliveries import Deliveries, DeliveryWaiter, open_deliveries
from knouds_harness.targets.personas import NO_SECRET, Secret
from knouds_harness.targets.resources import Webhook

SECRET = "whsec_0123456789abcdef"


class Delivering:
    """A process that takes deliveries, and one whose users wait for them."""

    def __init__(self, receiver, receivers=()):
        self.waiter = DeliveryWaiter()
        webhook = Webhook(url=receiver.url("/"), secret=Secret(SECRET, "webhook-secret"))
        self.deliveries = Deliveries(webhook, receivers, receiver=receiver, forward=self.waiter.take)
        self.take = self.deliveries.take
        self.await_arrival, self.end_waits = self.waiter.await_arrival, self.waiter.end_waits


@pytest.fixture
def webhook_waiter():
    with Receiver() as receiver:
        yield Delivering(receiver)


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
    assert list(webhook_waiter.deliveries.notes(unconfigured=0, refused=0)) == [
        "1 deliveries had an invalid signature, and were ignored."
    ]


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
    deliveries, reason = open_deliveries(TARGET, [], receiver=None, forward=print)

    assert deliveries is None
    assert "no [webhook]" in reason


@pytest.mark.parametrize("is_early", [True, False])
def test_only_the_secret_of_the_key_that_submitted_counts(is_early):
    own = "whsec_of_this_key_alone"
    usual = replace(TARGET.personas["full"], webhook_secret=NO_SECRET)
    key = replace(usual, name="own", webhook_secret=Secret(own, "webhook-secret:own"))
    with Receiver() as receiver:
        waiter = Delivering(receiver, [usual, key])

        def is_taken(secret, submitter):
            send = waiter.take if is_early else partial(gevent.spawn, waiter.take)
            send(post("e1", secret=secret))
            timeout_s = 0 if is_early else 0.2
            return waiter.await_arrival("e1", timeout_s=timeout_s, submitter=submitter) is not None

        taken = [
            (secret, each.name) for secret in (SECRET, own) for each in (usual, key) if is_taken(secret, each)
        ]

    assert taken == [(SECRET, usual.name), (own, key.name)]
    assert "2 deliveries had an invalid signature" in next(
        waiter.deliveries.notes(unconfigured=0, refused=waiter.waiter.refused)
    )
