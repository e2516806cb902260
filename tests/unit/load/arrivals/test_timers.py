"""What stops the event loop is told apart: computing in this process, and waiting."""

import time

import gevent
import pytest
from gevent.monkey import get_original

from knouds_harness.load.arrivals.timers import LoopMonitor

STOPPED_S = 0.05


def compute():
    until_s = time.thread_time() + STOPPED_S
    while time.thread_time() < until_s:
        pass


def wait():
    get_original("time", "sleep")(STOPPED_S)


def next_beats(monitor):
    """Let the loop turn until a beat has come; return the beats, and the stalls."""
    with gevent.Timeout(5):
        while not (taken := monitor.take())[0]:
            gevent.sleep(0.001)
    return taken


@pytest.fixture
def longest():
    """Stop the loop of a monitor, and return its longest stall."""

    def stopped_by(stop):
        monitor = LoopMonitor()
        monitor.begin()
        next_beats(monitor)
        stop()
        _, stalls = next_beats(monitor)
        return max(stalls, key=lambda each: each[1])

    return stopped_by


def test_own_work_is_told_from_waiting(longest):
    _, stalled_s, own_s, queued_s = longest(compute)
    assert stalled_s > 0.8 * STOPPED_S
    assert own_s + queued_s > 0.8 * STOPPED_S  # on a busy machine it waits, too
    assert own_s > 0.5 * STOPPED_S

    _, stalled_s, own_s, _ = longest(wait)
    assert stalled_s > 0.8 * STOPPED_S
    assert own_s < 0.2 * STOPPED_S


def test_beats_within_a_stall_are_one_stall():
    """Each of them is late, as an answer would be, and the loop stood still once."""
    monitor = LoopMonitor()
    monitor.begin()
    next_beats(monitor)
    wait()

    late, stalls = ([each for each in found if each[1] > 0.5 * STOPPED_S] for found in next_beats(monitor))

    assert len(stalls) == 1
    assert len(late) > 2
