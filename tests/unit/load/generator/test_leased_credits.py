"""A process that sends gets its credits in parts from the one that leads."""

from typing import Any

import gevent
import pytest
from load_workload import FakeWorker
from locust.env import Environment

from knouds_harness.load import messages
from knouds_harness.load.generator.generating_run import LeasedCredits


@pytest.fixture
def worker() -> Any:
    worker = FakeWorker(Environment())
    worker.sent.clear()
    return worker


@pytest.fixture
def lease(worker) -> LeasedCredits:
    return LeasedCredits(worker)


def test_credits_are_spent_once_they_are_granted(lease, worker):
    getting = gevent.spawn(lease.get_credits, 3, what="a run")
    gevent.sleep(0)
    assert worker.sent == [(messages.ASK_CREDITS, {"needed": 3, "what": "a run"})]

    worker.hear(messages.CREDITS, granted=5)

    assert getting.get(timeout=5)
    assert lease.budget.left_credits == 5


def test_run_is_not_sent_if_no_credits_are_granted(lease, worker):
    getting = gevent.spawn(lease.get_credits, 3, what="a run")
    gevent.sleep(0)

    worker.hear(messages.CREDITS, granted=0)

    assert not getting.get(timeout=5)


def test_concurrent_needs_for_credits_are_one_request(lease, worker):
    getting = [gevent.spawn(lease.get_credits, 3, what="a run") for _ in range(5)]
    gevent.sleep(0)
    assert len(worker.sent) == 1

    worker.hear(messages.CREDITS, granted=20)

    gevent.joinall(getting, timeout=5)
    assert all(each.value for each in getting)


def test_credits_are_requested_before_they_run_out(lease, worker):
    """Once half of the last grant is spent, and not again before the answer."""
    lease.ask_ahead()
    worker.hear(messages.CREDITS, granted=10)
    worker.sent.clear()

    lease.budget.reserve(4)
    lease.ask_ahead()
    assert worker.sent == []
    lease.budget.reserve(2)
    lease.ask_ahead()
    lease.ask_ahead()

    assert worker.sent == [(messages.ASK_CREDITS, {"needed": 0.0, "what": ""})]
