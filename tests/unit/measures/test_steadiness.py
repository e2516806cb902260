"""Since when a series is steady, and which seconds of a load are stalls."""

import math
import random
from collections.abc import Iterator

import pytest
from load_records import histogram_of

from knouds_harness.measures.steadiness import Steadiness, steady_from


def noise(seconds: int, seed: int = 1) -> Iterator[float]:
    chance = random.Random(seed)
    return (chance.gauss(100, 5) for _ in range(seconds))


@pytest.mark.parametrize("seconds", [5, 12, 20])
def test_slow_beginning_is_left_out(seconds):
    """A run whose first seconds are slower is steady after them, give or take two seconds."""
    values = [value + (60 if index < seconds else 0) for index, value in enumerate(noise(60))]

    assert steady_from(values) == pytest.approx(seconds, abs=2)


@pytest.mark.parametrize("slope", [1, -1])
def test_drift_is_never_steady(slope):
    """Times that rise or fall all the time never become steady."""
    assert steady_from([value + 2 * slope * index for index, value in enumerate(noise(60))]) is None


def test_repeated_stalls_are_steady():
    """A server that stalls for one second in ten is steady in its own way."""
    values = [math.inf if index % 10 == 9 else value for index, value in enumerate(noise(60))]

    found = steady_from(values)
    assert found is not None
    assert found <= 10


def steadiness_of(means_ms_by_second, *, count=20):
    made = Steadiness()
    for at_s, means_ms in enumerate(means_ms_by_second):
        for name, mean_ms in means_ms.items():
            made.add(at_s, name, histogram_of([mean_ms] * (count(at_s) if callable(count) else count)))
    return made


def test_run_is_steady_once_throughput_and_times_are():
    """The later of the two decides, over all operations together."""
    means_ms = [dict.fromkeys(("whoami", "listWorkflows"), 50.0 if at_s < 8 else 10.0) for at_s in range(41)]

    assert steadiness_of(means_ms, count=lambda at_s: 20 if at_s >= 4 else 5).from_s() == (True, 8.0)


def test_short_run_is_not_judged():
    assert steadiness_of([{"whoami": 20.0}] * 15).from_s() == (None, None)


def test_stalls_are_slow_seconds():
    """In the second of a stall nothing is kept, and what ends in the next has waited."""
    means_ms = [{"whoami": 20.0} for _ in range(41)]
    means_ms[9], means_ms[10] = {}, {"whoami": 500.0}

    assert steadiness_of(means_ms).slow_seconds() == (9, 10)


def test_few_requests_in_a_second_show_no_stall():
    means_ms = [{"whoami": 200.0 if at_s % 9 == 4 else 20.0} for at_s in range(41)]

    assert steadiness_of(means_ms, count=2).slow_seconds() == ()
