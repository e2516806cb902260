"""The schedule of the open model."""

import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.load.arrivals.schedule import KINDS, ArrivalSchedule, Shape, Share


def test_constant_arrivals_are_even():
    """A constant rate is one arrival per interval, the first at once."""
    schedule = ArrivalSchedule(shape=Shape.of("constant", 4.0, 2.0))

    assert list(schedule.instants()) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75])


@given(kind=st.sampled_from(KINDS), workers=st.integers(1, 5))
def test_shares_of_workers_are_the_one_schedule(kind, workers):
    """However many workers share a schedule, together they hold each arrival once, at its instant."""
    schedule = ArrivalSchedule(shape=Shape.of(kind, 50.0, 4.0))

    taken = [
        instant_s
        for index in range(workers)
        for instant_s in schedule.instants(Share(index=index, workers=workers))
    ]

    assert sorted(taken) == list(schedule.instants())


def test_poisson_shares_add_up_to_poisson_arrivals():
    """Each worker draws its own; together they keep the rate, and gaps spread as their mean."""
    schedule = ArrivalSchedule(shape=Shape.of("constant", 1000.0, 100.0), spacing="poisson", seed=7)

    taken = sorted(
        instant_s for index in range(4) for instant_s in schedule.instants(Share(index=index, workers=4))
    )

    gaps = [later - earlier for earlier, later in pairwise(taken)]
    assert len(taken) == pytest.approx(100_000, rel=0.02)
    assert statistics.stdev(gaps) / statistics.mean(gaps) == pytest.approx(1, rel=0.02)


@given(seed=st.integers(0, 2**31))
def test_arrivals_never_go_back(seed):
    schedule = ArrivalSchedule(shape=Shape.of("ramp", 80.0, 5.0), spacing="poisson", seed=seed)

    instants = list(schedule.instants())

    assert all(earlier <= later for earlier, later in pairwise(instants))
    assert not instants or 0 <= instants[0] <= instants[-1] <= 5


def test_seed_repeats_poisson_arrivals():
    """The same seed gives the same instants, another one others."""
    shape = Shape.of("constant", 100.0, 1.0)

    first, again, other = (
        list(ArrivalSchedule(shape=shape, spacing="poisson", seed=s).instants()) for s in (1, 1, 2)
    )

    assert first == again != other


def test_unknown_spacing_is_refused():
    with pytest.raises(ValueError, match="constant or poisson"):
        ArrivalSchedule(shape=Shape.of("constant", 1.0, 1.0), spacing="uniform")
