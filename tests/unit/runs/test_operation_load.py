"""One list of percentiles, and reading the figures of a distribution by name."""

from dataclasses import replace

import pytest
from load_records import histogram_of, times_of

from knouds_harness.reporting.comparison.load_figures import MEASURES as COMPARED
from knouds_harness.reporting.load.columns import SHOWN_TIMES
from knouds_harness.runs.operation_load import RECORDED_PERCENTS, TIME_MEASURES, time_ms

HUNDRED = times_of(histogram_of([float(ms) for ms in range(1, 101)]))


def test_every_list_of_percentiles_is_the_same():
    percentiles = ("p50_ms", "p75_ms", "p90_ms", "p95_ms", "p99_ms", "p99.9_ms")

    assert ("mean_ms", *percentiles, "max_ms") == TIME_MEASURES
    assert set(percentiles) <= {f"p{percent}_ms" for percent in RECORDED_PERCENTS}
    assert tuple(each.key for each in SHOWN_TIMES if each.key in TIME_MEASURES) == TIME_MEASURES
    assert tuple(each for each in COMPARED if each.startswith("p")) == percentiles


@pytest.mark.parametrize(
    ("measure", "expected_ms"),
    [("mean_ms", 50.5), ("p50_ms", 50), ("p75_ms", 75), ("p95_ms", 95), ("p99.9_ms", 100), ("max_ms", 100)],
)
def test_figure_is_read_by_the_name_of_its_measure(measure, expected_ms):
    assert time_ms(HUNDRED, measure) == pytest.approx(expected_ms, rel=0.001)


def test_missing_figures_are_none_and_not_zero():
    older = replace(HUNDRED, mean_ms=None, percentiles={"50": 50.0})

    assert [time_ms(replace(HUNDRED, count=0), measure) for measure in TIME_MEASURES] == [None] * 8
    assert [time_ms(older, measure) for measure in ("mean_ms", "p50_ms", "p95_ms")] == [None, 50.0, None]
