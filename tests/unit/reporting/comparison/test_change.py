"""How much a figure changed, and how sure that is, on figures with a known truth."""

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.reporting.comparison.change import (
    ChangeVerdict,
    FigureChange,
    RunFigure,
    change_between,
    two_sided_quantile,
)

RUNS = st.lists(st.floats(80, 125), min_size=1, max_size=5)
OPTIONS: dict[str, Any] = {"is_share": False, "expected_noise": 0.03, "confidence": 0.99}


def figures(*values, error=0.01):
    return [RunFigure(value=value, error=error) for value in values]


def change_of_noisy(chance, *, noise, runs, after=100):
    """Compare noisy runs of a server whose median is 100 with such whose median is another."""
    before, later = (
        figures(*(median * chance.lognormvariate(0, noise) for _ in range(runs))) for median in (100, after)
    )
    return change_between(before, later, **OPTIONS)


def test_twice_as_slow_is_worse_by_a_hundred_percent():
    """The estimate is the ratio of the means minus one, and lies within its interval."""
    change = change_between(figures(100, 100, 100), figures(200, 200, 200), **OPTIONS)

    assert change.estimate == pytest.approx(1.0)
    assert change.low < 1.0 < change.high
    assert change.verdict(tolerance=0.05, is_more_worse=True) is ChangeVerdict.WORSE


def test_two_different_runs_of_a_side_are_no_evidence():
    """Their noise has one degree of freedom: with many gates the interval is unbounded, and cut off."""
    change = change_between(figures(1, 60), figures(30), **{**OPTIONS, "confidence": 0.9998})

    assert [change.low, change.high] == pytest.approx([-0.999, 999])
    assert change.verdict(tolerance=0.05, is_more_worse=True) is ChangeVerdict.NO_EVIDENCE


def test_change_of_a_share_is_a_difference():
    options = OPTIONS | {"is_share": True, "expected_noise": 0.0}
    change = change_between(figures(0.0, error=0.0005), figures(0.01, error=0.0005), **options)

    assert change.estimate == pytest.approx(0.01)
    assert change.verdict(tolerance=0.001, is_more_worse=True) is ChangeVerdict.WORSE


@given(RUNS, RUNS)
def test_change_in_the_other_direction_is_the_inverse(before, after):
    there = change_between(figures(*before), figures(*after), **OPTIONS)
    back = change_between(figures(*after), figures(*before), **OPTIONS)

    assert math.log1p(there.estimate) == pytest.approx(-math.log1p(back.estimate), abs=1e-6)
    assert math.log1p(there.low) == pytest.approx(-math.log1p(back.high), abs=1e-6)


def test_equal_runs_still_have_the_expected_noise():
    """Three equal runs per side do not prove that runs never differ."""
    change = change_between(figures(100, 100, 100), figures(103, 103, 103), **OPTIONS)

    assert change.low < 0 < change.high
    assert change.noise > 0.02


def test_observed_noise_counts_in_full():
    change = change_between(figures(100, 150, 220), figures(120, 180, 260), **OPTIONS)

    assert change.is_noise_seen
    assert change.noise > 0.3
    assert change.low < 0 < change.high


def test_interval_misses_the_truth_as_rarely_as_it_promises():
    """In at most one of a hundred comparisons of noisy runs of one server."""
    chance = random.Random(7)
    for noise in (0.01, 0.05, 0.15):
        misses = 0
        for _ in range(2_000):
            change = change_of_noisy(chance, noise=noise, runs=5)
            misses += not change.low <= 0 <= change.high

        assert misses <= 26  # at most 20 are expected; one in ten random tests would have 27 or more


def test_smallest_visible_change_is_seen_four_times_in_five():
    """A change of the size that should be visible is seen in about four of five tries."""
    chance = random.Random(8)
    truth = change_of_noisy(chance, noise=0.1, runs=40).visible

    after = 100 * (1 + truth)
    seen = [change_of_noisy(chance, noise=0.1, runs=40, after=after).low > 0 for _ in range(400)]

    assert 0.72 < sum(seen) / len(seen) < 0.88


@pytest.mark.parametrize(
    ("low", "estimate", "high", "verdict"),
    [
        (-0.02, 0.0, 0.02, ChangeVerdict.SAME),
        (0.01, 0.02, 0.04, ChangeVerdict.SAME),  # certain, but too small to matter
        (0.02, 0.10, 0.20, ChangeVerdict.WORSE),
        (-0.20, -0.10, -0.02, ChangeVerdict.BETTER),
        (-0.02, 0.10, 0.20, ChangeVerdict.NO_EVIDENCE),
        (0.01, 0.04, 0.09, ChangeVerdict.NO_EVIDENCE),  # worse, but likely by less than is tolerated
        (-0.30, 0.0, 0.30, ChangeVerdict.NO_EVIDENCE),
    ],
)
def test_verdict_follows_from_interval_and_tolerance(low, estimate, high, verdict):
    """Worse needs an interval without 0, and an estimate beyond the tolerance."""
    change = FigureChange(estimate=estimate, low=low, high=high, noise=0.02, is_noise_seen=True, visible=0.1)
    opposite = {ChangeVerdict.WORSE: ChangeVerdict.BETTER, ChangeVerdict.BETTER: ChangeVerdict.WORSE}

    assert change.verdict(tolerance=0.05, is_more_worse=True) is verdict
    assert change.verdict(tolerance=0.05, is_more_worse=False) is opposite.get(verdict, verdict)


@pytest.mark.parametrize(
    ("confidence", "degrees", "printed"),
    [(0.95, 1, 12.706), (0.99, 3, 5.841), (0.95, 10, 2.228), (0.99, 120, 2.617)],
)
def test_quantiles_are_those_of_the_tables(confidence, degrees, printed):
    assert two_sided_quantile(confidence, degrees) == pytest.approx(printed, abs=6e-4)
