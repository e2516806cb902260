"""Deliveries of executions that ended."""

from __future__ import annotations

import pytest

from knouds_harness.load.invariants.delivery_match import DeliveryMatch
from knouds_harness.load.invariants.invariants import ONE_DELIVERY
from knouds_harness.load.invariants.observations import hash_of
from knouds_harness.load.invariants.tallies import Tallies


def matched(ended, delivered, **options):
    """The tally of some endings and deliveries, and what did the matching."""
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
    """Of those whose end was seen."""
    tally, match = matched(["a", "b"], delivered)

    assert (tally.seen, tally.broken) == (2, broken)
    assert match.are_all_here is are_all_here


def test_bounded_match_follows_a_share_whole():
    """Whatever is remembered is remembered on both sides."""
    names = [f"e-{number}" for number in range(1000)]

    tally, _ = matched(names, [*names, *names[:500]], most=100)

    assert 0 < tally.seen <= 100
    assert 0 < tally.broken < tally.seen
