"""What stops the event loop is told apart: computing in this process, and waiting."""

import time

import gevent
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


def stopped_by(stop):
    """Stop the loop of a monitor, and return the beats and stalls from then on: a machine may cause more."""
    monitor = LoopMonitor()
    monitor.begin()
    next_beats(monitor)
    stop()
    return next_beats(monitor)


def test_own_work_is_told_from_waiting():
    _, [(_, stalled_s, own_s, queued_s), *_] = stopped_by(compute)
    assert stalled_s > 0.8 * STOPPED_S
    assert own_s + queued_s > 0.8 * STOPPED_S  # on a busy machine it waits, too
    assert own_s > 0.5 * STOPPED_S

    _, [(_, stalled_s, own_s, _), *_] = stopped_by(wait)
    assert stalled_s > 0.8 * STOPPED_S
    assert own_s < 0.2 * STOPPED_S


def test_beats_within_a_stall_are_one_stall():
    """Each of them is late, as an answer would be, and the loop stood still once."""
    beats, [(first_s, stalled_s, *_), *later] = stopped_by(wait)

    assert sum(due_s <= first_s + 0.5 * stalled_s for due_s, _ in beats) > 2
    assert all(each[0] > first_s + stalled_s for each in later)
