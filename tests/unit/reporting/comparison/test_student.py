"""Quantiles of Student's t, against the tables in every textbook."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.reporting.comparison.student import share_within, two_sided_quantile


@pytest.mark.parametrize(
    ("confidence", "degrees", "printed"),
    [
        (0.95, 1, 12.706),
        (0.95, 2, 4.303),
        (0.99, 3, 5.841),
        (0.99, 4, 4.604),
        (0.95, 9, 2.262),
        (0.95, 10, 2.228),
        (0.999, 30, 3.646),
        (0.99, 120, 2.617),
    ],
)
def test_quantiles_are_those_of_the_tables(confidence, degrees, printed):
    """Each is what is printed, to three digits after the point."""
    assert two_sided_quantile(confidence, degrees) == pytest.approx(printed, abs=6e-4)


@given(confidence=st.floats(0.5, 0.9999), degrees=st.integers(1, 200))
def test_quantile_undoes_the_share(confidence, degrees):
    """So much of the distribution as was asked for lies within the quantile."""
    assert share_within(two_sided_quantile(confidence, degrees), degrees) == pytest.approx(confidence)
