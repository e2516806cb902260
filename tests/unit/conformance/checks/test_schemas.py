"""The checks of shapes that ask for more than the document's schemas do."""

import pytest
from exchanges import exchange, refusal

from knouds_harness.conformance.checks import schemas


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_success_says_created(status):
    """Which success a create is answered with is left open."""
    [claim] = schemas.round_trip.judge(exchange(status, {"slug": "harbour"}))

    assert claim.holds


def test_refused_round_trip_is_found():
    """A workflow as read has to be accepted by create."""
    [claim] = schemas.round_trip.judge(refusal(422, "INVALID_WORKFLOW"))

    assert not claim.holds
