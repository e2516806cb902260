"""The generator is judged before the target."""

from __future__ import annotations

from typing import Any

import pytest

from knouds_harness.load.generator.validity import judge_generator
from knouds_harness.runs.load_results import Times


def times(p99_ms: float) -> Times:
    """A distribution with one telling percentile."""
    return Times(count=1000, mean_ms=0.1, min_ms=0.0, max_ms=p99_ms, percentiles={"50": 0.1, "99": p99_ms})


SOUND: dict[str, Any] = {
    "asked_per_s": 500.0,
    "achieved_per_s": 499.9,
    "arrivals": 15_000,
    "dropped": 0,
    "lateness": times(0.4),
    "loop_lag": times(1.0),
    "cpu_share": 0.4,
}


def test_generator_that_kept_up_is_valid():
    """Nothing is said against a generator that did what it was asked to."""
    validity = judge_generator(**SOUND)

    assert (validity.is_valid, validity.reasons) == (True, ())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"achieved_per_s": 0.0, "asked_per_s": None}, "Nothing was sent"),
        ({"dropped": 16}, "16 of 15000 arrivals found all users busy"),
        ({"achieved_per_s": 480.0}, "480 requests per second were sent of 500"),
        ({"lateness": times(5.1)}, "5.1 ms late"),
        ({"loop_lag": times(21.0)}, "event loop was 21 ms late"),
        ({"cpu_share": 0.97}, "97% of its core"),
    ],
)
def test_generator_that_was_the_limit_is_not(change, reason):
    """Each way of not keeping up is a reason of its own."""
    validity = judge_generator(**(SOUND | change))

    assert not validity.is_valid
    assert [text for text in validity.reasons if reason in text] == list(validity.reasons)


def test_closed_model_has_no_rate_to_miss():
    """Where no rate was asked for, none can be missed."""
    assert judge_generator(**(SOUND | {"asked_per_s": None, "arrivals": 0})).is_valid


@pytest.mark.parametrize(("count", "is_valid"), [(70, True), (199, True), (200, False)])
def test_single_late_beat_of_few_condemns_no_run(count, is_valid):
    """Under two hundred beats the 99th percentile is the latest or next to it: then one in twenty counts."""
    lag = Times(
        count=count,
        mean_ms=0.5,
        min_ms=0.1,
        max_ms=33.0,
        percentiles={"50": 0.4, "90": 0.5, "95": 0.6, "99": 33.0},
    )

    assert judge_generator(**(SOUND | {"loop_lag": lag})).is_valid is is_valid
