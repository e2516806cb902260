"""Arrivals go to idle users when they are due, and are dropped if no user is idle."""

import time

import gevent
import pytest
from clocks import Clock, wait_until

from knouds_harness.load.arrivals.arrival_user import Arrivals
from knouds_harness.load.arrivals.schedule import ArrivalSchedule, Shape, Share

SOON_S = 0.02


class HandTimer:
    """Comes when it is told to."""

    precision = "by hand"

    def __init__(self):
        self.callback = None
        self.at_s = None

    def start(self, callback):
        self.callback = callback

    def set(self, instant_s):
        self.at_s = instant_s

    def close(self):
        self.callback = None

    def come(self):
        if self.callback:
            gevent.get_hub().loop.run_callback(self.callback)
        gevent.sleep(0.001)


def serving(arrivals, taken, *, busy_s=0.0):
    def serve():
        while True:
            taken.append(arrivals.await_arrival())
            gevent.sleep(busy_s)

    return gevent.spawn(serve)


@pytest.fixture
def clock():
    return Clock(100.0)


def arrivals_at(rate, seconds, clock=time.perf_counter):
    return Arrivals(ArrivalSchedule(shape=Shape.of("constant", rate, seconds)), clock=clock)


def test_arrival_goes_to_an_idle_user_with_its_due_time():
    taken: list[float] = []
    arrivals = arrivals_at(1000.0, 0.02)
    servers = [serving(arrivals, taken) for _ in range(20)]  # a machine may stall for several arrivals
    gevent.sleep(0)
    start_s = time.perf_counter() + SOON_S

    arrivals.begin(start_s, Share())
    wait_until(lambda: arrivals.are_over, sleep=gevent.sleep)

    gevent.killall(servers)
    assert taken == pytest.approx([start_s + number / 1000 for number in range(20)])
    assert (arrivals.due, arrivals.handed, arrivals.dropped) == (20, 20, 0)


def test_arrivals_without_an_idle_user_are_dropped():
    taken: list[float] = []
    arrivals = arrivals_at(1000.0, 0.01)
    servers = [serving(arrivals, taken, busy_s=60) for _ in range(3)]
    gevent.sleep(0)

    arrivals.begin(time.perf_counter() + SOON_S, Share())
    wait_until(lambda: arrivals.are_over, sleep=gevent.sleep)

    gevent.killall(servers)
    assert (arrivals.handed, arrivals.dropped, len(taken)) == (3, 7, 3)


def test_killed_user_gets_no_arrival():
    taken: list[float] = []
    arrivals = arrivals_at(1.0, 1.0)
    server = serving(arrivals, taken)
    gevent.sleep(0)
    server.kill()

    arrivals.begin(time.perf_counter(), Share())
    wait_until(lambda: arrivals.are_over, sleep=gevent.sleep)

    assert (arrivals.handed, arrivals.dropped) == (0, 1)


def test_arrivals_count_from_the_end_of_the_warm_up():
    """The arrival at the very end of the warm-up counts, and so does its request."""
    arrivals = arrivals_at(100.0, 0.1)
    taken: list[float] = []
    servers = [serving(arrivals, taken) for _ in range(10)]
    gevent.sleep(0)

    arrivals.begin(time.perf_counter(), Share(), counted_from_s=0.05)
    wait_until(lambda: arrivals.are_over, sleep=gevent.sleep)

    gevent.killall(servers)
    assert (len(taken), arrivals.due, arrivals.handed) == (10, 5, 5)


def test_process_that_is_behind_reads_answers_between_arrivals(clock):
    """Some are handed over at once, and the rest once the loop has had its turn."""
    arrivals, timer = arrivals_at(100.0, 1.0, clock), HandTimer()
    arrivals.begin(100.0, Share(), timer=timer)
    clock.now_s += 1

    timer.come()
    at_once = arrivals.due
    timer.come()

    assert 0 < at_once < arrivals.due < 100
    assert timer.at_s < clock.now_s


def test_arrivals_due_at_the_end_of_the_load_are_not_sent(clock):
    arrivals, timer = arrivals_at(1.0, 3.0, clock), HandTimer()
    server = serving(arrivals, [])
    gevent.sleep(0)
    arrivals.begin(100.0, Share(), timer=timer)
    clock.now_s += 3.0

    arrivals.stop()
    timer.come()

    server.kill()
    assert (arrivals.due, arrivals.handed, arrivals.dropped, arrivals.are_over) == (3, 0, 0, True)


def test_nothing_is_due_and_not_sent_when_the_load_ends_early(clock):
    """What the process would have handed over next is not missing: the load was ended."""
    arrivals, timer = arrivals_at(1.0, 10.0, clock), HandTimer()
    arrivals.begin(100.0, Share(), timer=timer)
    clock.now_s += 2.5

    arrivals.stop()

    assert (arrivals.due, arrivals.handed, arrivals.dropped, arrivals.are_over) == (0, 0, 0, True)


def test_stop_does_not_wait_for_the_next_arrival():
    arrivals = arrivals_at(0.001, 5000.0)
    arrivals.begin(time.perf_counter() - 1, Share())
    gevent.sleep(0.01)

    arrivals.stop()

    assert (arrivals.are_over, arrivals.due, arrivals.dropped) == (True, 1, 1)
