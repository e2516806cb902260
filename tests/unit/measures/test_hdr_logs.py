"""Interval logs, which other tools can read."""

from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from load_records import histogram_of

from knouds_harness.measures.hdr_logs import HdrLogWriter, Interval, read_hdr_log
from knouds_harness.measures.histograms import MAX_NS


def interval(second: int, *durations_s: float, series: tuple[str, ...] = ("getWhoami", "kept")) -> Interval:
    histogram = histogram_of([duration_s * 1e3 for duration_s in durations_s])
    return Interval(series=series, start_unix_s=1_780_000_000.0 + second, length_s=1.0, histogram=histogram)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "latency.hlog"


def written(path: Path, *intervals: Interval) -> Path:
    with HdrLogWriter(path, start_unix_s=1_780_000_000.0) as log:
        for one in intervals:
            log.write(one)
    return path


def test_log_is_read_back(path):
    intervals = [interval(0, 0.001, 0.002, 600), interval(1, 1e-6), interval(1, 0.5, series=("a", "b", "c"))]

    assert list(read_hdr_log(written(path, *intervals))) == intervals


def test_other_tools_read_the_log(path):
    written(path, interval(3, *([0.010] * 99), 1.0))
    reader = HistogramLogReader(str(path), HdrHistogram(1, MAX_NS, 3))

    hdr = reader.get_next_interval_histogram()
    reader.close()

    assert (hdr.get_total_count(), hdr.get_start_time_stamp()) == (100, 1_780_000_003_000)
    assert hdr.values_are_equivalent(hdr.get_value_at_percentile(99), 10_000_000)
    assert hdr.values_are_equivalent(hdr.get_max_value(), 1_000_000_000)
    assert ",3.000," not in path.read_text()
    assert "Tag=getWhoami|kept,1780000003.000,1.000,1000.3" in path.read_text()


def test_truncated_log_is_read_up_to_its_end(path):
    whole = [interval(0, 0.001), interval(1, 0.002)]
    data = written(path, *whole, interval(2, 0.003)).read_bytes()
    path.write_bytes(data[:-20])

    assert list(read_hdr_log(path)) == whole
