"""What a worker does with what its master hands out, and without a master."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from clocks import Clock
from gevent.event import Event
from locust.env import Environment

from knouds_harness.errors import ExitCode
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.distributed.messages import ASK_CREDITS, CREDITS, SENT_AT, SHARE, SILENCE_S, STOP
from knouds_harness.load.distributed.worker_client import WorkerClient

NOW_UNIX_S = 1_780_000_000.0


class Worker:
    """What a worker client uses of Locust's worker, without a network."""

    client_id = "a"

    def __init__(self) -> None:
        self.environment = Environment()
        self.listeners: dict[str, Any] = {}
        self.sent: list[tuple[str, Any]] = []
        self.stopped = Event()

    def register_message(self, kind: str, listener: Any, **_: bool) -> None:
        self.listeners[kind] = listener

    def send_message(self, kind: str, data: Any = None) -> None:
        self.sent.append((kind, data))

    def quit(self) -> None:
        self.stopped.set()

    def hear(self, kind: str, **data: Any) -> None:
        self.listeners[kind](msg=SimpleNamespace(data=data))


class Run:
    """What a worker client uses of its process's run, noted down."""

    def __init__(self) -> None:
        self.shares: list[tuple[float, Share]] = []

    def take_share(self, start_unix_s: float, share: Share) -> None:
        self.shares.append((start_unix_s, share))

    def report(self) -> dict[str, Any]:
        return {"seen": 3}


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW_UNIX_S)


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def client(worker, run, clock) -> WorkerClient:
    return WorkerClient(worker, run, clock=clock)


def test_share_is_handed_on(client, worker, run):
    """With when load begins; no credits are reserved for a load that may need none."""
    worker.hear(SHARE, start_unix_s=NOW_UNIX_S, index=1, workers=3)

    assert run.shares == [(NOW_UNIX_S, Share(index=1, workers=3))]
    assert worker.sent == []


def test_worker_that_does_not_hear_its_master_ends(client, worker, run, clock):
    """Nobody counts what it sends; and a master that hears it after all ends the run."""
    clock.now_s += SILENCE_S + 1

    assert worker.stopped.wait(timeout=5)
    ((kind, message),) = worker.sent
    assert (kind, message["exit_code"]) == (STOP, ExitCode.INVALID_MEASUREMENT)
    assert "worker a did not hear the master" in message["reason"]


def test_worker_that_hears_its_master_goes_on(client, worker, run, clock):
    """Each heartbeat counts from anew."""
    clock.now_s += SILENCE_S - 1
    worker.environment.events.heartbeat_received.fire(client_id="a", timestamp=clock())
    clock.now_s += SILENCE_S - 1

    gevent.sleep(0)

    assert not worker.stopped.is_set()
    assert worker.sent == []


def test_credits_are_spent_once_they_are_granted(client, worker):
    """And whoever needs some waits for them."""
    getting = gevent.spawn(client.get_credits, 3, what="a run")
    gevent.sleep(0)
    assert worker.sent == [(ASK_CREDITS, {"needed": 3, "what": "a run"})]

    worker.hear(CREDITS, granted=5)

    assert getting.get(timeout=5)
    assert client.budget.left_credits == 5


def test_nothing_granted_is_no_use_to_try_again_for(client, worker):
    """Then the budget refuses."""
    getting = gevent.spawn(client.get_credits, 3, what="a run")
    gevent.sleep(0)

    worker.hear(CREDITS, granted=0)

    assert not getting.get(timeout=5)


def test_many_who_need_credits_ask_once(client, worker):
    """All wait for the one answer, and then try again."""
    getting = [gevent.spawn(client.get_credits, 3, what="a run") for _ in range(5)]
    gevent.sleep(0)
    assert len(worker.sent) == 1

    worker.hear(CREDITS, granted=20)

    gevent.joinall(getting, timeout=5)
    assert all(each.value for each in getting)


def test_credits_are_asked_for_before_they_run_out(client, worker):
    """Once half of what was granted last is spent, and not again before the answer."""
    client.ask_ahead()
    worker.hear(CREDITS, granted=10)
    worker.sent.clear()

    client.budget.reserve(4)
    client.ask_ahead()
    assert worker.sent == []
    client.budget.reserve(2)
    client.ask_ahead()
    client.ask_ahead()

    assert worker.sent == [(ASK_CREDITS, {"needed": 0.0, "what": ""})]


def test_each_report_carries_what_the_run_has_and_the_time(client, worker):
    """So that the master can tell whose clock is wrong."""
    report: dict[str, Any] = {}

    worker.environment.events.report_to_master.fire(client_id="a", data=report)

    assert report == {"seen": 3, SENT_AT: NOW_UNIX_S}


def test_worker_can_have_the_run_ended(client, worker):
    """By its master, for all."""
    client.stop("no key", ExitCode.GUARD)

    assert worker.sent == [(STOP, {"reason": "no key", "exit_code": 4})]
