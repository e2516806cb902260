"""The windows of rate limits that a run met, for its record."""

from __future__ import annotations

from load_workload import RESET_UNIX_S

from knouds_harness.load.invariants import window_log
from knouds_harness.load.invariants.observation_batch import LimitedRoute, ObservedWindow
from knouds_harness.load.invariants.window_log import WindowLog

PRO = LimitedRoute("pia", "runWorkflow", "pro")
BUSINESS = LimitedRoute("bea", "runModel", "business")


def window(admitted, *, reset_unix_s=RESET_UNIX_S, **counts):
    """As one process saw it."""
    seen = ObservedWindow(reset_unix_s=reset_unix_s, **counts)
    seen.remaining.update(range(admitted))
    return seen


def test_what_processes_saw_of_a_window_is_added_up():
    """Whatever second each answer rounded its end to."""
    log = WindowLog()

    log.add({PRO: [window(60, throttled=1, longest_wait_s=30)]})
    log.add({PRO: [window(40, reset_unix_s=RESET_UNIX_S + 1, throttled=2, longest_wait_s=20, waits_kept=1)]})

    (one,) = log.windows()
    assert (one.user, one.operation, one.tier, one.limit) == ("pia", "runWorkflow", "pro", 100)
    assert (one.ends_unix_s, one.admitted, one.throttled) == (RESET_UNIX_S, 100, 3)
    assert (one.longest_wait_s, one.waits_kept, one.waits_broken) == (30, 1, 0)


def test_windows_are_told_route_by_route_in_order_of_time():
    """Also where a slow worker tells of an earlier one last."""
    log = WindowLog()

    log.add({PRO: [window(1, reset_unix_s=RESET_UNIX_S + 60)], BUSINESS: [window(2)]})
    log.add({PRO: [window(3)]})

    assert [each.admitted for each in log.windows()] == [2, 3, 1]


def test_windows_of_a_long_run_are_bounded(monkeypatch):
    """What comes after the first so many is left out, and what is known goes on being counted."""
    monkeypatch.setattr(window_log, "_MOST", 2)
    log = WindowLog()

    log.add({PRO: [window(1, reset_unix_s=RESET_UNIX_S + 60 * number) for number in range(5)]})
    log.add({PRO: [window(1)]})

    assert [each.admitted for each in log.windows()] == [2, 1]
