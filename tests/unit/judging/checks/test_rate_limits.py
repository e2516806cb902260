"""Checks of rate limits are pure: hand-made responses show what breaks them."""

from dataclasses import replace
from datetime import timedelta
from email.utils import formatdate

import pytest
from exchanges import broken, claimed, exchange, refusal

from knouds_harness.judging.checks import rate_limits

NOW_UNIX_S = 1_795_000_000
END_UNIX_S = NOW_UNIX_S + 40


def admitted(remaining, *, end=END_UNIX_S, limit=100, status=200):
    """Make a run of an account that has so many requests left in its window."""
    headers = {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(end),
        "date": formatdate(NOW_UNIX_S, usegmt=True),
    }
    return exchange(status, {"success": True}, operation_id="runWorkflow", headers=headers)


REFUSED = refusal(429, "RATE_LIMIT_EXCEEDED", tier="pro", limit=100, retryAfter=40)
PLAIN = exchange(200, {"success": True}, operation_id="runWorkflow")


@pytest.mark.parametrize(
    ("check", "fact"),
    [
        (rate_limits.remaining_falls, "rate.remaining-falls"),
        (rate_limits.separate_routes, "rate.separate-per-route"),
        (rate_limits.separate_accounts, "rate.per-user-not-per-key"),
    ],
)
@pytest.mark.parametrize(
    ("later", "is_kept"),
    [
        (admitted(89), True),
        (admitted(90), False),
        (admitted(88), False),
        (admitted(99), False),
        (admitted(89, end=END_UNIX_S + 1), True),
    ],
)
def test_next_run_leaves_one_fewer(check, fact, later, is_kept):
    assert broken(check, later, earlier=admitted(90)) == (set() if is_kept else {fact})


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (admitted(90), admitted(99, end=END_UNIX_S + 60)),
        (admitted(90), PLAIN),
        (PLAIN, admitted(90)),
        (admitted(0), admitted(0)),
        (admitted(90), REFUSED),
        (admitted(90, status=400), admitted(90)),
        (admitted("many"), admitted(90)),
    ],
)
def test_no_claim_without_comparable_headers(earlier, later):
    assert claimed(rate_limits.remaining_falls, later, earlier=earlier) == set()


@pytest.mark.parametrize(
    ("later", "facts"),
    [
        (admitted(89), set()),
        (admitted(99), {"rate.per-user-not-per-key"}),
        (admitted(99, end=END_UNIX_S + 15), {"rate.per-user-not-per-key"}),
        (PLAIN, set()),
        (REFUSED, set()),
    ],
)
def test_second_key_of_an_account_shares_its_window(later, facts):
    assert broken(rate_limits.shared_by_keys, later, earlier=admitted(90), advanced_s=0) == facts


def test_second_key_may_show_a_later_window():
    """Once the window of the first key is over."""
    later = replace(admitted(99, end=END_UNIX_S + 60))
    later = replace(later, started_at=later.started_at + timedelta(seconds=41))

    assert claimed(rate_limits.shared_by_keys, later, earlier=admitted(90), advanced_s=0) == set()


@pytest.mark.parametrize(
    ("end", "advanced_s", "is_kept"),
    [
        (NOW_UNIX_S + 60, 0, True),
        (NOW_UNIX_S, 0, True),
        (NOW_UNIX_S + 3600, 0, False),
        (NOW_UNIX_S - 30, 0, False),
        (NOW_UNIX_S + 120, 60, True),
        (NOW_UNIX_S + 30, 60, False),
        ((NOW_UNIX_S + 60) * 1000, 0, True),
    ],
)
def test_window_ends_within_a_minute(end, advanced_s, is_kept):
    """By the server's own clock; the unit of Reset is another fact."""
    findings = broken(rate_limits.window_ends, admitted(90, end=end), advanced_s=advanced_s)

    assert (findings == set()) == is_kept


def test_window_may_end_during_a_long_run():
    """The headers belong to the window that admitted the run."""
    run = admitted(90, end=NOW_UNIX_S - 38)

    assert broken(rate_limits.window_ends, replace(run, elapsed_ms=40_000.0), advanced_s=0) == set()
    assert broken(rate_limits.window_ends, replace(run, elapsed_ms=30_000.0), advanced_s=0) != set()


@pytest.mark.parametrize(
    ("later", "is_kept"),
    [
        (admitted(89), True),
        (admitted(99), False),
        (admitted(89, end=END_UNIX_S + 30), False),
        (admitted(99, end=END_UNIX_S + 60), False),
        (PLAIN, True),
        (REFUSED, True),
    ],
)
def test_run_does_not_move_its_window(later, is_kept):
    assert (broken(rate_limits.window_stands, later, earlier=admitted(90)) == set()) == is_kept


@pytest.mark.parametrize(
    ("later", "is_kept"),
    [
        (admitted(99, end=END_UNIX_S + 60), True),
        (admitted(99, end=END_UNIX_S + 300), True),
        (admitted(99, end=END_UNIX_S + 30), False),
        (admitted(88, end=END_UNIX_S + 60), False),
        (REFUSED, False),
        (PLAIN, True),
    ],
)
def test_next_window_begins_when_the_last_one_is_over(later, is_kept):
    assert (broken(rate_limits.window_turned, later, earlier=admitted(90)) == set()) == is_kept


@pytest.mark.parametrize(
    ("later", "is_kept"),
    [
        (admitted(7), True),
        (admitted(89, end=END_UNIX_S + 2), True),
        (admitted(99, end=END_UNIX_S + 3), False),
        (admitted(99, end=END_UNIX_S - 3), False),
        (admitted(99, end=END_UNIX_S + 30), False),
        (admitted(99, end=END_UNIX_S + 58), True),
        (admitted(99, end=END_UNIX_S - 60), False),
        (REFUSED, True),
        (PLAIN, True),
    ],
)
def test_windows_end_a_minute_apart(later, is_kept):
    """Seconds are rounded; no window ends before one of an earlier run."""
    earlier = [admitted(99, end=END_UNIX_S - 60), admitted(90), PLAIN]

    assert (broken(rate_limits.ends_apart, later, earlier_runs=earlier) == set()) == is_kept


@pytest.mark.parametrize(
    ("later", "is_kept"), [(admitted(0), False), (admitted(99, end=END_UNIX_S + 60), True), (REFUSED, True)]
)
def test_no_run_is_admitted_after_remaining_0(later, is_kept):
    assert (broken(rate_limits.remaining_never_rises, later, earlier_runs=[admitted(0)]) == set()) == is_kept
