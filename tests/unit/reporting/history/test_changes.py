"""Where a measure changed, with at least three runs on either side."""

import random
from importlib import import_module

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.reporting.history.changes import LEAST_RUNS, ChangePoint, change_points, segmented
from knouds_harness.reporting.history.entry import MEASURES

P99 = MEASURES["p99_ms"]


def noisy(level, count, seed):
    chance = random.Random(seed)
    return [level * chance.lognormvariate(0, 0.03) for _ in range(count)]


def test_lasting_rise_is_one_change():
    found = change_points([*noisy(100, 12, 1), *noisy(130, 6, 2)], P99)

    assert [change.at for change in found] == [12]
    assert found[0].before == pytest.approx(100, rel=0.05)
    assert found[0].after == pytest.approx(130, rel=0.05)


def test_rise_and_its_end_are_two_changes():
    found = change_points([*noisy(100, 8, 1), *noisy(150, 8, 2), *noisy(100, 8, 3)], P99)

    assert [change.at for change in found] == [8, 16]
    assert found[1].before == found[0].after


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_not_a_change(seed):
    assert change_points(noisy(100, 20, seed), P99) == []


def test_single_outlier_is_not_a_change():
    values = noisy(100, 20, 4)

    assert change_points([*values[:10], 150.0, *values[10:]], P99) == []


def test_equal_runs_have_the_smallest_assumed_noise():
    assert change_points([100.0] * 10 + [101.0] * 10, P99) == []


def test_too_few_runs_show_no_change():
    assert change_points([100.0, 100.0, 300.0, 300.0, 300.0], P99) == []


def test_one_fact_in_breach_is_a_change():
    assert change_points([0.0] * 3 + [1.0] * 3, MEASURES["facts_in_breach"]) == [
        ChangePoint(at=3, before=0.0, after=1.0)
    ]


def test_fall_to_zero_is_a_change():
    found = change_points([100.0] * 6 + [0.0] * 6, MEASURES["requests_per_s"])

    assert [change.at for change in found] == [6]


@given(
    signal=st.lists(st.floats(-50, 50, allow_subnormal=False), min_size=6, max_size=60),
    penalty=st.floats(0.5, 50),
)
@example(signal=[0.0] * 3 + [9.0] * 3, penalty=1.0)
@example(signal=[1.0] * 20, penalty=6.0)
def test_segments_cost_no_more_than_those_of_ruptures(signal, penalty):
    """The reference implementation of the method finds nothing better."""
    ruptures = import_module("ruptures")  # imports scipy, which takes seconds
    search = ruptures.KernelCPD(kernel="linear", min_size=LEAST_RUNS).fit(np.array(signal).reshape(-1, 1))

    *theirs, _ = search.predict(pen=penalty)

    assert cost(signal, segmented(signal, penalty=penalty), penalty) <= cost(signal, theirs, penalty) + 1e-6


def cost(signal, places, penalty):
    """Cost of a division: squared distances from the means of its segments, and a penalty for each."""
    parts = np.split(np.array(signal), places)
    assert min(map(len, parts)) >= LEAST_RUNS
    return sum(((part - part.mean()) ** 2).sum() + penalty for part in parts)
