"""Where a run became steady, on series whose beginning is known."""

import math
import random
from collections.abc import Iterator

import pytest

from knouds_harness.load.collection.metrics import RunMetrics, steady_from
from knouds_harness.load.collection.seconds import Second, SeriesKey
from knouds_harness.measures.histograms import Histogram
from knouds_harness.runs.operation_load import RequestStatus


def noise(seconds: int, seed: int = 1) -> Iterator[float]:
    chance = random.Random(seed)
    return (chance.gauss(100, 5) for _ in range(seconds))


def test_level_series_is_steady_from_the_beginning():
    assert steady_from([200.0] * 30) == 0


@pytest.mark.parametrize("seconds", [5, 12, 20])
def test_slow_beginning_is_left_out(seconds):
    """A run whose first seconds are slower is steady from when they end, give or take two."""
    values = [value + (60 if index < seconds else 0) for index, value in enumerate(noise(60))]

    assert steady_from(values) == pytest.approx(seconds, abs=2)


def test_times_that_settle_are_steady_once_they_have():
    """What decays with a time constant of four seconds is steady within some four of them."""
    values = [value + 200 * math.exp(-index / 4) for index, value in enumerate(noise(60))]

    found = steady_from(values)
    assert found is not None
    assert 8 <= found <= 20


@pytest.mark.parametrize("slope", [1, -1])
def test_drift_is_never_steady(slope):
    """Times that rise, or fall, all the time come to no steady state."""
    assert steady_from([value + 2 * slope * index for index, value in enumerate(noise(60))]) is None


def test_seconds_that_stand_still_are_no_beginning():
    """A server that stalls for a second in every ten is steady all the same, in the way that it is."""
    values = [math.inf if index % 10 == 9 else value for index, value in enumerate(noise(60))]

    found = steady_from(values)
    assert found is not None
    assert found <= 10


def test_noise_alone_is_steady():
    """Of fifty runs with nothing but noise at most one is called unsteady."""
    assert sum(steady_from(list(noise(60, seed))) is None for seed in range(50)) <= 1


def test_run_is_as_steady_as_its_throughput_and_its_times():
    """The later of the two counts, over all operations together."""
    metrics = RunMetrics()
    metrics.begin(1000)
    for at_s in range(41):
        second = Second(unix_s=1000 + at_s)
        for operation in ("whoami", "listWorkflows"):
            histogram = Histogram()
            histogram.record(0.050 if at_s < 8 else 0.010, 20 if at_s >= 4 else 5)
            second.histograms[SeriesKey(operation, RequestStatus.KEPT)] = histogram
        metrics.add(second)

    assert metrics.steady_from_s() == (True, 8.0)
    assert metrics.overall().count == 2 * (4 * 5 + 37 * 20)


def test_short_run_is_not_judged():
    metrics = RunMetrics()
    metrics.begin(1000)
    for at_s in range(15):
        metrics.add(Second(unix_s=1000 + at_s))

    assert metrics.steady_from_s() == (None, None)
