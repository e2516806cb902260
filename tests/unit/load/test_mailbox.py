"""Deliveries reach the user who waits, and only those that may be believed."""

from __future__ import annotations

import json
import time

import gevent
import pytest
from run_records import TARGET

from knouds_harness.exchange.signature import sign
from knouds_harness.load.deliveries import DeliveryServer, Post
from knouds_harness.load.mailbox import Mailbox, open_mailbox
from knouds_harness.target.personas import Secret
from knouds_harness.target.resources import Webhook

SECRET = "whsec_0123456789abcdef"


@pytest.fixture
def mailbox():
    """Nothing came yet."""
    with DeliveryServer(("127.0.0.1", 0)) as server:
        webhook = Webhook(url=f"http://127.0.0.1:{server.port}/", secret=Secret(SECRET, "webhook-secret"))
        yield Mailbox(webhook, {}, server=server)


def post(execution_id="e1", status="completed", *, secret=SECRET):
    """A delivery."""
    now = time.time()
    body = json.dumps({"executionId": execution_id, "status": status}).encode()
    return Post(body=body, signature=sign(body, secret=secret, at_unix_s=int(now)), at_unix_s=now)


def test_delivery_wakes_who_waits(mailbox):
    """With the status that it names."""
    gevent.spawn(mailbox.take, post("e1", "failed"))

    assert mailbox.await_arrival("e1", timeout_s=5).status == "failed"


def test_delivery_before_the_wait_is_kept(mailbox):
    """It may come before the answer to its submit."""
    mailbox.take(post())

    assert mailbox.await_arrival("e1", timeout_s=0).status == "completed"


def test_delivery_of_another_execution_wakes_nobody(mailbox):
    """Each user waits for their own."""
    gevent.spawn(mailbox.take, post("e2"))

    assert mailbox.await_arrival("e1", timeout_s=0.01) is None
    assert mailbox.await_arrival("e2", timeout_s=5) is not None


def test_nobody_waits_once_it_is_over(mailbox):
    """What came is given out; for the rest there has to be time to poll."""
    gevent.spawn(mailbox.end_waits)

    assert mailbox.await_arrival("e1", timeout_s=60) is None
    assert mailbox.await_arrival("e2", timeout_s=60) is None
    mailbox.take(post("e3"))
    assert mailbox.await_arrival("e3", timeout_s=0) is not None


def test_wrong_signature_is_not_believed(mailbox):
    """And said once in the figures' notes."""
    mailbox.take(post(secret="another-secret-0"))

    assert mailbox.await_arrival("e1", timeout_s=0) is None
    assert list(mailbox.notes()) == [
        "1 deliveries had a signature that does not hold, and were not believed."
    ]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"executionId": 7}', b"\xff"], ids=repr)
def test_misshapen_delivery_is_left_alone(mailbox, body):
    """It names nobody to wake."""
    mailbox.take(Post(body=body, signature=sign(body, secret=SECRET, at_unix_s=0), at_unix_s=0.0))

    assert mailbox.await_arrival("e1", timeout_s=0) is None


def test_unclaimed_deliveries_are_bounded(mailbox):
    """The oldest go first."""
    for number in range(10_001):
        mailbox.take(post(f"e{number}"))

    assert mailbox.await_arrival("e0", timeout_s=0) is None
    assert mailbox.await_arrival("e10000", timeout_s=0) is not None


def test_profile_without_a_webhook_is_said():
    """Then ends are polled for."""
    mailbox, reason = open_mailbox(TARGET, [], (), server=None, yes_production=False)

    assert mailbox is None
    assert "no [webhook]" in reason
