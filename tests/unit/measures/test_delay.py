"""By how much the generator's own delay may have raised a figure: a bound that holds whatever it fell on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from load_records import histogram_of

from knouds_harness.measures.delay import Delay, OkTimes

MEASURES = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")
PERCENTS = (50, 90, 95, 99, 100)


def delay(lags_ms: Sequence[float]) -> Delay:
    return Delay(histogram_of(lags_ms))


def times(response: Sequence[float], service: Sequence[float] | None = None) -> OkTimes:
    return OkTimes(
        operation="whoami",
        response=histogram_of(response),
        service=histogram_of(response if service is None else service),
    )


@given(
    true_ms=st.lists(st.floats(0.01, 5000), min_size=1, max_size=60),
    lags_ms=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.3, 5.0, 40.0]), min_size=60, max_size=60),
    order=st.randoms(use_true_random=False),
)
@example(true_ms=[20.0] * 30 + [1200.0] * 30, lags_ms=[0.3] * 60, order=None)
def test_bound_holds_whichever_response_was_read_late(true_ms, lags_ms, order):
    """And no figure is said to have moved by more than anything was late."""
    if order:
        order.shuffle(lags_ms)
    of = histogram_of([took + late for took, late in zip(true_ms, lags_ms, strict=False)])
    lags = delay(lags_ms[: len(true_ms)])

    bounds = lags.least_ms(of, *MEASURES)

    truths = [each_s * 1e3 for each_s in histogram_of(true_ms).percentiles_s(*PERCENTS)]
    measured = [each_s * 1e3 for each_s in of.percentiles_s(*PERCENTS)]
    longest_ms = max(lags_ms[: len(true_ms)])
    for bound_ms, true, figure in zip(bounds, truths, measured, strict=True):
        rounding_ms = figure / 500 + 1e-6  # of the buckets
        assert figure - longest_ms - rounding_ms <= bound_ms <= true + rounding_ms


def test_jump_between_two_quantiles_is_no_delay():
    """p90 lies where times jump from 20 ms to 1.2 s, and nothing was later than 0.3 ms."""
    of = times([20.0] * 899 + [1200.0] * 101)

    doubts_ms = delay([0.1] * 999 + [0.3]).doubts_ms(of)

    assert max(doubts_ms.values()) <= 0.3 * 1.01


def test_rare_delay_changes_only_rare_figures():
    """Two beats in a thousand, 200 ms late, move p99 by next to nothing."""
    of = times([20 + number / 1000 for number in range(998)] + [220.0] * 2)

    doubts_ms = delay([0.0] * 998 + [200.0] * 2).doubts_ms(of)

    assert doubts_ms["p99_ms"] < 0.1
    assert doubts_ms["max_ms"] > 190


def test_late_sending_counts_in_full():
    """Sent 3 ms late, and read at once."""
    took = [20.0] * 1000

    doubts_ms = delay([0.0] * 1000).doubts_ms(times([each + 3 for each in took], took))

    assert doubts_ms["p50_ms"] == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(("late_ms", "is_moved"), [(4.8, False), (5.5, True)])
def test_figures_that_moved_by_more_than_the_accuracy_are_named(late_ms, is_moved):
    """Of a constant 100 ms: five milliseconds."""
    took = [100.0] * 1000
    late = times([each + late_ms for each in took], took)

    moved = delay([0.0]).figures_moved(late, accuracy=0.05)

    assert ("p50_ms" in {each.measure for each in moved}) is is_moved


def test_operation_without_times_has_no_figures():
    assert not list(delay([100.0] * 100).figures_moved(times([]), accuracy=0.05))
