"""The search for the highest rate, on targets whose capacity is known."""

import math
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.load.capacity.search import LEAST_RATE, PRECISION, Search, SearchEnded, knee, least_share
from knouds_harness.runs.load_results import CapacityPoint


def point(rate: float, *, kept: bool = True, generator: bool = False, mean_ms: float = 10.0) -> CapacityPoint:
    return CapacityPoint(
        asked_per_s=rate,
        achieved_per_s=rate,
        mean_ms=mean_ms,
        p50_ms=mean_ms,
        p99_ms=mean_ms,
        error_rate=0.0,
        is_kept=kept and not generator,
        is_generator_limit=generator,
        reason="" if kept and not generator else "why",
    )


def carries(capacity: float, *, generator: float = math.inf) -> Callable[[float], CapacityPoint]:
    """A target that keeps its objectives up to a rate, before a generator that keeps up to another."""
    return lambda rate: point(rate, kept=rate <= capacity, generator=rate > generator)


@given(capacity=st.floats(LEAST_RATE, 50_000), first=st.floats(LEAST_RATE, 1000))
@example(capacity=1.0, first=1000.0)
@example(capacity=10.0, first=10.0)
@example(capacity=50_000.0, first=1.0)
def test_capacity_is_found_within_the_precision(capacity, first):
    """Whatever a target carries, the search ends next to it, kept below and given up above."""
    found = Search(first=first).run(carries(capacity))

    assert found.highest_per_s is not None
    assert found.lowest_failing_per_s is not None
    assert found.highest_per_s <= capacity < found.lowest_failing_per_s
    assert found.lowest_failing_per_s / found.highest_per_s <= 1 + PRECISION + 0.01  # rates are rounded
    assert (found.kept_points, found.limit, found.is_generator_limit) == (3, "", False)


def test_rates_double_and_then_close_in():
    found = Search(first=10, repeats=2).run(carries(50))

    rates = [each.asked_per_s for each in found.points]
    assert rates == [10, 20, 40, 80, 80, 56.6, 56.6, 47.6, 51.9, 51.9, 47.6]


def test_one_bad_moment_decides_nothing():
    """A rate that missed its objectives once and then keeps them is not given up."""
    is_first = iter([True])
    measure = carries(100)

    found = Search(first=64).run(
        lambda rate: point(rate, kept=False) if next(is_first, False) else measure(rate)
    )

    assert found.highest_per_s is not None
    assert 90 <= found.highest_per_s <= 100


def test_one_point_of_a_late_generator_is_repeated_even_if_one_point_is_asked_for():
    """It says nothing of the target, so that nothing is given up for it."""
    is_first = iter([True])
    measure = carries(100)

    found = Search(first=64, repeats=1).run(
        lambda rate: point(rate, generator=True) if next(is_first, False) else measure(rate)
    )

    assert [each.asked_per_s for each in found.points][:3] == [64, 64, 128]
    assert found.highest_per_s is not None
    assert not found.is_generator_limit


def test_rate_that_was_kept_by_luck_is_given_up():
    """The rate that is named at last has to be kept again, or the search goes on below it."""
    lucky = iter([True])
    measure = carries(100)

    found = Search(first=128).run(
        lambda rate: point(rate) if rate == 128 and next(lucky, False) else measure(rate)
    )

    assert found.highest_per_s is not None
    assert 90 <= found.highest_per_s <= 100
    assert found.lowest_failing_per_s is not None
    assert 100 < found.lowest_failing_per_s < 128


def test_target_that_carries_nothing_has_no_capacity():
    """Where even the least rate misses the objectives the search ends without a rate."""
    found = Search(first=8).run(carries(0))

    assert (found.highest_per_s, found.lowest_failing_per_s) == (None, LEAST_RATE)


def test_limit_of_the_generator_is_no_capacity_of_the_target():
    """A generator that does not keep up ends the search upwards, and the search says whose limit it was."""
    found = Search(first=10).run(carries(10_000, generator=300))

    assert found.is_generator_limit
    assert found.highest_per_s is not None
    assert 270 <= found.highest_per_s <= 300


def test_machine_that_is_too_busy_for_any_rate_is_soon_given_up():
    """Where the generator keeps up at no rate the search does not go on to the lowest."""
    found = Search(first=100).run(carries(1000, generator=0))

    assert [each.asked_per_s for each in found.points] == [100, 100, 50, 50, 25, 25]
    assert (found.highest_per_s, found.is_generator_limit) == (None, True)


def test_target_below_the_generators_limit_is_the_limit():
    """The generator's limit above the target's own is not what was found."""
    found = Search(first=100).run(carries(250, generator=300))

    assert not found.is_generator_limit


def test_no_rate_above_the_highest_allowed_is_tried():
    found = Search(first=10, most=35).run(carries(1000))

    assert max(each.asked_per_s for each in found.points) == 35
    assert (found.highest_per_s, found.limit) == (35, "no rate above 35/s was to be tried")


@pytest.mark.parametrize(
    ("ending", "limit"), [(SearchEnded("no time left"), "no time left"), (KeyboardInterrupt(), "interrupted")]
)
def test_search_that_is_ended_keeps_what_it_measured(ending, limit):
    measure = carries(1000)

    def measure_some(rate: float) -> CapacityPoint:
        if rate > 50:
            raise ending
        return measure(rate)

    found = Search(first=10).run(measure_some)

    assert [each.asked_per_s for each in found.points] == [10, 20, 40]
    assert (found.highest_per_s, found.kept_points, found.limit) == (40, 1, limit)


def test_knee_of_a_queue_with_one_server_is_at_half_its_capacity():
    """M/M/1 takes 1/(μ - λ): throughput over it is λ(μ - λ), which is highest at μ/2."""
    points = [point(rate, mean_ms=1000 / (1000 - rate)) for rate in range(100, 1000, 100)]

    assert knee(points) == 500


def test_knee_of_a_server_that_jams_at_a_rate_is_that_rate():
    """Where response times are level up to a rate and then ten times as long, the knee is the rate."""
    points = [point(rate, mean_ms=5 if rate <= 400 else 50) for rate in (100, 200, 400, 800)]

    assert knee(points) == 400


@pytest.mark.parametrize("rates", [(100, 200, 400), (100, 200)])
def test_no_knee_where_times_do_not_rise(rates):
    assert knee([point(rate) for rate in rates]) is None


@pytest.mark.parametrize(
    ("kept", "tried", "share"), [(3, 3, 0.05 ** (1 / 3)), (1, 1, 0.05), (0, 3, 0.0), (2, 3, 0.1353)]
)
def test_share_that_is_kept_at_least(kept, tried, share):
    """The exact bound: of n that were all kept the n-th root of 0.05; others as tables have them."""
    assert least_share(kept, tried) == pytest.approx(share, abs=1e-4)
