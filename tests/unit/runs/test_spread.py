"""Coarse buckets for heat maps."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.runs.spread import add_spread, by_bucket, spread_bucket, spread_from_ms, spread_text

TEN_MINUTES_NS = 600 * 10**9


@given(duration_ns=st.integers(1_000, TEN_MINUTES_NS))
@example(duration_ns=1_000)
@example(duration_ns=TEN_MINUTES_NS)
def test_duration_lies_within_its_bucket(duration_ns):
    """From where the bucket begins, and before the next one begins (but for rounding)."""
    bucket = spread_bucket(duration_ns)

    assert spread_from_ms(bucket) * (1 - 1e-9) <= duration_ns / 1e6 <= spread_from_ms(bucket + 1) * (1 + 1e-9)


@given(durations=st.lists(st.tuples(st.integers(0, TEN_MINUTES_NS), st.integers(1, 1000))))
def test_nothing_is_lost_on_the_way_through_text(durations):
    """Seconds that are read and added up hold as many requests as were written."""
    counts: dict[str, int] = {}

    add_spread(spread_text(durations), counts)
    add_spread(spread_text(durations), counts)

    assert sum(by_bucket(counts).values()) == 2 * sum(count for _, count in durations)


def test_what_is_no_spread_is_refused():
    """Rather than counted as something."""
    with pytest.raises(ValueError, match="invalid literal"):
        add_spread("72:many", {})
