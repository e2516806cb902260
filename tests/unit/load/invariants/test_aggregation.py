"""Observations of all processes, merged and judged."""

import random
from collections import Counter

import pytest
from load_workload import RESET_UNIX_S

from knouds_harness.load.invariants import aggregation
from knouds_harness.load.invariants.aggregation import Aggregation, DeliveryMatch, SeenHashes
from knouds_harness.load.invariants.invariants import (
    FRESH_ID,
    NEEDS,
    NO_FEWER,
    NO_MORE,
    ONE_DELIVERY,
    REMAINING_FALLS,
    WINDOWS_APART,
    LimitedRoute,
    ObservationBatch,
    ObservedWindow,
    Tallies,
)
from knouds_harness.load.invariants.observations import hash_of

PRO = LimitedRoute("pia", "runWorkflow", "pro")


def window(remaining, *, reset_unix_s=RESET_UNIX_S, **counts):
    seen = ObservedWindow(reset_unix_s=reset_unix_s, **counts)
    seen.remaining.update(remaining)
    return seen


def judged(*batches, in_flight=0, is_alone=True):
    aggregation = Aggregation(chance=random.Random(1), most_in_flight=in_flight, is_alone=is_alone)
    for each in batches:
        aggregation.add(each)
    return {
        (each.fact, each.says): each.broken if each.seen else each.missing
        for each in aggregation.invariants()
    }


def batch(*windows, unknown=0, ids=()):
    made = ObservationBatch(windows={PRO: list(windows)} if windows else {})
    made.unknown[PRO] = unknown
    for each in ids:
        made.execution_ids += hash_of(each)
    return made


def test_execution_id_seen_by_two_workers_is_not_fresh():
    assert judged(batch(ids=["a", "b"]), batch(ids=["c"]))[FRESH_ID] == 0
    assert judged(batch(ids=["a", "b"]), batch(ids=["b"]))[FRESH_ID] == 1


def test_hashes_are_bounded_and_repeats_are_still_found():
    """Beyond the bound only a share of the values is tracked, and each of those is compared with all."""
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
    """At most the limit is admitted, and no Remaining comes twice but 0, which the limit itself covers."""
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
    """Only if all its requests are known to be ours: those of other clients count too."""
    assert judged(batch(seen, unknown=unknown)).get(NO_FEWER["pro"]) == broken


def test_other_clients_of_an_account_may_fill_its_window():
    """A refusal can be judged too early only if no other client uses the account."""
    early = batch(window(range(40, 100), throttled=5))

    assert NO_FEWER["pro"] not in judged(early, is_alone=False)


def test_requests_cut_off_at_the_end_may_have_counted():
    cut = batch(window(range(3, 100), throttled=1))

    assert judged(cut, in_flight=3)[NO_FEWER["pro"]] == 0
    assert judged(cut, in_flight=2)[NO_FEWER["pro"]] == 1


def test_windows_end_a_minute_apart():
    """A sliding Reset shows up as many windows close together."""
    sound = [window([99], reset_unix_s=RESET_UNIX_S + 60 * number) for number in range(6)]
    sliding = [window([99 - number], reset_unix_s=RESET_UNIX_S + 5 * number) for number in range(6)]

    assert judged(batch(*sound))[WINDOWS_APART] == 0
    assert judged(batch(*sliding))[WINDOWS_APART] == 5


def test_old_windows_are_judged_once_and_forgotten():
    aggregation = Aggregation(chance=random.Random(1), most_in_flight=0, is_alone=False)
    for number in range(20):
        aggregation.add(batch(window(range(100), reset_unix_s=RESET_UNIX_S + 60 * number)))
        aggregation.invariants()

    (admitted,) = [each for each in aggregation.invariants() if (each.fact, each.says) == NO_MORE]
    assert (admitted.seen, admitted.broken) == (20, 0)


def test_unseen_invariant_says_what_it_needs():
    assert judged()[FRESH_ID] == "a submit of an asynchronous run"


def matched(ended, delivered, **options):
    match, tallies = DeliveryMatch(**options), Tallies()
    for each in delivered:
        match.take(hash_of(each))
    match.expect(b"".join(map(hash_of, ended)))
    match.judge(tallies)
    return tallies.by_invariant[ONE_DELIVERY], match


@pytest.mark.parametrize(
    ("delivered", "broken", "are_all_here"),
    [(["a", "b"], 0, True), (["a"], 1, False), (["a", "b", "b"], 1, True), (["a", "b", "c", "c"], 0, True)],
    ids=["each once", "one lacks", "one twice", "another's twice"],
)
def test_each_ended_execution_is_delivered_once(delivered, broken, are_all_here):
    tally, match = matched(["a", "b"], delivered)

    assert (tally.seen, tally.broken) == (2, broken)
    assert match.are_all_here is are_all_here


def test_bounded_match_follows_a_share_of_the_executions():
    names = [f"e-{number}" for number in range(1000)]

    tally, _ = matched(names, [*names, *names[:500]], most=100)

    assert 0 < tally.seen <= 100
    assert 0 < tally.broken < tally.seen


BUSINESS = LimitedRoute("bea", "runModel", "business")


def full(admitted, **counts):
    return window(range(admitted), **counts)


def aggregated(*reports):
    whole = Aggregation(chance=random.Random(1), most_in_flight=0, is_alone=False)
    for windows in reports:
        whole.add(ObservationBatch(windows=windows))
    return whole


def windows_of(*reports):
    return aggregated(*reports).windows()


def test_observations_of_a_window_are_added_up():
    (one,) = windows_of(
        {PRO: [full(60, throttled=1, longest_wait_s=30)]},
        {PRO: [full(40, reset_unix_s=RESET_UNIX_S + 1, throttled=2, longest_wait_s=20, waits_kept=1)]},
    )

    assert (one.user, one.operation, one.tier, one.limit) == ("pia", "runWorkflow", "pro", 100)
    assert (one.ends_unix_s, one.admitted, one.throttled) == (RESET_UNIX_S, 100, 3)
    assert (one.longest_wait_s, one.waits_kept, one.waits_broken) == (30, 1, 0)


def test_windows_are_listed_by_route_and_time():
    first = {PRO: [full(1, reset_unix_s=RESET_UNIX_S + 60)], BUSINESS: [full(2)]}

    assert [each.admitted for each in windows_of(first, {PRO: [full(3)]})] == [2, 3, 1]


def test_windows_of_a_long_run_are_bounded(monkeypatch):
    """Windows beyond the bound are left out; those that are known go on counting."""
    monkeypatch.setattr(aggregation, "_MOST_WINDOWS", 2)
    many = {PRO: [full(1, reset_unix_s=RESET_UNIX_S + 60 * number) for number in range(9)]}
    whole = aggregated(many, {PRO: [full(1)]})

    assert [each.admitted for each in whole.windows()] == [2, 1]
    (kept,) = whole._windows.values()  # noqa: SLF001 - it is memory that is bounded
    assert len(kept) == 2 + 3  # those listed, and those not judged yet


def test_late_observation_of_a_window_is_judged():
    """As of a worker that lags behind, or of a server node with another Reset."""
    ends = [{PRO: [full(1, reset_unix_s=RESET_UNIX_S + 60 * number)]} for number in range(4)]
    late = ObservedWindow(reset_unix_s=RESET_UNIX_S, remaining=Counter({5: 2}))

    found = aggregated(*ends, {PRO: [late]}).invariants()

    (falls,) = [each for each in found if each.fact == "rate.remaining-falls"]
    assert (falls.seen, falls.broken) == (6, 1)


FACT = ("async.execution-id-is-fresh", "Fresh.")


def test_tallies_of_processes_add_up():
    """Seen, broken and excused; an example of a broken one replaces one of an excused one."""
    one, other = Tallies(), Tallies()
    one.see(*FACT, 3)
    one.break_(*FACT, example="an excused one", is_excused=True)
    other.see(*FACT, 2)
    other.break_(*FACT, example="a broken one")

    one.add(Tallies.unpacked(other.packed()))

    (invariant,) = one.invariants(needs={})
    assert (invariant.seen, invariant.broken, invariant.excused) == (5, 1, 1)
    assert invariant.example == "a broken one"
    assert invariant.state == "broken"


def test_invariants_are_listed_broken_first_unseen_last():
    tallies = Tallies()
    tallies.judge("a.kept", "Kept.", holds=True, example="")
    tallies.judge("b.excused", "Excused.", holds=True, example="")
    tallies.break_("b.excused", "Excused.", example="x", is_excused=True)
    tallies.judge("c.broken", "Broken.", holds=False, example="y")

    invariants = tallies.invariants(
        needs={("a.kept", "Kept."): "nothing", ("d.unseen", "Unseen."): "a miracle"}
    )

    assert [each.state for each in invariants] == ["broken", "excused", "kept", "untested"]
    assert invariants[-1].missing == "a miracle"
