"""Arrivals go to whoever is idle, at their instant, and are dropped where nobody is."""

import time

import gevent
import pytest

from knouds_harness.load.arrivals.dispatcher import Dispatcher
from knouds_harness.load.arrivals.timer import open_timer

SOON_S = 0.02


@pytest.fixture
def timer():
    """The platform's timer."""
    with open_timer() as timer:
        yield timer


def serving(dispatcher, taken, *, busy_s=0.0):
    """A greenlet that serves arrivals for ever, each for so long."""

    def serve():
        while True:
            taken.append(dispatcher.await_arrival())
            gevent.sleep(busy_s)

    return gevent.spawn(serve)


def test_each_arrival_is_handed_over_with_its_instant(timer):
    """Whoever is idle gets every arrival, and is told when it was due."""
    taken: list[float] = []
    late_s: list[float] = []
    dispatcher = Dispatcher(on_taken=late_s.append)
    servers = [serving(dispatcher, taken) for _ in range(20)]  # as a machine may stall over several arrivals
    gevent.sleep(0)
    due = [time.perf_counter() + SOON_S + number / 1000 for number in range(20)]

    dispatcher.serve(due, timer=timer, is_stopped=lambda: False)
    gevent.sleep(0)

    gevent.killall(servers)
    assert taken == due
    assert (dispatcher.handed, dispatcher.dropped) == (20, 0)
    assert all(late >= 0 for late in late_s)


def test_arrivals_without_anybody_idle_are_dropped(timer):
    """An arrival that nobody can take is counted and gone, not put off."""
    taken: list[float] = []
    dispatcher = Dispatcher(on_taken=lambda _: None)
    servers = [serving(dispatcher, taken, busy_s=60) for _ in range(3)]
    gevent.sleep(0)
    due = [time.perf_counter() + SOON_S] * 10

    dispatcher.serve(due, timer=timer, is_stopped=lambda: False)
    gevent.sleep(0)

    gevent.killall(servers)
    assert (dispatcher.handed, dispatcher.dropped, len(taken)) == (3, 7, 3)


def test_nothing_is_handed_to_who_was_killed(timer):
    """Who is killed while idle is forgotten."""
    taken: list[float] = []
    dispatcher = Dispatcher(on_taken=lambda _: None)
    server = serving(dispatcher, taken)
    gevent.sleep(0)
    server.kill()

    dispatcher.serve([time.perf_counter()], timer=timer, is_stopped=lambda: False)

    assert (dispatcher.idle, dispatcher.handed, dispatcher.dropped) == (0, 0, 1)


def test_stop_is_noticed_long_before_the_next_arrival(timer):
    """A schedule that goes on for an hour ends when told to."""
    dispatcher = Dispatcher(on_taken=lambda _: None)
    stops = iter([False, False, True, True])

    with gevent.Timeout(5):
        dispatcher.serve([time.perf_counter() + 3600], timer=timer, is_stopped=lambda: next(stops))

    assert dispatcher.dropped == 0
