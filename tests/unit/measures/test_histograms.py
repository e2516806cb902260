"""Histograms: exact to 0.1 %, and merged without loss."""

import math

from hdrh.histogram import HdrHistogram
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.measures.hdr_logs import from_hdr
from knouds_harness.measures.histograms import (
    MAX_NS,
    Histogram,
    bucket_of,
    highest_of,
    lowest_of,
    merged,
    middle_of,
)

# Drawn by order of magnitude: an even distribution would give mostly minutes.
DURATIONS_NS = st.floats(0, math.log2(MAX_NS)).map(lambda exponent: min(int(2**exponent), MAX_NS))
SAMPLES_S = st.lists(st.floats(1e-6, 600), max_size=200)


def counted(samples_s):
    histogram = Histogram()
    for sample_s in samples_s:
        histogram.record(sample_s)
    return histogram


def is_told(told_s, true_s):
    """Return whether a value is right to within 0.05 % and a nanosecond."""
    return abs(told_s - true_s) <= true_s * 0.0005 + 1e-9


@given(duration_ns=DURATIONS_NS)
@example(0)
@example(2047)
@example(2048)
@example(MAX_NS)
def test_bucket_is_at_most_a_thousandth_wide(duration_ns):
    """From a nanosecond to ten minutes, the reported value is at most 0.05 % off."""
    bucket = bucket_of(duration_ns)

    assert lowest_of(bucket) <= duration_ns <= highest_of(bucket)
    assert highest_of(bucket) - lowest_of(bucket) < max(duration_ns / 1000, 1)
    assert abs(middle_of(bucket) - duration_ns) <= duration_ns * 0.0005


@given(parts=st.lists(SAMPLES_S, max_size=5))
def test_merged_parts_are_the_whole(parts):
    """Four workers count the same as one process that saw everything, in any order."""
    histograms = [counted(part) for part in parts]
    whole = counted(sample for part in parts for sample in part)

    assert merged(histograms) == merged(reversed(histograms)) == whole
    assert len(whole) == sum(len(part) for part in parts)


@given(samples=SAMPLES_S.filter(bool), percent=st.floats(0, 100))
@example([0.001, 0.002], 50)
@example([0.001] * 999 + [1.0], 99.9)
@example([0.001] * 999 + [1.0], 99.91)
@example([0.001, 1.0], 100)
@example([0.001, 1.0], 0)
def test_percentile_is_the_sample_of_that_rank(samples, percent):
    """Nearest rank: the smallest sample that this percentage does not exceed, to within 0.05 % and 1 ns."""
    histogram = counted(samples)

    rank = max(math.ceil(round(len(samples) * percent / 100, 6)), 1)

    assert is_told(histogram.percentile_s(percent), sorted(samples)[rank - 1])


@given(samples=SAMPLES_S.filter(bool))
@example([1.6543459878379187e-05])
def test_mean_and_extremes_are_those_of_the_samples(samples):
    histogram = counted(samples)

    assert is_told(histogram.mean_s, sum(samples) / len(samples))
    assert is_told(histogram.min_s, min(samples))
    assert is_told(histogram.max_s, max(samples))


def test_percentiles_keep_the_requested_order():
    histogram = counted(number * 1e-9 for number in range(1, 101))

    assert histogram.percentiles_s(99, 50, 100, 50) == [99e-9, 50e-9, 100e-9, 50e-9]


def test_durations_out_of_range_count_as_the_nearest():
    histogram = counted([-1.0, 3600.0])

    assert histogram.min_s == 0
    assert math.isclose(histogram.max_s, 600, rel_tol=0.0005)


def to_hdr(histogram: Histogram) -> HdrHistogram:
    hdr = HdrHistogram(1, MAX_NS, 3)
    for bucket, count in histogram.counts.items():
        hdr.record_value(min(lowest_of(bucket), MAX_NS), count)
    return hdr


@given(samples=SAMPLES_S)
@example([0.0])
@example([0.0, 600.0])
def test_hdr_histogram_format_loses_nothing(samples):
    histogram = counted(samples)

    assert from_hdr(to_hdr(histogram)) == histogram
    assert from_hdr(HdrHistogram.decode(to_hdr(histogram).encode())) == histogram
