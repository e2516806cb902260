"""A run that misses --abort-on over ten seconds, and only then, ends early."""

from __future__ import annotations

import pytest

from knouds_harness.load.collection.seconds import Second, SeriesKey
from knouds_harness.load.generator.aborting import WINDOW_S, AbortWatch
from knouds_harness.measures.histograms import Histogram
from knouds_harness.measures.objectives import parse_bounds
from knouds_harness.runs.load_results import RequestStatus


def second(unix_s, *, kept=0, failed=0, took_s=0.001):
    """What ended within a second."""
    histograms = {}
    for status, count in ((RequestStatus.KEPT, kept), (RequestStatus.FAILED, failed)):
        if count:
            histograms[SeriesKey("getWhoami", status)] = histogram = Histogram()
            histogram.record(took_s, count)
    return Second(unix_s=unix_s, histograms=histograms)


def first_miss(watch, seconds):
    """When it was missed, and what."""
    for each in seconds:
        if missed := watch.missed(each):
            return each.unix_s, missed
    return None


def test_miss_over_the_window_is_told():
    """With the figure that was seen."""
    watch = AbortWatch(parse_bounds(["error_rate=0.2"]), from_unix_s=100)

    at, missed = first_miss(watch, [second(100 + i, kept=1, failed=1) for i in range(20)])

    assert at == 100 + WINDOW_S - 1
    assert (missed.operation, missed.measure, missed.observed) == ("getWhoami", "error_rate", 0.5)


def test_short_trouble_is_borne():
    """One bad second among good ones is no reason to end."""
    watch = AbortWatch(parse_bounds(["error_rate=0.2"]), from_unix_s=100)

    assert first_miss(watch, [second(100 + i, kept=10, failed=10 * (i == 4)) for i in range(30)]) is None


def test_warm_up_does_not_count():
    """A slow beginning that is left out of the figures ends nothing either."""
    watch = AbortWatch(parse_bounds(["p99_ms=100"]), from_unix_s=120)

    seconds = [second(100 + i, kept=5, took_s=3.0 if i < 20 else 0.001) for i in range(60)]

    assert first_miss(watch, seconds) is None


def test_trouble_that_begins_late_is_told():
    """The window moves along."""
    watch = AbortWatch(parse_bounds(["p50_ms=100"]), from_unix_s=100)

    at, _ = first_miss(watch, [second(100 + i, kept=5, took_s=3.0 if i >= 30 else 0.001) for i in range(60)])

    assert 130 < at < 130 + WINDOW_S


@pytest.mark.parametrize("gap", [1, 3])
def test_seconds_without_an_answer_are_part_of_the_window(gap):
    """Ten seconds are ten seconds, however few of them brought something."""
    watch = AbortWatch(parse_bounds(["error_rate=0"]), from_unix_s=100)

    at, _ = first_miss(watch, [second(unix_s, failed=1) for unix_s in range(100, 140, gap)])

    assert at - 100 in range(WINDOW_S - 1, WINDOW_S + gap)


def test_without_bounds_nothing_is_looked_at():
    """The usual case costs nothing."""
    assert AbortWatch(()).missed(second(100, failed=1)) is None
