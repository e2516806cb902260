"""What a run may cost is the smaller of what the profile and the command line say."""

import pytest

from knouds_harness.targets.limits import Limits


@pytest.mark.parametrize(("asked", "most"), [(None, 100), (20, 20), (0, 0), (5000, 100)])
def test_smaller_of_two_limits_counts(asked, most):
    """Also where nothing may be spent."""
    assert Limits(credits=100).spending(asked, by="--credits").credits == most
