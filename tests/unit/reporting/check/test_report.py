"""Parts of a check's report: the matrix of keys and operations, the families of tests."""

from dataclasses import replace

import pytest
from run_records import TARGET, healthy

from knouds_harness.reporting.check.fact_status import family_rows
from knouds_harness.reporting.check.figures import matrix_of, matrix_section
from knouds_harness.reporting.report import Figure
from knouds_harness.runs.run_file import Cell, CheckTests


@pytest.fixture
def matrix_with(record_of):
    def matrix_with(*tries):
        cells = (
            Cell(
                operation=operation,
                persona=persona,
                expected=expected,
                observed="200",
                ok=ok,
                exchange_id=f"x-{ok}",
            )
            for operation, persona, expected, ok in tries
        )
        record = replace(record_of(healthy), cells=tuple(cells))
        section = matrix_section(record, matrix_of(record), ())
        return next(block.values for block in section.blocks if isinstance(block, Figure)), section

    return matrix_with


def cells(shown):
    return [cell for row in shown["matrix"].values() for cell in row.values()]


@pytest.mark.parametrize(
    ("tries", "status"),
    [
        ([("admitted", True)], "admitted"),
        ([("denied", True), ("denied", True)], "denied"),
        ([("admitted", True), ("denied", True)], "both"),
        ([("admitted", True), ("denied", False)], "wrong"),
    ],
)
def test_status_of_a_cell(matrix_with, tries, status):
    shown, _ = matrix_with(*[("runModel", "bound-model", *each) for each in tries])

    assert [cell.status for cell in cells(shown)] == [status]


def test_cell_links_to_the_wrong_try(matrix_with):
    shown, _ = matrix_with(("getWhoami", "full", "admitted", True), ("getWhoami", "full", "admitted", False))

    [cell] = cells(shown)
    assert cell.exchange_id == "x-False"
    assert cell.words == "full, getWhoami: 200, should be admitted (and 1 more)"


def test_keys_minted_for_the_run_share_the_last_row(matrix_with):
    generated = [("getWhoami", f"minted-{number}", "admitted", True) for number in range(100)]

    shown, _ = matrix_with(*generated, ("getWhoami", "none", "admitted", True))

    tries = {name: len(row["getWhoami"].tries) for name, row in shown["matrix"].items()}
    assert list(tries.items()) == [("none", 1), ("100 keys made for this run", 100)]


def test_columns_follow_the_document_and_rows_the_profile(matrix_with):
    shown, section = matrix_with(
        ("listUsage", "admin", "admitted", True), ("getWhoami", "full", "admitted", True)
    )

    assert shown["operations"] == ["getWhoami", "listUsage"]
    rows = [(name, *row) for name, row in shown["matrix"].items()]
    assert rows == [("full", "getWhoami"), ("admin", "listUsage")]
    left_out = [name for name in TARGET.personas if name not in ("full", "admin")]
    assert section.blocks[-1].words.endswith(f"others of the profile: {', '.join(left_out)}.")


def test_families_count_passed_failed_and_skipped(record_of):
    tests = (
        CheckTests(check="workflows.list", operation=None, passed=2, failed=1, duration_s=3.0),
        CheckTests(check="workflows.read", operation="getWorkflow", skipped=4),
        CheckTests(check="usage.page", operation=None, passed=1, duration_s=0.5),
    )

    rows = family_rows(replace(record_of(healthy), tests=tests))

    assert [(row.check, row.passed, row.failed, row.skipped, row.duration_s) for row in rows] == [
        ("workflows", 2, 1, 4, 3.0),
        ("usage", 1, 0, 0, 0.5),
    ]
