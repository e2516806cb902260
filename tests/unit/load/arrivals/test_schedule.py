"""The load over time, and the schedule of the open model."""

import math
import statistics
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.load.arrivals.schedule import KINDS, ArrivalSchedule, Shape, Share, Stage


def test_constant_arrivals_are_even():
    schedule = ArrivalSchedule(shape=Shape.of("constant", 4.0, 2.0))

    assert list(schedule.instants()) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75])


@given(kind=st.sampled_from(KINDS), workers=st.integers(1, 5))
def test_shares_of_workers_add_up_to_the_schedule(kind, workers):
    schedule = ArrivalSchedule(shape=Shape.of(kind, 50.0, 4.0))

    taken = [
        instant_s
        for index in range(workers)
        for instant_s in schedule.instants(Share(index=index, workers=workers))
    ]

    assert sorted(taken) == list(schedule.instants())


def test_poisson_shares_add_up_to_poisson_arrivals():
    """Each worker draws its own arrivals; together they keep the rate, and the gaps spread as their mean."""
    schedule = ArrivalSchedule(shape=Shape.of("constant", 1000.0, 100.0), spacing="poisson", seed=7)

    taken = sorted(
        instant_s for index in range(4) for instant_s in schedule.instants(Share(index=index, workers=4))
    )

    gaps = [later - earlier for earlier, later in pairwise(taken)]
    assert len(taken) == pytest.approx(100_000, rel=0.02)
    assert statistics.stdev(gaps) / statistics.mean(gaps) == pytest.approx(1, rel=0.02)


@given(seed=st.integers(0, 2**31))
def test_arrivals_are_in_order(seed):
    schedule = ArrivalSchedule(shape=Shape.of("ramp", 80.0, 5.0), spacing="poisson", seed=seed)

    instants = list(schedule.instants())

    assert all(earlier <= later for earlier, later in pairwise(instants))
    assert not instants or 0 <= instants[0] <= instants[-1] <= 5


def test_seed_repeats_poisson_arrivals():
    shape = Shape.of("constant", 100.0, 1.0)

    first, again, other = (
        list(ArrivalSchedule(shape=shape, spacing="poisson", seed=s).instants()) for s in (1, 1, 2)
    )

    assert first == again != other


LEVELS = st.floats(0, 10_000).map(lambda level: round(level, 3))
STAGES = st.builds(Stage, duration_s=st.floats(0.01, 3600), start=LEVELS, end=LEVELS)
SHAPES = st.lists(STAGES, min_size=1, max_size=5).filter(lambda them: sum(each.area for each in them) > 1)


def area_until(shape: Shape, at_s: float, *, pieces: int = 1000) -> float:
    """Add up level times seconds in small steps of each stage: slow, as an oracle."""
    area = since_s = 0.0
    for stage in shape.stages:
        width = min(stage.duration_s, max(0.0, at_s - since_s)) / pieces
        area += sum(shape.level(since_s + (number + 0.5) * width) for number in range(pieces)) * width
        since_s += stage.duration_s
    return area


@pytest.mark.parametrize("kind", KINDS)
def test_every_shape_has_the_requested_level_and_duration(kind):
    shape = Shape.of(kind, 100.0, 60.0)

    assert shape.duration_s == pytest.approx(60)
    assert max(stage.end for stage in shape.stages) == 100


def test_spike_is_low_around_its_middle_fifth():
    spike = Shape.of("spike", 100.0, 100.0, base=7.0)

    assert [spike.level(at) for at in (0, 39, 41, 59, 61, 99)] == [7, 7, 100, 100, 7, 7]


def test_steps_rise_equally():
    steps = Shape.of("steps", 100.0, 50.0, steps=5)

    assert [steps.level(at) for at in (5, 15, 25, 35, 45)] == [20, 40, 60, 80, 100]


@given(stages=SHAPES, part=st.floats(0.01, 0.99))
@example(stages=[Stage(duration_s=10, start=0, end=100)], part=0.25)  # from a standstill
@example(stages=[Stage(duration_s=10, start=100, end=0)], part=0.9999)  # to a standstill
@example(stages=[Stage(duration_s=1, start=0, end=0), Stage(duration_s=1, start=9, end=9)], part=0.01)
def test_arrival_is_due_when_the_level_has_added_up_to_its_number(stages, part):
    shape = Shape(tuple(stages))

    instant_s = shape.instant(part * shape.total)

    assert area_until(shape, instant_s) == pytest.approx(part * shape.total, rel=0.01, abs=0.01 * shape.total)


def test_arrival_beyond_the_last_one_is_never_due():
    assert Shape.of("constant", 10.0, 10.0).instant(100.0) == math.inf


def test_shape_without_any_load_is_refused():
    with pytest.raises(ValueError, match="no load"):
        Shape((Stage(duration_s=1, start=0, end=0),))


def test_unknown_shape_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ValueError, match="constant, ramp, steps, spike, soak"):
        Shape.of("zigzag", 1.0, 1.0)
