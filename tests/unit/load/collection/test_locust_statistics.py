"""Locust's own percentiles, computed from our buckets."""

import math
import statistics
import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from locust import env, stats

from knouds_harness.load.collection import locust_statistics
from knouds_harness.load.collection.locust_statistics import (
    BatchedStats,
    exact_response_time,
    use_exact_buckets,
)
from knouds_harness.measures.histograms import bucket_of, lowest_of


@pytest.fixture
def exact_buckets(monkeypatch) -> None:
    monkeypatch.setattr(stats, "bucket_response_time", stats.bucket_response_time)  # put back at the end
    monkeypatch.setattr(env, "RequestStats", env.RequestStats)  # type: ignore[attr-defined]
    use_exact_buckets()


@given(response_time_ms=st.floats(0, 600_000))
def test_response_time_is_at_most_a_thousandth_off(response_time_ms):
    """From a nanosecond to ten minutes, and equal for all times in one bucket."""
    told_ms = exact_response_time(response_time_ms)
    bucket = bucket_of(int(response_time_ms * 1e6))

    assert math.isclose(told_ms, response_time_ms, rel_tol=0.001, abs_tol=1e-6)
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
    """A master that merges serialized statistics of workers gets the same."""
    whole, master, worker = stats.RequestStats(), stats.RequestStats(), stats.RequestStats()
    for number in range(1, 1000):
        for requests in (whole, (master, worker)[number % 2]):
            requests.log_request("GET", "x", number * 1.37, 0)  # type: ignore[arg-type]
    [report] = worker.serialize_stats()
    master.get("x", "GET").extend(stats.StatsEntry.unserialize(report, master))

    assert master.get("x", "GET").response_times == whole.get("x", "GET").response_times


REQUESTS = st.tuples(
    st.sampled_from([("GET", "x"), ("POST", "x"), ("GET", "y")]),
    st.one_of(st.none(), st.floats(0, 600_000)),
    st.integers(0, 1000),
    st.sampled_from([0.0, 0.2, 1.1]),  # seconds until the next
)


@given(requests=st.lists(REQUESTS, max_size=30), looked_at=st.sets(st.integers(0, 29)))
def test_batched_statistics_are_those_of_single_requests(requests, looked_at):
    """Whenever they are read, and whatever is read; extremes are off by at most a bucket's width."""
    now = [time.time()]
    clock = SimpleNamespace(time=lambda: now[0])
    with pytest.MonkeyPatch.context() as patch:
        for module in (stats, locust_statistics):
            patch.setattr(module, "time", clock)
        patch.setattr(stats, "bucket_response_time", exact_response_time)
        ours, locusts = BatchedStats(), stats.RequestStats()
        for number, ((method, name), response_time_ms, size_bytes, pause_s) in enumerate(requests):
            for each in (ours, locusts):
                each.log_request(method, name, response_time_ms, size_bytes)
            if number in looked_at:
                assert ours.total.num_requests == number + 1
            now[0] += pause_s

        assert ours.entries.keys() == locusts.entries.keys()
        pairs = [(each, locusts.entries[key]) for key, each in ours.entries.items()]
        for one, other in ((ours.total, locusts.total), *pairs):
            told: dict[str, Any] = dict(one.serialize())
            expected: dict[str, Any] = dict(other.serialize())
            for extreme in ("min_response_time", "max_response_time", "total_response_time"):
                assert told.pop(extreme) == pytest.approx(expected.pop(extreme), rel=0.001, abs=1e-5)
            for counted in (told, expected):  # the second is all that Locust looks at
                counted["last_request_timestamp"] = int(counted["last_request_timestamp"] or 0)
            assert told == expected


@pytest.mark.usefixtures("exact_buckets")
def test_environments_are_made_with_batched_statistics():
    environment = env.Environment()
    environment.create_local_runner()
    environment.events.request.fire(request_type="GET", name="x", response_time=2.0, response_length=3)
    environment.events.request.fire(
        request_type="GET", name="x", response_time=4.0, response_length=3, exception=ValueError("no")
    )

    assert isinstance(environment.stats, BatchedStats)
    assert (environment.stats.num_requests, environment.stats.num_failures) == (2, 1)
    assert environment.stats.get("x", "GET").avg_response_time == 3.0
    environment.events.request.fire(request_type="GET", name="x", response_time=2.0, response_length=3)
    environment.stats.reset_all()
    assert (environment.stats.num_requests, environment.stats.get("x", "GET").num_requests) == (0, 0)
    environment.events.request.fire(request_type="GET", name="x", response_time=2.0, response_length=3)
    environment.stats.clear_all()
    assert (environment.stats.num_requests, len(environment.stats.entries)) == (0, 0)
