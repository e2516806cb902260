"""Arrivals go to whoever is idle, at their instant, and are dropped where nobody is."""

import time

import gevent
import pytest

from knouds_harness.load.arrivals.arrival_user import Arrivals, open_timer
from knouds_harness.load.arrivals.schedule import ArrivalSchedule, Shape, Share

SOON_S = 0.02
SCHEDULE = ArrivalSchedule(shape=Shape.of("constant", 1.0, 1.0))


@pytest.fixture
def timer():
    with open_timer() as timer:
        yield timer


def serving(arrivals, taken, *, busy_s=0.0):
    def serve():
        while True:
            taken.append(arrivals.await_arrival())
            gevent.sleep(busy_s)

    return gevent.spawn(serve)


def test_each_arrival_is_handed_over_with_its_instant(timer):
    """Whoever is idle gets every arrival, and is told when it was due."""
    taken: list[float] = []
    arrivals = Arrivals(SCHEDULE)
    servers = [serving(arrivals, taken) for _ in range(20)]  # as a machine may stall over several arrivals
    gevent.sleep(0)
    due = [time.perf_counter() + SOON_S + number / 1000 for number in range(20)]

    arrivals.hand_over(due, timer=timer)
    gevent.sleep(0)

    gevent.killall(servers)
    assert taken == due
    assert (arrivals.due, arrivals.handed, arrivals.dropped) == (20, 20, 0)
    assert len(arrivals.lateness) == 20


def test_arrivals_without_anybody_idle_are_dropped(timer):
    """An arrival that nobody can take is counted and gone, not put off."""
    taken: list[float] = []
    arrivals = Arrivals(SCHEDULE)
    servers = [serving(arrivals, taken, busy_s=60) for _ in range(3)]
    gevent.sleep(0)
    due = [time.perf_counter() + SOON_S] * 10

    arrivals.hand_over(due, timer=timer)
    gevent.sleep(0)

    gevent.killall(servers)
    assert (arrivals.handed, arrivals.dropped, len(taken)) == (3, 7, 3)


def test_nothing_is_handed_to_who_was_killed(timer):
    taken: list[float] = []
    arrivals = Arrivals(SCHEDULE)
    server = serving(arrivals, taken)
    gevent.sleep(0)
    server.kill()

    arrivals.hand_over([time.perf_counter()], timer=timer)

    assert (arrivals.idle, arrivals.handed, arrivals.dropped) == (0, 0, 1)


def test_arrivals_count_from_the_end_of_the_warm_up_on(timer):
    """The one at its very end is the first that counts, as its request is."""
    schedule = ArrivalSchedule(shape=Shape.of("constant", 100.0, 0.1))
    arrivals = Arrivals(schedule)
    taken: list[float] = []
    servers = [serving(arrivals, taken) for _ in range(10)]
    gevent.sleep(0)

    arrivals.begin(time.perf_counter(), Share(), counted_from_s=0.05)
    with gevent.Timeout(5):
        while len(taken) < 10:
            gevent.sleep(0.01)

    gevent.killall(servers)
    assert (arrivals.due, arrivals.handed, len(arrivals.lateness)) == (5, 5, 5)


def test_arrivals_that_were_due_when_it_ended_are_not_sent(timer):
    """One was handed to a user that is killed before it runs; two, and not the fourth, were due by then."""
    arrivals = Arrivals(SCHEDULE)
    server = serving(arrivals, [])
    gevent.sleep(0)
    now_s = time.perf_counter()
    gevent.spawn(server.kill, block=False)
    gevent.spawn(arrivals.stop)

    arrivals.hand_over([now_s - 3, now_s - 2, now_s - 1, now_s + 3600], timer=timer)

    assert (arrivals.due, arrivals.handed, arrivals.dropped) == (3, 0, 0)


def test_stop_is_noticed_long_before_the_next_arrival(timer):
    arrivals = Arrivals(SCHEDULE)
    gevent.spawn(arrivals.stop)

    with gevent.Timeout(5):
        arrivals.hand_over([time.perf_counter() + 3600], timer=timer)

    assert arrivals.dropped == 0
