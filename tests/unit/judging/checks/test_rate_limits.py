"""Checks of rate limits are pure: hand-made responses show what breaks them."""

from dataclasses import replace
from datetime import timedelta
from email.utils import formatdate

import pytest
from exchanges import assert_breaks, exchange, named, refusal, rows

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
NEXT = admitted(99, end=END_UNIX_S + 60)
ENDED = admitted(90, end=NOW_UNIX_S - 38)


CASES = {
    **{
        f"the next run leaves one fewer: {check.id}": rows(
            check,
            (admitted(89), False),
            (admitted(90), True),
            (admitted(88), True),
            (admitted(99), True),
            (admitted(89, end=END_UNIX_S + 1), False),
            earlier=admitted(90),
        )
        for check in (rate_limits.remaining_falls, rate_limits.separate_routes, rate_limits.separate_accounts)
    },
    "without comparable headers nothing is claimed": rows(
        rate_limits.remaining_falls,
        (NEXT, admitted(90), None),
        (PLAIN, admitted(90), None),
        (admitted(90), PLAIN, None),
        (admitted(0), admitted(0), None),
        (REFUSED, admitted(90), None),
        (admitted(90), admitted(90, status=400), None),
        (admitted(90), admitted("many"), None),
    ),
    "a second key of the account shares its window": rows(
        rate_limits.shared_by_keys,
        (admitted(89), False),
        (admitted(99), True),
        (admitted(99, end=END_UNIX_S + 15), True),
        (replace(NEXT, started_at=NEXT.started_at + timedelta(seconds=41)), None),  # the window is over
        (PLAIN, False),
        (REFUSED, False),
        earlier=admitted(90),
        advanced_s=0,
    ),
    "a window ends within a minute by the server's clock": rows(
        rate_limits.window_ends,
        (admitted(90, end=NOW_UNIX_S + 60), 0, False),
        (admitted(90, end=NOW_UNIX_S), 0, False),
        (admitted(90, end=NOW_UNIX_S + 3600), 0, True),
        (admitted(90, end=NOW_UNIX_S - 30), 0, True),
        (admitted(90, end=NOW_UNIX_S + 120), 60, False),
        (admitted(90, end=NOW_UNIX_S + 30), 60, True),
        (admitted(90, end=(NOW_UNIX_S + 60) * 1000), 0, False),
        (replace(ENDED, elapsed_ms=40_000.0), 0, False),  # during the run that it admitted
        (replace(ENDED, elapsed_ms=30_000.0), 0, True),
    ),
    "a run does not move its window": rows(
        rate_limits.window_stands,
        (admitted(89), False),
        (admitted(99), True),
        (admitted(89, end=END_UNIX_S + 30), True),
        (NEXT, True),
        (PLAIN, False),
        (REFUSED, False),
        earlier=admitted(90),
    ),
    "the next window begins when the last one is over": rows(
        rate_limits.window_turned,
        (NEXT, False),
        (admitted(99, end=END_UNIX_S + 300), False),
        (admitted(99, end=END_UNIX_S + 30), True),
        (admitted(88, end=END_UNIX_S + 60), True),
        (REFUSED, True),
        (PLAIN, False),
        earlier=admitted(90),
    ),
    "windows end a minute apart, and none before that of an earlier run": rows(
        rate_limits.ends_apart,
        (admitted(7), False),
        (admitted(89, end=END_UNIX_S + 2), False),
        (admitted(99, end=END_UNIX_S + 3), True),
        (admitted(99, end=END_UNIX_S - 3), True),
        (admitted(99, end=END_UNIX_S + 30), True),
        (admitted(99, end=END_UNIX_S + 58), False),
        (admitted(99, end=END_UNIX_S - 60), True),
        (REFUSED, False),
        (PLAIN, False),
        earlier_runs=[admitted(99, end=END_UNIX_S - 60), admitted(90), PLAIN],
    ),
    "no run is admitted after remaining 0": rows(
        rate_limits.remaining_never_rises,
        (admitted(0), True),
        (NEXT, False),
        (REFUSED, False),
        earlier_runs=[admitted(0)],
    ),
}


@pytest.mark.parametrize(("check", "answer", "known", "facts"), named(CASES))
def test_check_finds_what_is_broken(check, answer, known, facts):
    assert_breaks(check, answer, known, facts)
