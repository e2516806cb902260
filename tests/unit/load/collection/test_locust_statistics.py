"""Locust's own percentiles, computed from our buckets."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from locust import stats

from knouds_harness.load.collection.locust_statistics import exact_response_time, use_exact_buckets
from knouds_harness.measures.histograms import bucket_of, lowest_of


@pytest.fixture
def exact_buckets(monkeypatch) -> None:
    monkeypatch.setattr(stats, "bucket_response_time", stats.bucket_response_time)  # put back at the end
    use_exact_buckets()


@given(response_time_ms=st.floats(0, 600_000))
def test_response_time_is_at_most_a_thousandth_off(response_time_ms):
    """From a nanosecond to ten minutes, and equal for all times in one bucket."""
    told_ms = exact_response_time(response_time_ms)
    bucket = bucket_of(int(response_time_ms * 1e6))

    assert math.isclose(told_ms, response_time_ms, rel_tol=0.001, abs_tol=2e-6)
    assert told_ms == exact_response_time((lowest_of(bucket) + 0.5) / 1e6)


@pytest.mark.usefixtures("exact_buckets")
def test_percentiles_are_those_of_the_samples():
    """Around a millisecond, where Locust's own buckets are 50 % wide."""
    samples_ms = [1 + number / 1000 for number in range(999)]
    requests = stats.RequestStats()
    for sample_ms in samples_ms:
        requests.log_request("GET", "x", sample_ms, 0)  # type: ignore[arg-type] # floats do as well

    entry = requests.get("x", "GET")

    assert entry.get_response_time_percentile(0.5) == pytest.approx(statistics.median(samples_ms), rel=0.001)
    assert entry.get_response_time_percentile(0.99) == pytest.approx(1.989, rel=0.001)
    assert entry.median_response_time == pytest.approx(1.499, rel=0.001)


@pytest.mark.usefixtures("exact_buckets")
def test_percentiles_of_merged_statistics_are_those_of_one_process():
    whole, master, worker = stats.RequestStats(), stats.RequestStats(), stats.RequestStats()
    for number in range(1, 1000):
        for requests in (whole, (master, worker)[number % 2]):
            requests.log_request("GET", "x", number * 1.37, 0)  # type: ignore[arg-type]
    [report] = worker.serialize_stats()
    master.get("x", "GET").extend(stats.StatsEntry.unserialize(report, master))

    assert master.get("x", "GET").response_times == whole.get("x", "GET").response_times
