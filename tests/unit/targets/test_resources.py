"""A waiver accepts what it names and nothing else, until it expires."""

from datetime import date
from typing import Any

import pytest

from knouds_harness.targets.resources import Waiver

FINDING: dict[str, Any] = {
    "fingerprint": "0123456789ab",
    "check": "envelopes.code",
    "fact": "envelope.plain-401-has-code",
    "operation": "getWhoami",
    "status": 401,
    "code": None,
}


def waiver(**names: Any) -> Waiver:
    return Waiver(reason="known", expires=date(2027, 6, 30), **names)


@pytest.mark.parametrize(
    ("names", "is_matched"),
    [
        ({"fingerprint": "0123456789ab"}, True),
        ({"fingerprint": "ffffffffffff"}, False),
        ({"fact": "envelope.plain-401-has-code"}, True),
        ({"fact": "envelope.unknown-workflow-404-has-code"}, False),
        ({"check": "envelopes.code", "operation": "getWhoami"}, True),
        ({"check": "envelopes.code", "operation": "getWorkflow"}, False),
        ({"check": "envelopes.code", "operation": "getWhoami", "status": 401, "code": ""}, True),
        ({"check": "envelopes.code", "operation": "getWhoami", "status": 404}, False),
        ({"check": "envelopes.code", "operation": "getWhoami", "code": "UNAUTHORIZED"}, False),
    ],
)
def test_waiver_matches_what_it_names(names: dict[str, Any], *, is_matched: bool):
    """A fingerprint, a fact, or a check and operation; an empty code means no code."""
    assert waiver(**names).matches(**FINDING) == is_matched


def test_waiver_is_valid_on_its_last_day():
    assert not waiver(fact="x").is_expired(date(2027, 6, 30))
    assert waiver(fact="x").is_expired(date(2027, 7, 1))


def test_waiver_is_printed_as_what_it_names():
    assert str(waiver(fact="x.y", status=401)) == "fact x.y, status 401"
