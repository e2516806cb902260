"""What blocks of seconds say of a run's own figures."""

import math

import pytest
from load_records import histogram_of, load_run, lognormal_seconds

from knouds_harness.reporting.comparison.load_figures import percentile_error, read_blocks, share_error


def test_independent_requests_have_the_textbook_error():
    histograms = [histogram_of(each) for each in lognormal_seconds(1, per_s=500, seconds=20)]

    error = percentile_error(histograms, 99)

    textbook = 0.3 * math.sqrt(0.0099 / 10_000) / 0.02665  # spread times that of a normal quantile
    assert error == pytest.approx(textbook, rel=0.5)


def test_seconds_that_differ_widen_the_error():
    """Where every fourth second is slow as a whole, the error is far larger than independent samples say."""
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


def test_percentile_beyond_nearly_all_requests_is_left_out():
    """Of 400 requests only four lie beyond p99: too few to say anything."""
    assert percentile_error([histogram_of([1.0] * 200), histogram_of([2.0] * 200)], 99) is None


def test_no_error_seen_is_not_no_error_at_all():
    """Without any error a rate is still uncertain, the more so the fewer requests there were."""
    few, many = share_error([0], [100]), share_error([0], [10_000])

    assert few > 10 * many > 0


def test_operation_of_which_only_times_of_sending_are_left_has_no_blocks(tmp_path):
    """A damaged log: nothing says how many requests there were."""
    folder = load_run(tmp_path, {name: lognormal_seconds(1, seconds=5) for name in ("whoami", "usage")})
    log = folder / "times.hlog"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if not ("whoami" in line and "response" in line)))

    assert read_blocks(folder, 1_000).keys() == {"usage", "all"}


def test_warm_up_is_in_no_block(tmp_path):
    slow = [[5_000.0] * 50 for _ in range(5)]
    folder = load_run(tmp_path, {"whoami": lognormal_seconds(1, seconds=10)}, warm_up=slow)

    blocks = read_blocks(folder, 1_000)

    assert sum(each.requests for each in blocks["whoami"]) == 1_000
    assert max(each.response.max_s for each in blocks["whoami"]) < 1


def test_errors_are_counted_where_they_came(tmp_path):
    folder = load_run(tmp_path, {"whoami": lognormal_seconds(1, seconds=10)}, failed=20)

    last = read_blocks(folder, 1_200)["whoami"][-1]

    assert (last.requests, last.counts["error_rate"], len(last.response)) == (120, 20, 100)


def test_operations_are_together_in_all(tmp_path):
    folder = load_run(tmp_path, {"whoami": lognormal_seconds(1), "list": lognormal_seconds(2)})

    blocks = read_blocks(folder, 4_000)

    assert sum(each.requests for each in blocks["all"]) == 4_000


def test_without_a_log_there_are_no_blocks(tmp_path):
    folder = load_run(tmp_path, {"whoami": lognormal_seconds(1)})
    (folder / "times.hlog").unlink()

    assert read_blocks(folder, 2_000) == {}
