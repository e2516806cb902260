"""What a master tells its workers, and what it makes of what they say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st
from locust.env import Environment

from knouds_harness.errors import ExitCode
from knouds_harness.load.crew import Crew
from knouds_harness.load.health import Health
from knouds_harness.load.messages import (
    ASK_CREDITS,
    ASK_SHARE,
    CREDITS,
    END,
    HEALTH,
    IS_LAST,
    SENT_AT,
    SHARE,
    STOP,
)

START_UNIX_S = 1_780_000_000.0


class Master:
    """What a crew uses of Locust's master, without a network."""

    def __init__(self, *workers: str) -> None:
        self.environment = Environment()
        self.clients = SimpleNamespace(ready=[], spawning=[], running=[])
        self.state, self.target_user_count, self.spawn_rate = "running", 100, 100.0
        self.listeners: dict[str, Any] = {}
        self.sent: list[tuple[str, Any, str]] = []
        self.starts: list[tuple[int, float]] = []
        self.have(*workers)

    def have(self, *workers: str) -> None:
        self.clients.running = [SimpleNamespace(id=worker) for worker in workers]

    def register_message(self, kind: str, listener: Any) -> None:
        self.listeners[kind] = listener

    def send_message(self, kind: str, data: Any, worker: str) -> None:
        self.sent.append((kind, data, worker))

    def rebalancing_enabled(self) -> bool:
        return False

    def start(self, users: int, spawn_rate: float) -> None:
        self.starts.append((users, spawn_rate))

    def hear(self, kind: str, worker: str, **data: Any) -> None:
        self.listeners[kind](msg=SimpleNamespace(node_id=worker, data=data))

    def report(self, worker: str, *, spent: float = 0.0, is_last: bool = False, at: float = START_UNIX_S):
        health = Health(spent_credits=spent).packed()
        self.environment.events.worker_report.fire(
            client_id=worker, data={HEALTH: health, SENT_AT: at, IS_LAST: is_last}
        )

    def take(self, kind: str) -> list[tuple[str, Any]]:
        """Who was sent what of this kind since the last time."""
        found = [(worker, data) for sent, data, worker in self.sent if sent == kind]
        self.sent = [each for each in self.sent if each[0] != kind]
        return found


class Notebook:
    """What a crew uses of the leader."""

    def __init__(self) -> None:
        self.health_by_worker: dict[str, Health] = {}
        self.notes: list[str] = []
        self.doubts: list[str] = []
        self.stops: list[tuple[str, ExitCode]] = []

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def doubt(self, sentence: str) -> None:
        self.doubts.append(sentence)

    def stop(self, reason: str, exit_code: ExitCode) -> None:
        self.stops.append((reason, exit_code))


class Clock:
    now_s = START_UNIX_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def leader() -> Notebook:
    return Notebook()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def master() -> Master:
    return Master("a", "b", "c", "d")


@pytest.fixture
def crew(master, leader, clock) -> Crew:
    """A crew whose load has begun."""
    crew = Crew(master, leader, most_credits=100, clock=clock)
    crew.begin(START_UNIX_S)
    gevent.sleep(0)
    return crew


def shares_of(master: Master) -> dict[str, tuple[float, int, int]]:
    return {
        worker: (share["from_s"], share["index"], share["workers"]) for worker, share in master.take(SHARE)
    }


def granted_to(master: Master) -> float:
    ((_, answer),) = master.take(CREDITS)
    return float(answer["granted"])


def test_each_worker_gets_another_share_from_the_beginning(crew, master):
    """Of so many workers each serves every so manieth arrival."""
    assert shares_of(master) == {"a": (0, 0, 4), "b": (0, 1, 4), "c": (0, 2, 4), "d": (0, 3, 4)}


def test_share_of_a_lost_worker_goes_to_the_others(crew, master, clock):
    """From a second that they have time to hear of; and its users are started elsewhere."""
    shares_of(master)
    clock.now_s += 20
    master.have("a", "c", "d")

    crew.look()
    gevent.sleep(0)

    assert shares_of(master) == {"a": (21, 0, 3), "c": (21, 1, 3), "d": (21, 2, 3)}
    assert master.starts == [(100, 100.0)]


def test_lost_worker_casts_doubt_on_the_figures(crew, master, leader, clock):
    """It is said by name, since when nothing of it is counted, and what that may have cost."""
    master.hear(ASK_CREDITS, "b", needed=10, what="a run")
    clock.now_s += 17
    master.report("b", spent=2, at=clock.now_s)
    clock.now_s += 3
    master.have("a", "c", "d")

    crew.look()

    (doubt,) = leader.doubts
    assert doubt == (
        "Worker b was lost: what it sent after second 17 is not counted, and may have cost up to 10.5 "
        "credits. Its share went to the 3 others from second 21."
    )


def test_worker_that_prepares_is_not_lost(crew, master, leader):
    """Its heartbeats may say that it is ready to be started, when that has been done."""
    master.clients.ready = [master.clients.running.pop()]

    crew.look()

    assert (leader.notes, leader.doubts) == ([], [])


def test_worker_that_leaves_in_order_casts_no_doubt(crew, master, leader, clock):
    """Its last report is in the figures."""
    master.report("b", is_last=True)
    master.have("a", "c", "d")

    crew.look()

    assert leader.doubts == []
    assert leader.notes == ["Worker b left: 3 went on from second 1."]


def test_worker_that_comes_later_gets_a_share(crew, master, leader):
    """And the others less from then on."""
    shares_of(master)
    master.have("a", "b", "c", "d", "e")

    crew.look()

    assert shares_of(master)["e"] == (1, 4, 5)
    assert leader.notes == ["Worker e joined: 5 share the load from second 1."]


def test_worker_that_gave_up_its_share_gets_another(crew, master, leader):
    """When it hears the master again and asks, though that never missed it."""
    master.report("b")
    shares_of(master)

    master.hear(ASK_SHARE, "b")
    crew.look()

    assert shares_of(master)["b"] == (1, 1, 4)
    assert leader.notes == ["Worker b is back: 4 share the load from second 1."]


def test_nothing_is_sent_while_nobody_comes_or_goes(crew, master):
    """Shares are told once."""
    shares_of(master)

    crew.look()

    assert master.sent == []


def test_run_ends_once_no_worker_is_left(crew, master, leader):
    """And its figures are not valid."""
    master.have()

    crew.look()

    assert leader.stops == [("No worker was left.", ExitCode.INVALID_MEASUREMENT)]


def test_run_whose_workers_were_all_ended_was_interrupted(crew, master, leader):
    """As by a Ctrl-C that reached them first."""
    for worker in "abcd":
        master.report(worker, is_last=True)
    master.have()

    crew.look()

    assert leader.stops == [("All workers were ended.", ExitCode.INTERRUPTED)]
    assert leader.doubts == []


def test_workers_that_are_lost_before_load_begins_are_missed(master, leader, clock):
    """The run says why it came to nothing."""
    crew = Crew(master, leader, most_credits=100, clock=clock)
    crew.assemble()
    master.have()

    crew.end()

    assert leader.stops == [("No worker was left.", ExitCode.INVALID_MEASUREMENT)]


def test_end_waits_for_the_last_reports(crew, master, leader):
    """What workers counted last is in the figures."""
    ending = gevent.spawn(crew.end)
    gevent.sleep(0)
    asked = [worker for worker, _ in master.take(END)]
    for worker in asked:
        assert not ending.ready()
        master.report(worker, is_last=True)

    ending.join(timeout=5)

    assert sorted(asked) == ["a", "b", "c", "d"]
    assert ending.ready()
    assert leader.doubts == []


def test_clock_of_a_worker_that_differs_is_said(crew, master, leader, clock):
    """Its arrivals are off by as much."""
    for worker in "abcd":
        master.report(worker, is_last=True, at=clock.now_s + (2.5 if worker == "c" else 0.1))

    crew.end()

    (doubt,) = leader.doubts
    assert doubt.startswith("The clock of worker c differs by +2.5 s")


def test_worker_can_end_the_run(crew, master, leader):
    """With its reason and exit code."""
    master.hear(STOP, "c", reason="nobody answers", exit_code=3)

    assert leader.stops == [("nobody answers", ExitCode.UNREACHABLE)]


def test_credits_that_are_needed_are_granted_while_there_are_any(crew, master, leader):
    """The last ones too; then the run ends."""
    grants = []
    while not leader.stops:
        master.hear(ASK_CREDITS, "a", needed=4, what="a run")
        grants.append(granted_to(master))

    assert grants[0] == 12.5
    assert grants[-1] == 0
    assert sum(grants) == pytest.approx(100, abs=4)
    assert leader.stops[0][1] is ExitCode.GUARD


def test_credits_that_are_asked_for_ahead_never_end_the_run(crew, master, leader):
    """There may be none left without anybody needing one."""
    master.hear(ASK_CREDITS, "a", needed=100, what="a run")
    assert granted_to(master) == 100

    master.hear(ASK_CREDITS, "b", needed=0, what="")

    assert granted_to(master) == 0
    assert leader.stops == []


def test_credits_come_back_from_who_leaves_in_order(crew, master):
    """What it did not spend is there for others; what a lost worker had is not."""
    master.hear(ASK_CREDITS, "a", needed=60, what="a run")
    master.hear(ASK_CREDITS, "b", needed=40, what="a run")
    master.take(CREDITS)

    master.report("a", spent=10, is_last=True)
    master.hear(ASK_CREDITS, "c", needed=50, what="a run")

    assert granted_to(master) == 50


@given(asks=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 60)), max_size=40))
def test_credits_hold_in_total(asks):
    """Whoever asks for how much and however often, together they get no more than there is."""
    master: Any = Master("a", "b", "c", "d")
    leader: Any = Notebook()
    Crew(master, leader, most_credits=100)

    for worker, needed in asks:
        master.hear(ASK_CREDITS, worker, needed=needed, what="a run")

    assert sum(answer["granted"] for _, answer in master.take(CREDITS)) <= 100
