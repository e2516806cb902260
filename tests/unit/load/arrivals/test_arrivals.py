"""Arrivals go to idle users when they are due, and are dropped if no user is idle."""

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


def test_arrival_goes_to_an_idle_user_with_its_due_time(timer):
    taken: list[float] = []
    arrivals = Arrivals(SCHEDULE)
    servers = [serving(arrivals, taken) for _ in range(20)]  # a machine may stall for several arrivals
    gevent.sleep(0)
    due = [time.perf_counter() + SOON_S + number / 1000 for number in range(20)]

    arrivals.hand_over(due, timer=timer)
    gevent.sleep(0)

    gevent.killall(servers)
    assert taken == due
    assert (arrivals.due, arrivals.handed, arrivals.dropped) == (20, 20, 0)
    assert len(arrivals.lateness) == 20


def test_arrivals_without_an_idle_user_are_dropped(timer):
    """They are counted as dropped, and not sent later."""
    taken: list[float] = []
    arrivals = Arrivals(SCHEDULE)
    servers = [serving(arrivals, taken, busy_s=60) for _ in range(3)]
    gevent.sleep(0)
    due = [time.perf_counter() + SOON_S] * 10

    arrivals.hand_over(due, timer=timer)
    gevent.sleep(0)

    gevent.killall(servers)
    assert (arrivals.handed, arrivals.dropped, len(taken)) == (3, 7, 3)


def test_killed_user_gets_no_arrival(timer):
    taken: list[float] = []
    arrivals = Arrivals(SCHEDULE)
    server = serving(arrivals, taken)
    gevent.sleep(0)
    server.kill()

    arrivals.hand_over([time.perf_counter()], timer=timer)

    assert (arrivals.idle, arrivals.handed, arrivals.dropped) == (0, 0, 1)


def test_arrivals_count_from_the_end_of_the_warm_up(timer):
    """The arrival at the very end of the warm-up counts, and so does its request."""
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


def test_arrivals_due_at_the_end_of_the_load_are_not_sent(timer):
    """One goes to a user that is killed before it runs; two more were due by then, and the fourth was not."""
    arrivals = Arrivals(SCHEDULE)
    server = serving(arrivals, [])
    gevent.sleep(0)
    now_s = time.perf_counter()
    gevent.spawn(server.kill, block=False)
    gevent.spawn(arrivals.stop)

    arrivals.hand_over([now_s - 3, now_s - 2, now_s - 1, now_s + 3600], timer=timer)

    assert (arrivals.due, arrivals.handed, arrivals.dropped) == (3, 0, 0)


def test_stop_does_not_wait_for_the_next_arrival(timer):
    arrivals = Arrivals(SCHEDULE)
    gevent.spawn(arrivals.stop)

    with gevent.Timeout(5):
        arrivals.hand_over([time.perf_counter() + 3600], timer=timer)

    assert arrivals.dropped == 0
