"""The self-test distinguishes an accurate generator from an inaccurate one."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter

from knouds_harness.load.selftest import selftest as module
from knouds_harness.load.selftest.selftest import (
    PERCENTS_AND_MAX,
    Measured,
    Observed,
    SelftestRow,
    ServerTimes,
    judge_counts,
    judge_percentiles,
    judge_rate,
    selftest,
    true_percentile,
)
from knouds_harness.measures.histograms import Histogram


def counts(durations_s: Sequence[float]) -> dict[int, int]:
    histogram = Histogram()
    for each in durations_s:
        histogram.record(each)
    return histogram.counts


def measured(
    truth_s: Sequence[float],
    *,
    off_s: float = 0.0,
    late_s: float = 0.0001,
    rate: float | None = 500,
    lost: int = 0,
    failed: int = 0,
) -> Measured:
    seen = [each + off_s for each in truth_s]
    return Measured(
        rate=rate,
        observed=Observed(
            start_s=0.0,
            duration_s=1.0,
            handed=len(truth_s) - lost,
            dropped=lost,
            response_counts=counts(seen[failed:]),
            service_counts=counts(seen[failed:]),
            failed=failed,
            lateness_counts=counts([late_s] * 100),
            lag_counts={},
            timer="timerfd",
            cpu_s=0.01,
        ),
        truth_s=sorted(truth_s),
        served_s=sorted(truth_s),
        seen=len(truth_s),
    )


def truth(number: int = 500) -> list[float]:
    chance = random.Random(1)
    return [0.02 * chance.lognormvariate(0, 0.6) for _ in range(number)]


def met(rows: Sequence[SelftestRow]) -> list[bool]:
    return [row.is_met for row in rows]


def test_percentile_of_a_hundred_numbers_is_known():
    """The median of 1 to 100 is 50, the 99th percentile 99, the maximum 100: ranks are rounded up."""
    numbers = list(range(1, 101))

    assert [true_percentile(numbers, percent) for percent in (50, 99, 99.9, 100)] == [50, 99, 100, 100]


def test_exact_generator_passes():
    """At every percentile, if it is wrong by no more than a histogram bucket."""
    assert met(judge_percentiles(measured(truth()))) == [True] * len(PERCENTS_AND_MAX)


def test_half_a_millisecond_of_delay_is_allowed():
    """The loopback may add that; two milliseconds at a median of twenty are too much."""
    assert met(judge_percentiles(measured(truth(), off_s=0.0004))) == [True] * len(PERCENTS_AND_MAX)
    assert met(judge_percentiles(measured(truth(), off_s=0.002)))[0] is False


def test_coordinated_omission_is_found():
    """A generator that omits requests while the server stands still fails."""
    stalled = [0.02] * 450 + [1.0] * 50
    run = measured(stalled)
    blind = Measured(
        rate=500,
        observed=Observed(**{**vars(run.observed), "response_counts": counts([0.02] * 500)}),
        truth_s=run.truth_s,
        served_s=run.served_s,
        seen=500,
    )

    assert met(judge_percentiles(blind)) == [True] * 3 + [False] * 4


def test_rate_has_to_be_kept_to_a_thousandth():
    assert met(judge_rate(measured(truth()))) == [True, True]
    assert met(judge_rate(measured(truth(), lost=1))) == [False, True]


def test_late_arrivals_fail_the_rate():
    """The 99th percentile of lateness may be one millisecond, and no more."""
    assert met(judge_rate(measured(truth(), late_s=0.0011))) == [True, False]


def test_every_request_has_to_be_counted():
    """Failed ones too; a request that only the server counted is a miss."""
    whole = measured(truth(), failed=3)
    lacking = replace(whole, seen=whole.seen + 1)

    assert judge_counts([whole]).is_met
    assert not judge_counts([whole, lacking]).is_met


def test_verdict_names_the_highest_rate_that_was_kept(monkeypatch):
    """A machine that is late at the highest rate can still be accurate below it."""

    def measure(*, times: ServerTimes, seconds: float, rate: float | None = None, **_: Any) -> Measured:
        return measured(truth(round(rate or 500)), rate=rate, late_s=0.01 if rate == 5000 else 0.0001)

    monkeypatch.setattr(module, "measure", measure)
    rows: list[SelftestRow] = []

    verdict = selftest(1, rates=(500, 2000, 5000), on_rows=rows.extend)

    assert (verdict.highest_rate, verdict.is_exact, verdict.is_counted) == (2000, True, True)
    assert not verdict.is_met
    assert len(rows) == 3 * 2 + 2 * len(PERCENTS_AND_MAX) + 2


def test_output_of_the_probe_is_read_back():
    """JSON turns bucket numbers into strings; reading turns them back."""
    observed = measured(truth()).observed

    assert TypeAdapter(Observed).validate_json(json.dumps(asdict(observed))) == observed
