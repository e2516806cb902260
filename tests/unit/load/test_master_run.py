"""What a master tells its workers, and what it makes of what they say."""

from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st
from load_workload import FakeMaster, options, persona, target, workload_of
from locust.env import Environment

from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode
from knouds_harness.load import final_reports as messages
from knouds_harness.load.distributed import MasterRun
from knouds_harness.load.generator.load_run import LoadSetup
from knouds_harness.load.generator.validity import Health
from knouds_harness.targets.resources import Limits

START_UNIX_S = 1_780_000_000.0
TARGET = target(
    persona("full", tier="enterprise"), limits=Limits(credits=100, allow=frozenset({Action.READ, Action.RUN}))
)


class Master(FakeMaster):  # type: ignore[misc]  # which is Any
    def report(self, worker: str, *, spent: float = 0.0, is_final: bool = False, at: float = START_UNIX_S):
        health = Health(spent_credits=spent).packed()
        self.environment.events.worker_report.fire(
            client_id=worker,
            data={messages.HEALTH: health, messages.SENT_AT: at, messages.IS_FINAL: is_final},
        )


class Run(MasterRun):
    def __init__(self, master: Any, clock: Clock) -> None:
        self.doubts: list[str] = []
        self.stops: list[tuple[str, ExitCode | None]] = []
        setup = LoadSetup(options=options("--rate", "10"), target=TARGET, workload=workload_of(TARGET))
        super().__init__(master.environment, setup, clock=clock)

    def doubt(self, sentence: str) -> None:
        self.doubts.append(sentence)

    def stop(self, reason: str, exit_code: ExitCode | None) -> None:
        self.stops.append((reason, exit_code))


@pytest.fixture
def clock() -> Clock:
    return Clock(START_UNIX_S)


@pytest.fixture
def master() -> Any:
    master = Master(Environment())
    master.have("a", "b", "c", "d")
    return master


@pytest.fixture
def waiting(master, clock) -> Run:
    return Run(master, clock)


@pytest.fixture
def run(master, waiting: Run) -> Run:
    master.environment.events.test_start.fire(environment=master.environment)
    waiting.begin(START_UNIX_S)
    gevent.sleep(0)
    return waiting


def shares_of(master: Any) -> dict[str, tuple[int, int]]:
    return {worker: (share["index"], share["workers"]) for worker, share in master.take(messages.SHARE)}


def granted_to(master: Any) -> float:
    ((_, answer),) = master.take(messages.CREDITS)
    return float(answer["granted"])


def test_each_worker_gets_another_share(run, master):
    assert shares_of(master) == {"a": (0, 4), "b": (1, 4), "c": (2, 4), "d": (3, 4)}


def test_lost_worker_ends_the_run(run, master, clock):
    """It is said by name, since when nothing of it is counted, and what that may have cost."""
    master.hear(messages.ASK_CREDITS, "b", needed=10, what="a run")
    clock.now_s += 17
    master.report("b", spent=2, at=clock.now_s)
    clock.now_s += 3
    master.have("a", "c", "d")

    run.look()

    assert run.stops == [("Ended early: lost a worker, b.", None)]
    assert run.doubts == [
        (
            "The run lost a worker, b: what it sent after second 17 is not counted, and may have cost up to "
            "10.5 credits."
        )
    ]


def test_lost_worker_is_said_once_and_its_share_goes_to_nobody(run, master):
    """One that needed no credits has cost none."""
    shares_of(master)
    master.have("a", "c", "d")

    run.look()
    run.look()

    assert run.doubts == ["The run lost a worker, b: nothing of what it sent is counted."]
    assert len(run.stops) == 1
    assert master.sent == []


def test_worker_that_prepares_is_not_lost(run, master):
    """Its heartbeats may say that it is ready to be started, when that has been done."""
    master.clients.ready = [master.clients.running.pop()]

    run.look()

    assert (run.stops, run.doubts) == ([], [])


def test_worker_that_is_ended_in_order_interrupts_the_run(run, master):
    """As by a SIGTERM; all that it sent is in the figures, so they stay the target's."""
    master.report("b", is_final=True)
    master.have("a", "c", "d")

    run.look()

    assert run.stops == [("Ended early: worker b was ended.", ExitCode.INTERRUPTED)]
    assert run.doubts == []


def test_worker_that_joins_late_casts_doubt_on_the_figures(run, master):
    """Locust gives it users of the others, and it has no share of the load for them."""
    shares_of(master)
    master.have("a", "b", "c", "d", "e")

    run.look()

    assert run.doubts == ["Worker e joined after the start: it got no share of the load."]
    assert (run.stops, master.sent) == ([], [])


def test_workers_that_are_lost_before_load_begins_are_missed(waiting, master):
    """The run says why it came to nothing, even if no worker had started a user."""
    master.clients.ready, master.clients.running = master.clients.running, []
    master.environment.events.test_start.fire(environment=master.environment)
    master.clients.ready = []

    waiting.end_workers()

    assert waiting.stops == [("Ended early: lost a worker, a.", None)]
    assert len(waiting.doubts) == 4


def test_end_waits_for_the_final_reports(run, master):
    ending = gevent.spawn(run.end_workers)
    gevent.sleep(0)
    asked = [worker for worker, _ in master.take(messages.ASK_FINAL_REPORT)]
    for worker in asked:
        assert not ending.ready()
        master.report(worker, is_final=True)

    ending.join(timeout=5)

    assert sorted(asked) == ["a", "b", "c", "d"]
    assert ending.ready()
    assert run.doubts == []


def test_workers_that_go_once_all_is_over_are_not_missed(run, master):
    """Locust has them quit, and asks for the end a second time."""
    for worker in "abcd":
        master.report(worker, is_final=True)
    run.end_workers()
    master.have()

    run.end_workers()

    assert (run.stops, run.doubts) == ([], [])


def test_what_workers_report_is_handed_on(run, master):
    """What they observed to the verification, and their samples into the record."""
    received: list[Any] = []
    run.verification = SimpleNamespace(receive=received.append)
    run.evidence = SimpleNamespace(receive=received.append)
    report = {
        messages.HEALTH: Health().packed(),
        messages.SENT_AT: START_UNIX_S,
        messages.SAMPLES: ["sample"],
        messages.OBSERVATIONS: {"runs": []},
    }

    master.environment.events.worker_report.fire(client_id="a", data=report)

    assert received == [["sample"], {"runs": []}]


def test_metrics_are_those_of_the_workers_together(run, master):
    """The master sends nothing itself; what a worker said last counts."""
    for worker, health in (
        ("a", Health(due=3, handed=3, spent_credits=2)),
        ("b", Health(due=5, handed=4, dropped=1)),
        ("b", Health(due=7, handed=6, dropped=1)),
    ):
        report = {messages.HEALTH: health.packed(), messages.SENT_AT: START_UNIX_S}
        master.environment.events.worker_report.fire(client_id=worker, data=report)

    results = run.results()
    assert (results.validity.arrivals, results.validity.dropped) == (10, 1)
    assert (results.cost_credits, results.plan.workers) == (2, 2)


def test_clock_of_a_worker_that_differs_is_said(run, master, clock):
    for worker in "abcd":
        master.report(worker, is_final=True, at=clock.now_s + (2.5 if worker == "c" else 0.1))

    run.end_workers()

    (doubt,) = run.doubts
    assert doubt.startswith("The clock of worker c differs by +2.5 s")


def test_worker_can_end_the_run(run, master):
    master.hear(messages.STOP, "c", reason="nobody answers", exit_code=3)

    assert run.stops == [("nobody answers", ExitCode.UNREACHABLE)]


def test_credits_that_are_needed_are_granted_while_there_are_any(run, master):
    grants = []
    while not run.stops:
        master.hear(messages.ASK_CREDITS, "a", needed=4, what="a run")
        grants.append(granted_to(master))

    assert grants[0] == 12.5
    assert grants[-1] == 0
    assert sum(grants) == pytest.approx(100, abs=4)
    assert run.stops[0][1] is ExitCode.GUARD


def test_credits_that_are_asked_for_ahead_never_end_the_run(run, master):
    master.hear(messages.ASK_CREDITS, "a", needed=100, what="a run")
    assert granted_to(master) == 100

    master.hear(messages.ASK_CREDITS, "b", needed=0, what="")

    assert granted_to(master) == 0
    assert run.stops == []


def test_credits_come_back_from_who_leaves_in_order(run, master):
    """What it did not spend is there for others; what a lost worker had is not."""
    master.hear(messages.ASK_CREDITS, "a", needed=60, what="a run")
    master.hear(messages.ASK_CREDITS, "b", needed=40, what="a run")
    master.take(messages.CREDITS)

    master.report("a", spent=10, is_final=True)
    master.hear(messages.ASK_CREDITS, "c", needed=50, what="a run")

    assert granted_to(master) == 50


@given(asks=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 60)), max_size=40))
def test_credits_hold_in_total(asks):
    """Whoever asks for how much and however often, together they get no more than there is."""
    master = Master(Environment())
    master.have("a", "b", "c", "d")
    Run(master, Clock())

    for worker, needed in asks:
        master.hear(messages.ASK_CREDITS, worker, needed=needed, what="a run")

    assert sum(answer["granted"] for _, answer in master.take(messages.CREDITS)) <= 100
