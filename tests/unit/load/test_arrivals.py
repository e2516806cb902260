"""The schedule of the open model."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.load.arrivals import Portion, Schedule, Share
from knouds_harness.load.shapes import KINDS, Shape


def test_constant_arrivals_are_even():
    """A constant rate is one arrival per interval, the first at once."""
    schedule = Schedule(shape=Shape.of("constant", 4.0, 2.0))

    assert list(schedule.instants()) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75])


@given(
    kind=st.sampled_from(KINDS),
    workers=st.integers(1, 5),
    from_s=st.floats(0, 4),
)
def test_shares_of_workers_are_the_one_schedule(kind, workers, from_s):
    """However many workers share a schedule, together they hold each arrival once, at its instant."""
    schedule = Schedule(shape=Shape.of(kind, 50.0, 4.0))

    taken = [
        instant_s
        for index in range(workers)
        for instant_s in schedule.instants(Share(from_s=from_s, index=index, workers=workers))
    ]

    assert sorted(taken) == [instant_s for instant_s in schedule.instants() if instant_s >= from_s]


def test_poisson_shares_add_up_to_poisson_arrivals():
    """Each worker draws its own; together they keep the rate, and gaps spread as their mean."""
    schedule = Schedule(shape=Shape.of("constant", 1000.0, 100.0), spacing="poisson", seed=7)

    taken = sorted(
        instant_s
        for index in range(4)
        for instant_s in schedule.instants(Share(from_s=20.0, index=index, workers=4))
    )

    gaps = [later - earlier for earlier, later in pairwise(taken)]
    assert taken[0] >= 20
    assert len(taken) == pytest.approx(80_000, rel=0.02)
    assert statistics.stdev(gaps) / statistics.mean(gaps) == pytest.approx(1, rel=0.02)


def portion_of(schedule, *shares):
    portion = Portion(schedule)
    for share in shares:
        portion.give(share)
    return portion


def test_survivors_take_over_what_was_a_lost_workers():
    """After a change of shares nothing is sent twice, and nothing is left out."""
    schedule = Schedule(shape=Shape.of("constant", 100.0, 4.0))
    first = portion_of(schedule, Share(index=0, workers=3), Share(from_s=2.0, index=0, workers=2))
    second = portion_of(schedule, Share(index=1, workers=3), Share(from_s=2.0, index=1, workers=2))
    lost = portion_of(schedule, Share(index=2, workers=3))

    taken = [*first.instants(), *second.instants()]
    taken += [instant_s for instant_s in lost.instants() if instant_s < 2.0]

    assert sorted(taken) == list(schedule.instants())


def test_share_that_comes_after_the_last_arrival_counts():
    """A worker that has nothing left to do takes over what is a lost one's."""
    schedule = Schedule(shape=Shape.of("constant", 1.0, 5.0))
    portion = portion_of(schedule, Share(index=1, workers=4))
    assert list(portion.instants()) == [1.0]

    portion.give(Share(from_s=2.5, index=0, workers=1))

    assert list(portion.instants()) == [3.0, 4.0]


def test_arrival_that_is_waited_for_moves_with_its_share():
    """Whoever waits for an arrival learns that it has become another's, and when its own begin."""
    schedule = Schedule(shape=Shape.of("constant", 1.0, 6.0))
    portion = portion_of(schedule, Share(index=0, workers=4))
    instants = portion.instants()
    assert [next(instants), next(instants)] == [0.0, 4.0]

    portion.give(Share(from_s=1.5, index=0, workers=2))

    assert portion.is_moved(4.0)
    assert next(instants) == 2.0
    assert not portion.is_moved(2.0)


def test_share_that_is_heard_of_late_goes_on_from_what_was_served():
    """A worker that the machine has no time for serves nothing twice, and leaves out nothing it waits for."""
    schedule = Schedule(shape=Shape.of("constant", 1.0, 12.0))
    portion = portion_of(schedule, Share(index=0, workers=4))
    instants = portion.instants()
    assert [next(instants) for _ in range(3)] == [0.0, 4.0, 8.0]  # it waits for the last

    portion.give(Share(from_s=1.5, index=0, workers=2))

    assert list(instants) == [6.0, 8.0, 10.0]


def test_share_that_was_given_up_stays_so():
    """Until another is given."""
    schedule = Schedule(shape=Shape.of("constant", 1.0, 6.0))
    portion = portion_of(schedule, Share(index=0, workers=2))
    instants = portion.instants()
    next(instants)

    portion.give_up()

    assert portion.is_given_up
    portion.give(Share(from_s=1.5, index=0, workers=2))
    assert next(instants) == 2.0
    assert not portion.is_given_up


@given(seed=st.integers(0, 2**31))
def test_arrivals_never_go_back(seed):
    """Instants follow each other, within the duration."""
    schedule = Schedule(shape=Shape.of("ramp", 80.0, 5.0), spacing="poisson", seed=seed)

    instants = list(schedule.instants())

    assert all(earlier <= later for earlier, later in pairwise(instants))
    assert not instants or 0 <= instants[0] <= instants[-1] <= 5


def test_poisson_gaps_spread_as_their_mean():
    """The gaps of independent arrivals have a coefficient of variation of one, and keep the rate."""
    schedule = Schedule(shape=Shape.of("constant", 1000.0, 100.0), spacing="poisson", seed=7)

    gaps = [later - earlier for earlier, later in pairwise(schedule.instants())]

    assert statistics.mean(gaps) == pytest.approx(0.001, rel=0.02)
    assert statistics.stdev(gaps) / statistics.mean(gaps) == pytest.approx(1, rel=0.02)


def test_seed_repeats_poisson_arrivals():
    """The same seed gives the same instants, another one others."""
    shape = Shape.of("constant", 100.0, 1.0)

    first, again, other = (
        list(Schedule(shape=shape, spacing="poisson", seed=s).instants()) for s in (1, 1, 2)
    )

    assert first == again != other


def test_unknown_spacing_is_refused():
    """Only the spacings that there are can be asked for."""
    with pytest.raises(ValueError, match="constant or poisson"):
        Schedule(shape=Shape.of("constant", 1.0, 1.0), spacing="uniform")
