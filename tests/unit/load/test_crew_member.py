"""What a worker does with what its master hands out, and without a master."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from locust.env import Environment

from knouds_harness.errors import ExitCode
from knouds_harness.load.arrivals import Share
from knouds_harness.load.crew_member import CrewMember
from knouds_harness.load.messages import (
    ASK_CREDITS,
    ASK_SHARE,
    CREDITS,
    END,
    IS_LAST,
    SENT_AT,
    SHARE,
    SILENCE_S,
    STOP,
)

NOW_UNIX_S = 1_780_000_000.0


class Worker:
    """What a member uses of Locust's worker, without a network."""

    client_id = "a"

    def __init__(self) -> None:
        self.environment = Environment()
        self.listeners: dict[str, Any] = {}
        self.sent: list[tuple[str, Any]] = []
        self.stops = 0

    def register_message(self, kind: str, listener: Any, **_: bool) -> None:
        self.listeners[kind] = listener

    def send_message(self, kind: str, data: Any = None) -> None:
        self.sent.append((kind, data))

    def stop(self) -> None:
        self.stops += 1

    def hear(self, kind: str, **data: Any) -> None:
        self.listeners[kind](msg=SimpleNamespace(data=data))


class Clock:
    now_s = NOW_UNIX_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def told() -> list[Any]:
    """What the member told its process, in order."""
    return []


@pytest.fixture
def member(worker, clock, told) -> CrewMember:
    return CrewMember(
        worker,
        on_share=lambda start_unix_s, share: told.append((start_unix_s, share)),
        on_return=lambda: told.append("returned"),
        clock=clock,
    )


def beat(worker: Worker, clock: Clock) -> None:
    worker.environment.events.heartbeat_received.fire(client_id="a", timestamp=clock())


def test_share_is_handed_on(member, worker, told):
    """With when load begins."""
    worker.hear(SHARE, start_unix_s=NOW_UNIX_S, from_s=4.0, index=1, workers=3)

    assert told == [(NOW_UNIX_S, Share(from_s=4.0, index=1, workers=3))]


def test_worker_is_alone_before_others_take_its_share(member, worker, clock):
    """Locust's master misses a heartbeat for more than four seconds before it takes a worker for lost."""
    clock.now_s += SILENCE_S
    assert not member.is_alone

    clock.now_s += 0.1

    assert member.is_alone


def test_worker_that_hears_its_master_again_asks_for_a_share(member, worker, clock, told):
    """Others may have taken the one that it had; until it gets another it serves none."""
    clock.now_s += SILENCE_S + 1

    beat(worker, clock)

    assert told == ["returned"]
    assert worker.sent == [(ASK_SHARE, None)]
    assert not member.is_alone


def test_worker_that_hears_its_master_in_time_asks_for_nothing(member, worker, clock, told):
    """Its share is still its own."""
    clock.now_s += SILENCE_S - 1

    beat(worker, clock)

    assert (told, worker.sent) == ([], [])


def test_requests_wait_for_company(member, worker, clock):
    """Nothing is sent while others may be sending it."""
    clock.now_s += SILENCE_S + 1
    waiting = gevent.spawn(member.await_company)
    gevent.sleep(0)
    assert not waiting.ready()

    beat(worker, clock)

    waiting.join(timeout=5)
    assert waiting.ready()


def test_credits_are_spent_once_they_are_granted(member, worker):
    """And whoever needs some waits for them."""
    getting = gevent.spawn(member.get_credits, 3, what="a run")
    gevent.sleep(0)
    assert worker.sent == [(ASK_CREDITS, {"needed": 3, "what": "a run"})]

    worker.hear(CREDITS, granted=5)

    assert getting.get(timeout=5)
    assert member.budget.left_credits == 5


def test_nothing_granted_is_no_use_to_try_again_for(member, worker):
    """Then the budget refuses."""
    getting = gevent.spawn(member.get_credits, 3, what="a run")
    gevent.sleep(0)

    worker.hear(CREDITS, granted=0)

    assert not getting.get(timeout=5)


def test_many_who_need_credits_ask_once(member, worker):
    """All wait for the one answer, and then try again."""
    getting = [gevent.spawn(member.get_credits, 3, what="a run") for _ in range(5)]
    gevent.sleep(0)
    assert len(worker.sent) == 1

    worker.hear(CREDITS, granted=20)

    gevent.joinall(getting, timeout=5)
    assert all(each.value for each in getting)


def test_credits_are_asked_for_before_they_run_out(member, worker):
    """Once half of what was granted last is spent, and not again before the answer."""
    member.ask_ahead()
    worker.hear(CREDITS, granted=10)
    worker.sent.clear()

    member.budget.reserve(4)
    member.ask_ahead()
    assert worker.sent == []
    member.budget.reserve(2)
    member.ask_ahead()
    member.ask_ahead()

    assert worker.sent == [(ASK_CREDITS, {"needed": 0.0, "what": ""})]


def test_last_report_follows_the_last_request(member, worker):
    """It says that it is the last, and is sent once however often the end is told."""
    worker.hear(END)
    worker.hear(END)
    worker.environment.events.quitting.fire(environment=worker.environment)

    ((kind, report),) = worker.sent
    assert (kind, worker.stops) == ("stats", 1)
    assert report[IS_LAST]


def test_each_report_says_the_time(member, worker):
    """So that the master can tell whose clock is wrong; and that it is not the last."""
    report: dict[str, Any] = {}

    worker.environment.events.report_to_master.fire(client_id="a", data=report)

    assert report == {SENT_AT: NOW_UNIX_S, IS_LAST: False}


def test_worker_can_have_the_run_ended(member, worker):
    """By its master, for all."""
    member.stop("no key", ExitCode.GUARD)

    assert worker.sent == [(STOP, {"reason": "no key", "exit_code": 4})]
