"""The verdict on a load run in words: what a capacity search found, and whether a run was steady."""

from typing import Any

import pytest
from load_records import load_results

from knouds_harness.reporting.load.headline import describe_capacity, describe_point, describe_steadiness
from knouds_harness.runs.load_results import Capacity, CapacityPoint

MISSED = CapacityPoint(
    asked_per_s=264.0,
    achieved_per_s=263.5,
    mean_ms=80.0,
    p50_ms=60.0,
    p95_ms=200.0,
    p99_ms=300.0,
    error_rate=0.0,
    is_kept=False,
    reason="whoami p99_ms 300, at most 250",
)
FOUND: dict[str, Any] = {
    "highest_per_s": 240.0,
    "kept_points": 3,
    "tried_points": 3,
    "kept_share_at_least": 0.368,
    "lowest_failing_per_s": 264.0,
    "knee_per_s": 160.0,
    "points": (MISSED,),
}
LATE = "One arrival in a hundred was sent 9.0 ms late or later"


@pytest.mark.parametrize(
    ("changes", "tone", "title", "says"),
    [
        ({}, "good", "Capacity 240/s", "264/s did not: whoami p99_ms 300, at most 250."),
        ({}, "good", "Capacity 240/s", "in 3 of 3 points: with 95 % confidence at least 37 %"),
        ({}, "good", "Capacity 240/s", "From 160/s on response times rise faster"),
        (
            {"is_generator_limit": True},
            "warn",
            "Capacity at least 240/s",
            "At 264/s the generator was the limit, not the target",
        ),
        (
            {"lowest_failing_per_s": None, "limit": "no rate above 240/s was to be tried"},
            "good",
            "Capacity at least 240/s",
            "no rate above 240/s",
        ),
        ({"lowest_failing_per_s": None, "limit": "interrupted"}, "warn", "at least 240/s", "interrupted"),
        ({"limit": "interrupted"}, "warn", "Capacity 240/s", "ended before it was through: interrupted."),
        ({"highest_per_s": None}, "bad", "No rate met the objectives", "264/s did not"),
        (
            {"highest_per_s": None, "is_generator_limit": True},
            "warn",
            "The generator was the limit",
            "Nothing is known of the target",
        ),
        (
            {"highest_per_s": None, "lowest_failing_per_s": None, "limit": "interrupted"},
            "warn",
            "Nothing was found",
            "interrupted",
        ),
    ],
)
def test_what_was_found_is_said(changes, tone, title, says):
    found = describe_capacity(Capacity(**{**FOUND, **changes}))

    assert found[0] == tone
    assert title in found[1]
    assert says in found[2]


def test_point_is_said_in_a_line():
    line = " ".join(describe_point(MISSED).split())

    times = "mean 80.0 ms, p50 60.0 ms, p95 200 ms, p99 300 ms"
    assert line == f"264/s missed {times} whoami p99_ms 300, at most 250"


@pytest.mark.parametrize(
    ("is_steady", "from_s", "says"),
    [
        (None, None, ""),
        (True, 0.0, "Steady from second 0 on."),
        (True, 2.0, "Steady from second 2 on."),
        (True, 5.0, "Steady from second 5 on, and the figures begin at 2: --warm-up 5"),
        (False, None, "did not become steady"),
    ],
)
def test_steadiness_is_said(is_steady, from_s, says):
    """Of a run whose first two seconds are left out of the figures."""
    said = describe_steadiness(load_results(is_steady=is_steady, steady_from_s=from_s))

    assert says in said
    assert bool(says) == bool(said)
