"""The load over time."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.load.arrivals.schedule import KINDS, Shape, Stage

LEVELS = st.floats(0, 10_000).map(lambda level: round(level, 3))
STAGES = st.builds(Stage, duration_s=st.floats(0.01, 3600), start=LEVELS, end=LEVELS)
SHAPES = st.lists(STAGES, min_size=1, max_size=5).filter(lambda them: sum(each.area for each in them) > 1)


def area_until(shape: Shape, at_s: float, *, pieces: int = 1000) -> float:
    """Level times seconds, added up in small steps of each stage: the slow way, as an oracle."""
    area = since_s = 0.0
    for stage in shape.stages:
        width = min(stage.duration_s, max(0.0, at_s - since_s)) / pieces
        area += sum(shape.level(since_s + (number + 0.5) * width) for number in range(pieces)) * width
        since_s += stage.duration_s
    return area


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_reaches_its_level_and_lasts_as_long_as_asked(kind):
    """Each usual shape has the asked highest level and duration."""
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
def test_instant_is_where_the_level_has_added_up(stages, part):
    shape = Shape(tuple(stages))

    instant_s = shape.instant(part * shape.total)

    assert area_until(shape, instant_s) == pytest.approx(part * shape.total, rel=0.01, abs=0.01 * shape.total)


def test_instant_never_comes_beyond_the_whole():
    assert Shape.of("constant", 10.0, 10.0).instant(100.0) == math.inf


@pytest.mark.parametrize(
    "stages",
    [
        (Stage(duration_s=0, start=1, end=1),),
        (Stage(duration_s=1, start=-1, end=1),),
        (Stage(duration_s=1, start=0, end=0),),
    ],
    ids=["no duration", "below zero", "no load"],
)
def test_impossible_stages_are_refused(stages):
    with pytest.raises(ValueError, match=r"zero|no load"):
        Shape(stages)


def test_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="constant, ramp, steps, spike, soak"):
        Shape.of("zigzag", 1.0, 1.0)
