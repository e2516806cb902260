"""Fingerprints name the same finding in every run."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.runs.findings import fingerprint

PARTS: dict[str, Any] = {
    "check": "schemas.body",
    "fact": "usage.row-shape",
    "operation": "listUsage",
    "where": "/rows/0/cost",
    "status": 200,
    "code": None,
}


def test_fingerprint_is_known():
    """It stands in waivers: the same parts give the same twelve digits for ever."""
    assert fingerprint(**PARTS) == "d4957bc3578a"


@given(index=st.integers(0, 10**6))
def test_position_in_an_array_does_not_matter(index):
    """Which of several rows was wrong differs from run to run."""
    assert fingerprint(**{**PARTS, "where": f"/rows/{index}/cost"}) == fingerprint(**PARTS)


@pytest.mark.parametrize(
    "other",
    [
        {"check": "schemas.headers"},
        {"fact": "usage.page-shape"},
        {"operation": None},
        {"where": "/rows/0/userCost"},
        {"where": "/rows/0"},
        {"status": 201},
        {"status": None},
        {"code": "NOT_FOUND"},
    ],
    ids=str,
)
def test_every_part_matters(other):
    """Findings that differ in what is stable are different findings."""
    assert fingerprint(**{**PARTS, **other}) != fingerprint(**PARTS)


@given(where=st.text(), code=st.none() | st.text())
def test_fingerprint_is_twelve_hexadecimal_digits(where, code):
    """Whatever a server sends, a fingerprint can be written into a profile."""
    assert re.fullmatch("[0-9a-f]{12}", fingerprint(**{**PARTS, "where": where, "code": code}))
