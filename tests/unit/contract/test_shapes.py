"""Shapes: how a mismatch is described, and large bodies; tests/mutants shows which fact each one breaks."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Source
from knouds_harness.contract.shapes import Mismatch, as_json, body_facts, body_mismatches

DOCUMENT = shipped_document()
OPERATION = DOCUMENT.operation_by_id
ADA = {"id": "usr_ada", "email": "ada@example.com", "role": "user", "tier": "pro", "approved": True}
USAGE = OPERATION["listUsage"].responses[200].examples["ada"]
WRONG_ROWS = """
from pathlib import Path

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.shapes import body_mismatches

document = shipped_document()
wrong = {"rows": [{"id": "x"} for _ in range(20_000)], "page": 1, "pageSize": 50, "total": 1}
assert body_mismatches(document.operation_by_id["listUsage"], 200, wrong)
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


def json_values():
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )


def test_mismatch_has_place_values_and_fact():
    found = body_mismatches(OPERATION["getWhoami"], 200, {"user": ADA | {"role": "owner"}})

    assert found == [
        Mismatch(
            fact="whoami.role-closed",
            source=Source.DOCS,
            where="/user/role",
            expected='one of ["user", "admin"]',
            observed='"owner"',
        )
    ]


@pytest.mark.parametrize("place", [0, 999, 1_000, 4_321])
def test_mismatch_is_found_anywhere_in_a_long_list(place):
    rows = [*USAGE["rows"] * 5_000][:5_000]
    rows[place] = rows[place] | {"creditsCost": "12"}

    found = body_mismatches(OPERATION["listUsage"], 200, USAGE | {"rows": rows})

    assert {mismatch.where for mismatch in found} == {"/rows", "/rows/*/creditsCost"}


@pytest.mark.parametrize(("row", "place"), [(0, 0), (0, 99), (50, 99)])
def test_mismatch_is_found_in_lists_within_a_long_list(row, place):
    rows = [each | {"modelIds": ["gpt-image-2"] * 100} for each in (USAGE["rows"] * 100)[:100]]
    rows[row]["modelIds"][place] = 7

    found = body_mismatches(OPERATION["listUsage"], 200, USAGE | {"rows": rows})

    assert [mismatch.where for mismatch in found] == ["/rows/*/modelIds/*"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its own peak")
def test_memory_for_wrong_items_is_bounded():
    """The validator lists all errors of its input: for these rows that took over 700 MB."""
    process = subprocess.run([sys.executable, "-c", WRONG_ROWS], capture_output=True, check=True)

    assert int(process.stdout) < 300_000


@given(operation=st.sampled_from(DOCUMENT.operations), body=json_values(), data=st.data())
def test_any_body_is_judged(operation, body, data):
    """Broken facts are among those that apply, and those are facts of the response."""
    status = data.draw(st.sampled_from(sorted(operation.responses)))

    broken = {mismatch.fact for mismatch in body_mismatches(operation, status, body)}

    assert broken <= body_facts(operation, status, body) <= set(operation.responses[status].facts)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        ("queued", '"queued"'),
        ({"größe": [1.5]}, '{"größe": [1.5]}'),
        ("a" * 500, f'"{"a" * 79}…'),
    ],
)
def test_value_is_shown_as_json_and_shortened(value, shown):
    assert as_json(value) == shown
