"""Whether a run was steady is said, with what to do about it."""

from __future__ import annotations

import pytest
from load_records import load_results

from knouds_harness.reporting.load.headline import describe_steadiness


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
