"""What all processes saw, put together."""

from __future__ import annotations

import random

import pytest
from load_workload import RESET_UNIX_S

from knouds_harness.load.invariants.aggregation import Aggregation, SeenHashes
from knouds_harness.load.invariants.invariants import (
    FRESH_ID,
    NEEDS,
    NO_FEWER,
    NO_MORE,
    REMAINING_FALLS,
    WINDOWS_APART,
)
from knouds_harness.load.invariants.observation_batch import LimitedRoute, ObservationBatch, ObservedWindow
from knouds_harness.load.invariants.observations import hash_of

PRO = LimitedRoute("pia", "runWorkflow", "pro")


def window(remaining, *, throttled=0, reset_unix_s=RESET_UNIX_S):
    """As one process saw it."""
    seen = ObservedWindow(reset_unix_s=reset_unix_s, throttled=throttled)
    seen.remaining.update(remaining)
    return seen


def judged(*batches, in_flight=0, is_alone=True):
    """What is broken, and seen, once some processes reported."""
    aggregation = Aggregation(chance=random.Random(1), most_in_flight=in_flight, is_alone=is_alone)
    for each in batches:
        aggregation.add(each)
    return {
        (each.fact, each.says): each.broken if each.seen else each.missing
        for each in aggregation.invariants()
    }


def batch(*windows, unknown=0, ids=()):
    """What a process hands on."""
    made = ObservationBatch(windows={PRO: list(windows)} if windows else {})
    made.unknown[PRO] = unknown
    for each in ids:
        made.execution_ids += hash_of(each)
    return made


def test_execution_id_of_another_worker_is_no_fresh_one():
    """Ids are compared over all of them."""
    assert judged(batch(ids=["a", "b"]), batch(ids=["c"]))[FRESH_ID] == 0
    assert judged(batch(ids=["a", "b"]), batch(ids=["b"]))[FRESH_ID] == 1


def test_hashes_are_bounded_and_still_compared():
    """Beyond the bound an even share is followed, each of it with all others."""
    hashes = SeenHashes(most=100)
    for number in range(1000):
        hashes.add(hash_of(f"e-{number}"))
    for number in range(1000):
        hashes.add(hash_of(f"e-{number}"))

    assert len(hashes) <= 100
    assert 0 < hashes.again <= 100 < hashes.seen


@pytest.mark.parametrize(
    ("first", "second", "invariant", "broken"),
    [
        (range(50, 100), range(50), NO_MORE, 0),
        (range(50, 100), [*range(50), 0], NO_MORE, 1),
        (range(50, 100), range(50), REMAINING_FALLS, 0),
        (range(50, 100), [*range(49), 50], REMAINING_FALLS, 1),
        ([*range(50, 100), 0], [0], REMAINING_FALLS, 0),
    ],
    ids=["all of it", "one more", "each once", "one twice", "nothing left twice"],
)
def test_window_is_judged_over_all_workers(first, second, invariant, broken):
    """No more than the limit, and each Remaining once, but for 0: that is for the number admitted to tell."""
    assert judged(batch(window(first)), batch(window(second)))[invariant] == broken


@pytest.mark.parametrize(
    ("seen", "unknown", "broken"),
    [
        (window(range(100), throttled=5), 0, 0),
        (window(range(40, 100), throttled=5), 0, 1),
        (window(range(40, 100), throttled=5), 40, 0),
        (window(range(40, 100)), 0, NEEDS.get(NO_FEWER["pro"])),
        (window(range(30, 80), throttled=5), 0, None),
        (window([*range(40, 70), *range(80, 100)], throttled=5), 0, None),
    ],
    ids=["whole", "cut short", "lost answers", "not refused", "begun by another", "shared with another"],
)
def test_window_admits_all_of_its_limit(seen, unknown, broken):
    """Where every request of it can be told to be ours: what others sent counts too."""
    assert judged(batch(seen, unknown=unknown)).get(NO_FEWER["pro"]) == broken


def test_whoever_shares_an_account_may_fill_its_window():
    """Only where nobody else uses it can a refusal have come too early."""
    early = batch(window(range(40, 100), throttled=5))

    assert NO_FEWER["pro"] not in judged(early, is_alone=False)


def test_requests_that_were_cut_off_at_the_end_may_have_counted():
    """In the last window, as many as can be in flight."""
    cut = batch(window(range(3, 100), throttled=1))

    assert judged(cut, in_flight=3)[NO_FEWER["pro"]] == 0
    assert judged(cut, in_flight=2)[NO_FEWER["pro"]] == 1


def test_windows_end_a_minute_apart():
    """A Reset that slides shows as many windows close together."""
    sound = [window([99], reset_unix_s=RESET_UNIX_S + 60 * number) for number in range(6)]
    sliding = [window([99 - number], reset_unix_s=RESET_UNIX_S + 5 * number) for number in range(6)]

    assert judged(batch(*sound))[WINDOWS_APART] == 0
    assert judged(batch(*sliding))[WINDOWS_APART] == 5


def test_old_windows_are_judged_once_and_forgotten():
    """Memory does not grow with the length of a run."""
    aggregation = Aggregation(chance=random.Random(1), most_in_flight=0, is_alone=False)
    for number in range(20):
        aggregation.add(batch(window(range(100), reset_unix_s=RESET_UNIX_S + 60 * number)))
        aggregation.invariants()

    (admitted,) = [each for each in aggregation.invariants() if (each.fact, each.says) == NO_MORE]
    assert (admitted.seen, admitted.broken) == (20, 0)


def test_what_was_not_seen_says_what_it_takes():
    """Untested is not kept."""
    assert judged()[FRESH_ID] == "a submit of an asynchronous run"
