"""A fingerprint names the same finding in every run; which findings fail a run."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import exchange, finding

from knouds_harness.contract.operations import Fact, Source
from knouds_harness.runs.findings import Verdict, fails_run, fingerprint, verdict_for

PARTS: dict[str, Any] = {
    "check": "schemas.body",
    "fact": "usage.row-shape",
    "operation": "listUsage",
    "where": "/rows/0/cost",
    "status": 200,
    "code": None,
}


def test_fingerprint_never_changes():
    """Waivers hold it: the same parts must always give the same digits."""
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
def test_every_part_changes_the_fingerprint(other):
    assert fingerprint(**{**PARTS, **other}) != fingerprint(**PARTS)


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


@pytest.mark.parametrize(
    ("source", "conflict", "verdict"),
    [
        (Source.OVERVIEW, None, Verdict.BREACH),
        (Source.DOCS, None, Verdict.BREACH),
        (Source.ASSUMED, None, Verdict.ASSUMPTION),
        (Source.OVERVIEW, "docs: the opposite", Verdict.CONFLICT),
    ],
)
def test_verdict_follows_from_the_source_of_the_fact(source, conflict, verdict):
    assert verdict_for(Fact(id="a.b", says="It is so.", source=source, conflict=conflict)) is verdict


@pytest.mark.parametrize(
    ("verdict", "fails", "fails_strictly"),
    [
        (Verdict.BREACH, True, True),
        (Verdict.CONFLICT, True, True),
        (Verdict.ASSUMPTION, False, True),
        (Verdict.CONTRADICTION, True, True),
        (Verdict.ADDITIVE, False, False),
        (Verdict.UNTESTED, False, False),
    ],
)
def test_assumptions_fail_only_a_strict_run_and_what_is_waived_fails_none(verdict, fails, fails_strictly):
    assert fails_run(verdict, strict=False, is_waived=False) is fails
    assert fails_run(verdict, strict=True, is_waived=False) is fails_strictly
    assert not fails_run(verdict, strict=True, is_waived=True)
