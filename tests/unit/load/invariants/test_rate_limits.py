"""Windows of rate limits, as the responses to a load show them."""

from copy import deepcopy

import pytest
from load_workload import RESET_UNIX_S, Said, persona, ran, throttled

from knouds_harness.judging.checks import rate_limits as checks
from knouds_harness.load.invariants import rate_limits
from knouds_harness.load.invariants.rate_limits import RateLimits
from knouds_harness.load.invariants.tallies import (
    NEVER_THROTTLED,
    NO_MORE,
    REMAINING_FALLS,
    SHORT_WAIT,
    TRUE_WAIT,
    WINDOWS_APART,
    Tallies,
    promise,
)

PRO = persona()
WHOLE_LIMIT = promise(checks.within_limit)


class Limits(RateLimits):
    """Takes responses at a time that a test sets."""

    def __init__(self, *, most_in_flight=0, is_alone=True):
        self.tallies = Tallies()
        self.now_s = 1_000.0
        super().__init__(self.tallies, most_in_flight=most_in_flight, is_alone=is_alone)

    def tell(self, *answers, name="runWorkflow", sender=PRO):
        for answer in answers:
            self.observe(name, answer, sender, answer.body, at_unix_s=self.now_s)
        return self

    def tell_window(self, remaining, *, after_s=0, throttled_times=0):
        reset_unix_s = RESET_UNIX_S + after_s
        self.tell(*(ran(each, reset_unix_s=reset_unix_s) for each in remaining))
        return self.tell(*[throttled(reset_unix_s=reset_unix_s)] * throttled_times)

    def tally(self, promise):
        """Return how often a promise was seen and broken, if all windows are over."""
        whole = deepcopy(self.tallies)
        self.judge(whole)
        found = whole.by_promise.get(promise)
        return (found.seen, found.broken) if found else (0, 0)


@pytest.mark.parametrize(
    ("remaining", "invariant", "expected"),
    [
        (range(100), NO_MORE, (1, 0)),
        ([*range(100), 0], NO_MORE, (1, 1)),
        (range(100), REMAINING_FALLS, (100, 0)),
        ([*range(49), 50, *range(50, 100)], REMAINING_FALLS, (100, 1)),
        ([*range(1, 100), 0, 0], REMAINING_FALLS, (101, 0)),
    ],
    ids=["all of it", "one more", "each once", "one twice", "nothing left twice"],
)
def test_window_admits_no_more_and_counts_each_request(remaining, invariant, expected):
    """No Remaining comes twice but 0, which the limit itself covers."""
    assert Limits().tell_window(remaining).tally(invariant) == expected


@pytest.mark.parametrize(
    ("remaining", "lost", "throttled_times", "expected"),
    [
        (range(100), 0, 5, (1, 0)),
        (range(40, 100), 0, 5, (1, 1)),
        (range(40, 100), 40, 5, (1, 0)),
        (range(40, 100), 0, 0, (0, 0)),
        (range(30, 80), 0, 5, (0, 0)),
        ([*range(40, 70), *range(80, 100)], 0, 5, (0, 0)),
    ],
    ids=["whole", "cut short", "lost answers", "not refused", "begun by another", "shared with another"],
)
def test_window_admits_all_of_its_limit(remaining, lost, throttled_times, expected):
    """Only if all its requests are known to be ours: those of other clients count too."""
    limits = Limits().tell(*[Said(status=0)] * lost)

    limits.tell_window(remaining, throttled_times=throttled_times)

    assert limits.tally(WHOLE_LIMIT) == expected


def test_other_clients_of_an_account_may_fill_its_window():
    """A refusal can be judged too early only if no other client uses the account."""
    limits = Limits(is_alone=False).tell_window(range(40, 100), throttled_times=5)

    assert limits.tally(WHOLE_LIMIT) == (0, 0)


@pytest.mark.parametrize(("in_flight", "broken"), [(3, 0), (2, 1)])
def test_requests_cut_off_at_the_end_may_have_counted(in_flight, broken):
    limits = Limits(most_in_flight=in_flight).tell_window(range(3, 100), throttled_times=1)

    assert limits.tally(WHOLE_LIMIT) == (1, broken)


@pytest.mark.parametrize(("every_s", "broken"), [(60, 0), (5, 5)])
def test_windows_end_a_minute_apart(every_s, broken):
    """A sliding Reset shows up as many windows close together; a second of rounding is the same window."""
    limits = Limits()
    for number in range(6):
        limits.tell_window([99 - number], after_s=number * every_s)
        limits.tell_window([90 - number], after_s=number * every_s + 1)

    assert limits.tally(WINDOWS_APART) == (5, broken)


def test_windows_are_bounded_and_remember_little(monkeypatch):
    """Those that are known go on counting; of past ones only counts are held; the run says so."""
    monkeypatch.setattr(rate_limits, "_MOST_WINDOWS", 5)
    limits = Limits()
    for number in range(9):
        limits.tell_window([99], after_s=60 * number)
        assert bool([*limits.gaps()]) is (number >= 5)
    limits.tell_window([98])

    assert [*limits.gaps()] == ["Windows of rate limits after the first 5 were not judged."]
    assert [each.admitted for each in limits.windows()] == [2, 1, 1, 1, 1]
    assert limits.tally(NO_MORE)[0] == 5
    (held,) = limits._windows.values()  # noqa: SLF001 - it is memory that is bounded
    assert [len(each.seen) for each in held.values()] == [1, 0, 1, 1, 1]


def test_late_response_of_a_window_is_judged():
    """As from a process that lags behind, or a server node with another Reset."""
    limits = Limits()
    for number in range(4):
        limits.tell_window([0], after_s=60 * number)
    limits.tell_window([5, 5])

    assert limits.tally(REMAINING_FALLS) == (6, 1)


def test_windows_are_listed_by_route_and_time():
    business = persona(user="bea", tier="business")
    limits = Limits().tell_window([99], after_s=60).tell(*[ran(999)] * 2, name="runModel", sender=business)
    limits.tell_window([98, 97, 96], throttled_times=1)

    assert [
        (each.user, each.operation, each.tier, each.limit, each.ends_unix_s, each.admitted, each.throttled)
        for each in limits.windows()
    ] == [
        ("bea", "runModel", "business", 1000, RESET_UNIX_S, 2, 0),
        ("pia", "runWorkflow", "pro", 100, RESET_UNIX_S, 3, 1),
        ("pia", "runWorkflow", "pro", 100, RESET_UNIX_S + 60, 1, 0),
    ]


@pytest.mark.parametrize(
    ("waited_s", "is_same_window", "expected"), [(33, True, (1, 1)), (33, False, (1, 0)), (20, True, (0, 0))]
)
def test_waiting_for_retry_after_is_enough(waited_s, is_same_window, expected):
    """A refusal by the same window after that wait shows that Retry-After was wrong."""
    limits = Limits().tell(throttled(30))
    limits.now_s += waited_s

    limits.tell(throttled(27, reset_unix_s=RESET_UNIX_S + (0 if is_same_window else 60)))

    assert limits.tally(TRUE_WAIT) == expected


def test_window_counts_waits_that_helped_and_that_did_not():
    """With the longest Retry-After."""
    limits = Limits().tell(throttled(20), throttled(30))
    limits.now_s += 25
    limits.tell(throttled(5))
    limits.now_s += 60
    limits.tell(ran(99, reset_unix_s=RESET_UNIX_S + 60))

    assert [(each.longest_wait_s, each.waits_kept, each.waits_broken) for each in limits.windows()] == [
        (30, 1, 1),
        (0, 0, 0),
    ]


def test_retry_after_is_at_most_a_window():
    assert Limits().tell(throttled(60), throttled(3600)).tally(SHORT_WAIT) == (2, 1)


def test_limit_header_is_the_limit_of_the_tier():
    answer = ran(98)
    answer.headers["x-ratelimit-limit"] = "99"

    assert Limits().tell(ran(99), answer).tally(promise(checks.told_limit)) == (2, 1)


def test_limits_of_other_tiers_are_not_judged():
    """An enterprise account must never be throttled; a custom tier is not judged."""
    limits = Limits()
    for tier in ("enterprise", "partner"):
        limits.tell(ran(1), throttled(), sender=persona(tier=tier))

    assert limits.windows() == ()
    assert limits.tally(NEVER_THROTTLED) == (2, 1)


def test_headers_with_too_many_digits_are_tolerated():
    odd = ran(99)
    odd.headers.update({f"x-ratelimit-{name}": "9" * 5_000 for name in ("limit", "remaining", "reset")})

    assert Limits().tell(odd).windows() == ()
