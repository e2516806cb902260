"""What a master sends its workers, and what it does with their messages."""

import math
from typing import Any

import gevent
import pytest
from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st
from load_records import histogram_of
from load_workload import TOLD, FakeMaster
from locust.env import Environment

from knouds_harness.errors import ExitCode
from knouds_harness.load import messages
from knouds_harness.load.leader.workers import Workers
from knouds_harness.load.messages import FinalReports

START_UNIX_S = 1_780_000_000.0


class Master(FakeMaster):  # type: ignore[misc]  # which is Any
    def report(self, worker: str, *, spent: float = 0.0, is_final: bool = False, at: float = START_UNIX_S):
        told = TOLD | {"sent_unix_s": at, "spent_credits": spent}
        self.workers.take(worker, told, [], epoch_s=0.0, measured=(0.0, math.inf))
        self.environment.events.worker_report.fire(client_id=worker, data={messages.IS_FINAL: is_final})


class Run(Workers):
    def __init__(self, master: Any, clock: Clock) -> None:
        self.doubts: list[str] = []
        self.stops: list[tuple[str, ExitCode | None]] = []
        final_reports = FinalReports(master)
        master.workers = self
        super().__init__(
            master,
            final_reports,
            most_credits=100,
            doubt=self.doubts.append,
            stop=lambda *stop: self.stops.append(stop),
            clock=clock,
        )


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
    waiting.share(START_UNIX_S)
    gevent.sleep(0)
    return waiting


def shares_of(master: Any) -> dict[str, tuple[int, int]]:
    told = ((worker, told["share"]) for worker, told in master.take(messages.SHARE))
    return {worker: (share["index"], share["workers"]) for worker, share in told}


def granted_to(master: Any) -> float:
    ((_, answer),) = master.take(messages.CREDITS)
    return float(answer["granted"])


def test_each_worker_gets_its_own_share(run, master):
    assert shares_of(master) == {"a": (0, 4), "b": (1, 4), "c": (2, 4), "d": (3, 4)}


def test_lost_worker_ends_the_run(run, master, clock):
    """The doubt names it, says since when its requests are not counted, and what they may have cost."""
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


def test_lost_worker_is_reported_once_and_its_share_is_dropped(run, master):
    """A worker that needed no credits has cost none."""
    shares_of(master)
    master.have("a", "c", "d")

    run.look()
    run.look()

    assert run.doubts == ["The run lost a worker, b: nothing of what it sent is counted."]
    assert len(run.stops) == 1
    assert master.sent == []


def test_worker_that_is_still_preparing_is_not_lost(run, master):
    """Its heartbeats may still say "ready" when it has been started."""
    master.clients.ready = [master.clients.running.pop()]

    run.look()

    assert (run.stops, run.doubts) == ([], [])


def test_orderly_end_of_a_worker_interrupts_the_run(run, master):
    """As by SIGTERM; all that it sent is counted, so the figures are not in doubt."""
    master.report("b", is_final=True)
    master.have("a", "c", "d")

    run.look()

    assert run.stops == [("Ended early: worker b was ended.", ExitCode.INTERRUPTED)]
    assert run.doubts == []


def test_late_worker_makes_the_measurement_doubtful(run, master):
    """Locust moves users of the others to it, but it has no share of the load for them."""
    shares_of(master)
    master.have("a", "b", "c", "d", "e")

    run.look()

    assert run.doubts == ["Worker e joined after the start: it got no share of the load."]
    assert (run.stops, master.sent) == ([], [])


def test_workers_lost_before_the_load_are_reported(waiting, master):
    """The run says why it failed, even if no worker had started a user."""
    master.clients.ready, master.clients.running = master.clients.running, []
    master.environment.events.test_start.fire(environment=master.environment)
    master.clients.ready = []

    waiting.end()

    assert waiting.stops == [("Ended early: lost a worker, a.", None)]
    assert len(waiting.doubts) == 4


def test_end_waits_for_the_final_reports(run, master):
    ending = gevent.spawn(run.end)
    gevent.sleep(0)
    asked = [worker for worker, _ in master.take(messages.ASK_FINAL_REPORT)]
    for worker in asked:
        assert not ending.ready()
        master.report(worker, is_final=True)

    ending.get(timeout=5)

    assert sorted(asked) == ["a", "b", "c", "d"]
    assert run.doubts == []


def test_workers_that_quit_after_the_end_are_not_lost(run, master):
    """Locust has them quit, and signals the end a second time."""
    for worker in "abcd":
        master.report(worker, is_final=True)
    run.end()
    master.have()

    run.end()

    assert (run.stops, run.doubts) == ([], [])


def test_health_is_the_sum_of_all_workers(run):
    """Of each worker, what it told last counts."""
    for worker, arrivals, spent in (
        ("a", [3, 3, 0, 0], 2.0),
        ("b", [5, 4, 1, 0], 0.0),
        ("b", [7, 6, 1, 2], 0.0),
    ):
        told = TOLD | {"arrivals": arrivals, "spent_credits": spent}
        run.take(worker, told, [], epoch_s=0.0, measured=(0.0, math.inf))

    health = run.health()

    assert (health.due, health.handed, health.dropped, health.in_flight) == (10, 9, 1, 2)
    assert (health.spent_credits, run.count) == (2, 2)


def test_only_the_measured_time_counts(run):
    """Not how late the generator was in the warm-up, or once the load was over."""
    rows = [
        ("n", "GET", "ok", 5.0 + late_ms, 5.0, at_s + 0.1, None, None, 0, None, None)
        for at_s, late_ms in ((1.0, 70.0), (2.0, 2.0), (3.0, 0.0))
    ]
    beats = [(0.5, 0.09), (2.0, 0.003), (9.0, 0.5)]

    stalls = [(0.5, 0.09, 0.09, 0.0), (2.0, 0.003, 0.001, 0.002), (9.0, 0.5, 0.0, 0.5)]

    told = TOLD | {"lags": beats, "stalls": stalls}
    run.take("a", told, rows, epoch_s=100.0, measured=(102.0, 105.0))

    health = run.health()
    assert health.lateness == histogram_of([2.0])
    assert health.loop_lag == histogram_of([3.0])
    assert (health.stalled_s, health.own_s, health.queued_s) == (0.003, 0.001, 0.002)


def test_clock_difference_of_a_worker_is_reported(run, master, clock):
    for worker in "abcd":
        master.report(worker, is_final=True, at=clock.now_s + (2.5 if worker == "c" else 0.1))

    run.end()

    (doubt,) = run.doubts
    assert doubt.startswith("The clock of worker c differs by +2.5 s")


def test_worker_can_end_the_run(run, master):
    master.hear(messages.STOP, "c", reason="nobody answers", exit_code=3)

    assert run.stops == [("nobody answers", ExitCode.UNREACHABLE)]


def test_needed_credits_are_granted_until_none_are_left(run, master):
    grants = []
    while not run.stops:
        master.hear(messages.ASK_CREDITS, "a", needed=4, what="a run")
        grants.append(granted_to(master))

    assert grants[0] == 12.5
    assert grants[-1] == 0
    assert sum(grants) == pytest.approx(100, abs=4)
    assert run.stops[0][1] is ExitCode.GUARD


def test_credits_requested_ahead_never_end_the_run(run, master):
    master.hear(messages.ASK_CREDITS, "a", needed=100, what="a run")
    assert granted_to(master) == 100

    master.hear(messages.ASK_CREDITS, "b", needed=0, what="")

    assert granted_to(master) == 0
    assert run.stops == []


def test_worker_that_ends_in_order_gives_back_its_credits(run, master):
    """Those of a lost worker do not come back."""
    master.hear(messages.ASK_CREDITS, "a", needed=60, what="a run")
    master.hear(messages.ASK_CREDITS, "b", needed=40, what="a run")
    master.take(messages.CREDITS)

    master.report("a", spent=10, is_final=True)
    master.hear(messages.ASK_CREDITS, "c", needed=50, what="a run")

    assert granted_to(master) == 50


@given(asks=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 60)), max_size=40))
def test_credit_limit_holds_over_all_workers(asks):
    """Whatever they ask for, together they get no more than there is."""
    master = Master(Environment())
    master.have("a", "b", "c", "d")
    Run(master, Clock())

    for worker, needed in asks:
        master.hear(messages.ASK_CREDITS, worker, needed=needed, what="a run")

    assert sum(answer["granted"] for _, answer in master.take(messages.CREDITS)) <= 100
