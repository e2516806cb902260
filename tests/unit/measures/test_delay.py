"""The effect of the generator's own delay on the figures, separated from the target's times."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from knouds_harness.measures.delay import BEAT_S, CorrectedTimes, Delay, KeptTimes, lag_class
from knouds_harness.measures.histograms import Histogram

NO_DELAY = Delay({})


def histogram(times_ms: Sequence[float]) -> Histogram:
    found = Histogram()
    for each in times_ms:
        found.record(each / 1e3)
    return found


def delay(lags_ms: Sequence[float]) -> Delay:
    return Delay({0: histogram(lags_ms)})


def lognormal(median_ms: float, count: int, *, seed: int = 1, spread: float = 0.4) -> list[float]:
    chance = random.Random(seed)
    return [median_ms * chance.lognormvariate(0, spread) for _ in range(count)]


def moved(response: Sequence[float], service: Sequence[float], lags: Delay, *, accuracy: float = 0.01):
    times = KeptTimes(operation="whoami", response=histogram(response), service=histogram(service))
    return {each.measure: each for each in lags.figures_moved(times, accuracy=accuracy)}


def test_figures_without_delay_are_those_measured():
    took = lognormal(20, 5000)

    assert not moved(took, took, NO_DELAY)
    assert not moved(took, took, delay([0.1] * 1000))


def test_lateness_counts_relative_to_the_measured_times():
    """Five milliseconds do not matter at 1.5 s, and matter a lot at 5 ms."""
    slow, quick = lognormal(1500, 2000), lognormal(5, 2000)

    assert not moved([each + 5 for each in slow], slow, NO_DELAY)
    assert {"mean_ms", "p50_ms", "p95_ms"} <= moved([each + 5 for each in quick], quick, NO_DELAY).keys()


@pytest.mark.parametrize(("late_ms", "is_moved"), [(0.9, False), (1.1, True)])
def test_delay_up_to_one_percent_is_allowed(late_ms, is_moved):
    """Of a constant 100 ms: one millisecond."""
    took = [100.0] * 1000

    assert ("p50_ms" in moved([each + late_ms for each in took], took, NO_DELAY)) is is_moved


@pytest.mark.parametrize(("late_ms", "is_moved"), [(0.45, False), (0.6, True)])
def test_delay_up_to_half_a_millisecond_is_allowed(late_ms, is_moved):
    """One percent of 5 ms is less than a client itself needs per request."""
    took = [5.0] * 1000

    assert ("p50_ms" in moved([each + late_ms for each in took], took, NO_DELAY)) is is_moved


def test_allowed_delay_can_be_raised():
    took = [100.0] * 1000
    late = [each + 3 for each in took]

    assert "p50_ms" in moved(late, took, NO_DELAY)
    assert not moved(late, took, NO_DELAY, accuracy=0.05)
    assert not moved([50.0] * 1000, [50.0] * 1000, delay([100.0] * 1000), accuracy=1.0)


@pytest.mark.parametrize("median_ms", [5, 20, 100, 1500])
@pytest.mark.parametrize("share_late", [0.02, 0.1])
def test_estimate_is_what_the_target_took(median_ms, share_late):
    """Responses are read late by random delays; the percentiles without them are found again."""
    chance = random.Random(3)

    def lag():
        return chance.expovariate(1 / 30) if chance.random() < share_late else 0.1

    took = lognormal(median_ms, 50_000)
    measured = histogram([each + lag() for each in took])
    estimated = CorrectedTimes(measured, delay([lag() for _ in range(50_000)]))

    for measure, percent in (("p50_ms", 50), ("p90_ms", 90), ("p99_ms", 99)):
        true_ms = histogram(took).percentile_s(percent) * 1e3
        assert estimated.figure_ms(measure) == pytest.approx(true_ms, rel=0.03, abs=0.3)


def test_rare_delay_changes_only_rare_figures():
    """Two beats in a thousand, 200 ms late: only p99.9 and the maximum are affected."""
    took = lognormal(20, 10_000, spread=0.1)
    measured = [each + (200 if number % 500 == 0 else 0) for number, each in enumerate(took)]

    found = moved(measured, measured, delay([0.0] * 998 + [200.0] * 2))

    assert found.keys() <= {"p99.9_ms", "max_ms"}
    assert found["p99.9_ms"].measured_ms > 200
    assert (found["p99.9_ms"].undelayed_ms or 0) < 100


@pytest.mark.parametrize("count", [60, 150, 2000])
@pytest.mark.parametrize("median_ms", [2, 20, 100])
def test_estimates_with_frequent_delay_are_consistent(count, median_ms):
    """Percentiles rise, and none is below the shortest time."""
    chance = random.Random(count + median_ms)
    lags = [chance.expovariate(1 / 30) if chance.random() < 0.3 else 0.1 for _ in range(count * 20)]
    took = lognormal(median_ms, count)
    measured = [each + chance.choice(lags) for each in took]
    estimated = CorrectedTimes(histogram(measured), delay(lags))

    figures = [estimated.figure_ms(f"p{percent}_ms") for percent in (50, 75, 90, 95, 99)]
    known = [each for each in figures if each is not None]

    assert known == sorted(known)
    assert known[0] >= min(measured) * 0.999
    assert min(measured) * 0.999 <= (estimated.figure_ms("mean_ms") or 0) <= max(measured)


def test_delay_is_never_longer_than_the_response_time():
    """A loop that is sometimes 20 ms late has not delayed a response of 2 ms by that much."""
    took = [0.7, *[2.0] * 9]

    found = moved(took, took, delay([0.1] * 80 + [20.0] * 20))

    assert "mean_ms" not in found


@pytest.mark.parametrize(("count", "is_known"), [(50, False), (200, True)])
def test_figure_decided_by_one_request_is_not_estimated(count, is_known):
    late = [50.0] * count

    found = moved([each + 20 for each in late], late, NO_DELAY)

    assert (found["p99_ms"].undelayed_ms is not None) is is_known


def test_long_stall_hardly_delays_quick_responses():
    """Nothing is sent during a stall of a second, so responses of 20 ms meet only its first 20 ms."""
    standstill, quiet = 200, 20_000
    lags: dict[int, Histogram] = {0: histogram([0.1] * quiet)}
    for missed in range(standstill):
        late_s = (standstill - missed) * BEAT_S
        lags.setdefault(lag_class(missed), Histogram()).record(late_s)
    measured = Delay(lags)

    of_quick_ms, of_slow_ms = (measured.undoing(took_ms).lags.mean_s * 1e3 for took_ms in (20, 2000))

    assert of_slow_ms == pytest.approx(standstill * standstill * BEAT_S * 1e3 / 2 / quiet, rel=0.05)
    assert of_quick_ms < of_slow_ms / 10


def test_operation_without_times_has_no_figures():
    assert not moved([], [], delay([100.0] * 100))
