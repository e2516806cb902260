"""The error of a run's own figures, estimated from blocks of seconds."""

import math

import pytest
from load_records import histogram_of, load_run, lognormal_seconds

from knouds_harness.reporting.comparison.load_figures import percentile_error, read_blocks, share_error


def test_independent_requests_have_the_textbook_error():
    histograms = [histogram_of(each) for each in lognormal_seconds(1, per_s=500, seconds=20)]

    error = percentile_error(histograms, 99)

    textbook = 0.3 * math.sqrt(0.0099 / 10_000) / 0.02665  # spread times the error of a normal quantile
    assert error == pytest.approx(textbook, rel=0.5)


def test_differences_between_seconds_widen_the_error():
    """If every fourth second is slow, the error is far larger than independent samples suggest."""
    seconds = [
        lognormal_seconds(seed, median_ms=300 if seed % 4 == 0 else 100, per_s=500, seconds=1)[0]
        for seed in range(20)
    ]
    mixed = [[time for second in seconds for time in second[index::20]] for index in range(20)]

    clustered = percentile_error([histogram_of(each) for each in seconds], 90)
    independent = percentile_error([histogram_of(each) for each in mixed], 90)

    assert clustered is not None
    assert independent is not None
    assert clustered > 3 * independent


def test_rate_without_errors_is_still_uncertain():
    """The fewer requests there were, the more."""
    few, many = share_error([0], [100]), share_error([0], [10_000])

    assert few > 10 * many > 0


def test_operation_without_response_times_has_no_blocks(tmp_path):
    """Its log is damaged, so the number of requests is not known."""
    folder = load_run(tmp_path, {name: lognormal_seconds(1, seconds=5) for name in ("whoami", "usage")})
    log = folder / "times.hlog"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if not ("whoami" in line and "response" in line)))

    assert read_blocks(folder, 1_000).keys() == {"usage", "all"}


def test_blocks_have_the_requests_and_errors_after_the_warm_up(tmp_path):
    """Those of all operations have the requests of each."""
    seconds = {"whoami": lognormal_seconds(1, seconds=10), "list": lognormal_seconds(2, seconds=10)}
    folder = load_run(tmp_path, seconds, warm_up=[[5_000.0] * 50 for _ in range(5)], failed=20)

    blocks = read_blocks(folder, 2_200)

    last = blocks["whoami"][-1]
    assert (last.requests, last.counts["error_rate"], len(last.response)) == (120, 20, 100)
    assert max(each.response.max_s for each in blocks["whoami"]) < 1
    assert sum(each.requests for each in blocks["all"]) == 2_200
