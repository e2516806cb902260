"""What a worker does with its master's messages, and without a master."""

from typing import Any

import gevent
import pytest
from clocks import Clock
from load_workload import FakeWorker, options, persona, target, workload_of
from locust.env import Environment

from knouds_harness.errors import ExitCode
from knouds_harness.load import final_reports as messages
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.distributed import LeasedCredits, WorkerRun
from knouds_harness.load.generator.load_run import LoadSetup

NOW_UNIX_S = 1_780_000_000.0
TARGET = target(persona("full", tier="enterprise"))


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW_UNIX_S)


@pytest.fixture
def worker() -> Any:
    worker = FakeWorker(Environment())
    worker.sent.clear()
    return worker


@pytest.fixture
def run(worker, clock) -> WorkerRun:
    setup = LoadSetup(options=options("--rate", "10"), target=TARGET, workload=workload_of(TARGET))
    return WorkerRun(worker.environment, setup, clock=clock)


@pytest.fixture
def lease(worker) -> LeasedCredits:
    return LeasedCredits(worker)


def test_worker_takes_the_share_of_its_master(run, worker, monkeypatch):
    shares: list[Any] = []
    monkeypatch.setattr(run, "take_share", lambda *share: shares.append(share))

    worker.hear(messages.SHARE, start_unix_s=NOW_UNIX_S, index=1, workers=3)

    assert shares == [(NOW_UNIX_S, Share(index=1, workers=3))]
    assert worker.sent == []


def test_worker_that_does_not_hear_its_master_ends(run, worker, clock):
    """Its requests would not be counted; its last message ends the run of a master that still listens."""
    clock.now_s += messages.SILENCE_S + 1

    with gevent.Timeout(5):
        while not worker.did:
            gevent.sleep(0.01)
    ((kind, message),) = worker.sent
    assert (kind, message["exit_code"]) == (messages.STOP, ExitCode.INVALID_MEASUREMENT)
    assert "worker a did not hear the master" in message["reason"]


def test_worker_that_hears_its_master_continues(run, worker, clock):
    clock.now_s += messages.SILENCE_S - 1
    worker.environment.events.heartbeat_received.fire(client_id="a", timestamp=clock())
    clock.now_s += messages.SILENCE_S - 1

    gevent.sleep(0)

    assert (worker.did, worker.sent) == ([], [])


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


def test_each_report_carries_the_time(run, worker):
    report: dict[str, Any] = {}

    worker.environment.events.report_to_master.fire(client_id="a", data=report)

    assert report[messages.SENT_AT] == NOW_UNIX_S


def test_worker_can_end_the_run(run, worker):
    run.stop("no key", ExitCode.GUARD)

    assert worker.sent == [(messages.STOP, {"reason": "no key", "exit_code": 4})]
