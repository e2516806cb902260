"""Fingerprints name the same finding in every run."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import exchange, finding

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
    """Waivers hold it: the same parts give the same digits for ever."""
    assert fingerprint(**PARTS) == "d4957bc3578a"


@given(index=st.integers(0, 10**6))
def test_position_in_an_array_does_not_matter(index):
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
    assert fingerprint(**{**PARTS, **other}) != fingerprint(**PARTS)


@given(where=st.text(), code=st.none() | st.text())
def test_fingerprint_is_twelve_hexadecimal_digits(where, code):
    assert re.fullmatch("[0-9a-f]{12}", fingerprint(**{**PARTS, "where": where, "code": code}))


@pytest.mark.parametrize(("earlier", "later", "kept"), [(3, 2, 2), (2, 3, 2), (0, 2, 0)])
def test_shorter_sequence_is_kept(earlier, later, kept):
    shown = exchange(1, "getWhoami")
    one, other = (
        replace(finding(shown, "whoami.user-object"), steps=tuple("abc"[:length]), script="x" * length)
        for length in (earlier, later)
    )

    shorter = one.shorter_of(other)

    assert len(shorter.steps) == kept
    assert shorter.count == 2


def test_what_to_paste_is_the_script_where_there_is_one():
    one = finding(exchange(1, "getWhoami"), "whoami.user-object")

    assert one.reproduction == one.curl
    assert replace(one, script="sh").reproduction == "sh"
