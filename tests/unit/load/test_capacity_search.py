"""The search for the highest rate, on targets whose capacity is known."""

import math
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.load.capacity_search import LEAST_RATE, PRECISION, Search, SearchEnded, knee, least_share
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
    """Make a target that keeps its objectives up to a rate, and a generator that keeps up to another one."""
    return lambda rate: point(rate, kept=rate <= capacity, generator=rate > generator)


@given(capacity=st.floats(LEAST_RATE, 50_000), first=st.floats(LEAST_RATE, 1000))
@example(capacity=1.0, first=1000.0)
@example(capacity=10.0, first=10.0)
@example(capacity=50_000.0, first=1.0)
def test_capacity_is_found_within_the_precision(capacity, first):
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


def at_first(capacity: float, rate: float, **instead: bool) -> Callable[[float], CapacityPoint]:
    """Make a target whose first point at a rate is another one."""
    measure, is_first = carries(capacity), iter([True])
    return lambda asked: point(rate, **instead) if asked == rate and next(is_first, False) else measure(asked)


@pytest.mark.parametrize(
    ("search", "measure"),
    [
        pytest.param(Search(first=64), at_first(100, 64, kept=False), id="one miss fails no rate"),
        pytest.param(
            Search(first=64, repeats=1), at_first(100, 64, generator=True), id="a late generator says nothing"
        ),
        pytest.param(Search(first=128), at_first(100, 128), id="a rate that was kept by luck"),
    ],
)
def test_one_point_decides_nothing(search, measure):
    """Even if only one is requested: it is repeated, and the search goes on as it would have."""
    found = search.run(measure)

    assert [each.asked_per_s for each in found.points].count(search.first) > 1
    assert 90 <= (found.highest_per_s or 0) <= 100 < (found.lowest_failing_per_s or 0) < 128
    assert not found.is_generator_limit


def test_target_that_carries_nothing_has_no_capacity():
    found = Search(first=8).run(carries(0))

    assert (found.highest_per_s, found.lowest_failing_per_s) == (None, LEAST_RATE)


@pytest.mark.parametrize(("capacity", "generator", "is_limit"), [(10_000, 300, True), (270, 300, False)])
def test_generator_is_the_limit_only_if_the_target_can_do_more(capacity, generator, is_limit):
    """The search stops at the rate that the generator cannot keep, and says that this was the limit."""
    found = Search(first=10).run(carries(capacity, generator=generator))

    assert found.is_generator_limit is is_limit
    assert 0.9 * min(capacity, generator) <= (found.highest_per_s or 0) <= min(capacity, generator)


def test_search_on_a_busy_machine_soon_ends():
    """If the generator keeps up at no rate, the search does not go down to the lowest."""
    found = Search(first=100).run(carries(1000, generator=0))

    assert [each.asked_per_s for each in found.points] == [100, 100, 50, 50, 25, 25]
    assert (found.highest_per_s, found.is_generator_limit) == (None, True)


def test_search_never_exceeds_the_highest_allowed_rate():
    found = Search(first=10, most=35).run(carries(1000))

    assert max(each.asked_per_s for each in found.points) == 35
    assert (found.highest_per_s, found.limit) == (35, "no rate above 35/s was to be tried")


@pytest.mark.parametrize(
    ("ending", "limit"), [(SearchEnded("no time left"), "no time left"), (KeyboardInterrupt(), "interrupted")]
)
def test_search_that_ends_early_keeps_its_points(ending, limit):
    measure = carries(1000)

    def measure_some(rate: float) -> CapacityPoint:
        if rate > 50:
            raise ending
        return measure(rate)

    found = Search(first=10).run(measure_some)

    assert [each.asked_per_s for each in found.points] == [10, 20, 40]
    assert (found.highest_per_s, found.kept_points, found.limit) == (40, 1, limit)


def test_knee_is_where_response_times_rise_faster_than_throughput():
    """M/M/1 takes 1/(μ - λ): throughput over it is λ(μ - λ), which is highest at μ/2."""
    queue = [point(rate, mean_ms=1000 / (1000 - rate)) for rate in range(100, 1000, 100)]
    jammed = [point(rate, mean_ms=5 if rate <= 400 else 50) for rate in (100, 200, 400, 800)]

    assert (knee(queue), knee(jammed)) == (500, 400)


@pytest.mark.parametrize("rates", [(100, 200, 400), (100, 200)])
def test_no_knee_if_response_times_do_not_rise(rates):
    assert knee([point(rate) for rate in rates]) is None


@pytest.mark.parametrize(
    ("kept", "tried", "share"), [(3, 3, 0.05 ** (1 / 3)), (1, 1, 0.05), (0, 3, 0.0), (2, 3, 0.1353)]
)
def test_lower_bound_of_the_kept_share(kept, tried, share):
    """If all of n were kept, the exact bound is the n-th root of 0.05; the others are from tables."""
    assert least_share(kept, tried) == pytest.approx(share, abs=1e-4)
