"""The schedule of the open model."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.load.arrivals import Schedule, Share, arrivals_of
from knouds_harness.load.shapes import KINDS, Shape


def test_constant_arrivals_are_even():
    """A constant rate is one arrival per interval, the first at once."""
    schedule = Schedule(shape=Shape.of("constant", 4.0, 2.0))

    assert [instant_s for _, instant_s in schedule.instants()] == pytest.approx(
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    )


@given(
    kind=st.sampled_from(KINDS),
    spacing=st.sampled_from(("constant", "poisson")),
    seed=st.integers(0, 2**31),
    workers=st.integers(1, 5),
)
def test_shares_of_workers_are_the_one_schedule(kind, spacing, seed, workers):
    """However many workers share a schedule, together they hold each arrival once, at its instant."""
    schedule = Schedule(shape=Shape.of(kind, 50.0, 4.0), spacing=spacing, seed=seed)

    taken = [
        instant_s
        for index in range(workers)
        for instant_s in arrivals_of([Share(index=index, workers=workers)], schedule)
    ]

    assert sorted(taken) == [instant_s for _, instant_s in schedule.instants()]


def test_survivors_take_over_what_was_a_lost_workers():
    """After a change of shares nothing is sent twice, and nothing is left out."""
    schedule = Schedule(shape=Shape.of("constant", 100.0, 4.0))
    first = [Share(index=0, workers=3), Share(from_s=2.0, index=0, workers=2)]
    second = [Share(index=1, workers=3), Share(from_s=2.0, index=1, workers=2)]
    lost = [Share(index=2, workers=3)]

    taken = [*arrivals_of(first, schedule), *arrivals_of(second, schedule)]
    taken += [instant_s for instant_s in arrivals_of(lost, schedule) if instant_s < 2.0]

    assert sorted(taken) == [instant_s for _, instant_s in schedule.instants()]


@given(seed=st.integers(0, 2**31))
def test_arrivals_never_go_back(seed):
    """Instants follow each other, within the duration."""
    schedule = Schedule(shape=Shape.of("ramp", 80.0, 5.0), spacing="poisson", seed=seed)

    instants = [instant_s for _, instant_s in schedule.instants()]

    assert all(earlier <= later for earlier, later in pairwise(instants))
    assert not instants or 0 <= instants[0] <= instants[-1] <= 5


def test_poisson_gaps_spread_as_their_mean():
    """The gaps of independent arrivals have a coefficient of variation of one, and keep the rate."""
    schedule = Schedule(shape=Shape.of("constant", 1000.0, 100.0), spacing="poisson", seed=7)

    gaps = [later - earlier for (_, earlier), (_, later) in pairwise(schedule.instants())]

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
