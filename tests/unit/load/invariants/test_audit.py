"""The runs of an account compared with its usage rows."""

from collections import Counter

import pytest

from knouds_harness.load.invariants.audit import UsageRows, compare
from knouds_harness.load.invariants.observations import ObservedRun
from knouds_harness.load.invariants.tallies import HAS_A_ROW, IS_CHARGED, Tallies

PORTRAIT, CLIP = "workflows/portrait", "models/seedance"


def broken(runs, costs):
    tallies = Tallies()
    counts = {resource: Counter(rows) for resource, rows in costs.items()}
    compare(tallies, {ObservedRun("ada", *run): count for run, count in runs.items()}, counts)
    found = tallies.by_promise
    return found[HAS_A_ROW].broken, found[IS_CHARGED].broken


ROWS = {
    "equal": ({(PORTRAIT, 8.0): 3}, {PORTRAIT: [8.0] * 3}, (0, 0)),
    "others ran too": ({(PORTRAIT, 8.0): 3}, {PORTRAIT: [8.0] * 5}, (0, 0)),
    "one row lacks": ({(PORTRAIT, 8.0): 3}, {PORTRAIT: [8.0] * 2}, (1, 0)),
    "rows of another": ({(PORTRAIT, 8.0): 3}, {CLIP: [8.0] * 3}, (3, 0)),
    "one row is free": ({(PORTRAIT, 8.0): 3}, {PORTRAIT: [8.0, 8.0, 0.0]}, (0, 1)),
    "of some no cost was told": (
        *({(PORTRAIT, 8.0): 2, (PORTRAIT, None): 1}, {PORTRAIT: [8.0, 8.0, 70.0]}, (0, 0)),
    ),
    "a grant paid": ({(PORTRAIT, 0.0): 2}, {PORTRAIT: [8.0, 8.0]}, (0, 0)),
    "one row costs more": (
        *({(PORTRAIT, 8.0): 1, (CLIP, 70.0): 1}, {PORTRAIT: [8.0], CLIP: [71.0]}, (0, 1)),
    ),
}


@pytest.mark.parametrize(("runs", "costs", "expected"), ROWS.values(), ids=ROWS)
def test_each_run_has_a_row_that_costs_as_much(runs, costs, expected):
    assert broken(runs, costs) == expected


def test_row_on_two_pages_counts_once():
    """UsageRows move to later pages as new ones come; rows from before the load do not count."""
    rows = UsageRows()
    row = {"id": 7, "workflowSlug": "portrait", "creditsCost": 8}

    rows.add([row, {**row, "id": 8}], known={"8"})
    rows.add([row], known={"8"})

    assert rows.costs == {PORTRAIT: {8.0: 1}}
