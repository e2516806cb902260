"""The operation by persona matrix as a table."""

import pytest
from run_records import TARGET, start

from knouds_harness.reporting.check.matrix import CellStatus, matrix_of
from knouds_harness.runs.record import read_run


@pytest.fixture
def matrix_with(tmp_path):
    """The matrix of a run with these cells: operation, persona, expected, ok."""

    def matrix_with(*cells):
        with start(tmp_path) as writer:
            for operation, persona, expected, ok in cells:
                writer.add_cell(
                    operation=operation,
                    persona=persona,
                    expected=expected,
                    observed="200",
                    ok=ok,
                    exchange_id=f"x-{ok}",
                )
            writer.finish("kept", 0)
        return matrix_of(read_run(writer.folder))

    return matrix_with


@pytest.mark.parametrize(
    ("tries", "status"),
    [
        ([("admitted", True)], CellStatus.ADMITTED),
        ([("denied", True), ("denied", True)], CellStatus.DENIED),
        ([("admitted", True), ("denied", True)], CellStatus.BOTH),
        ([("admitted", True), ("denied", False)], CellStatus.WRONG),
    ],
)
def test_status_of_a_cell(matrix_with, tries, status):
    matrix = matrix_with(*[("runModel", "bound-model", *each) for each in tries])

    assert matrix.rows[0].cells[0].status is status


def test_wrong_try_is_the_one_that_is_linked(matrix_with):
    matrix = matrix_with(("getWhoami", "full", "admitted", True), ("getWhoami", "full", "admitted", False))

    assert matrix.rows[0].cells[0].exchange_id == "x-False"
    assert matrix.rows[0].cells[0].words == "full, getWhoami: 200, should be admitted (and 1 more)"


def test_keys_made_for_the_run_share_the_last_row(matrix_with):
    generated = [("getWhoami", f"minted-{number}", "admitted", True) for number in range(100)]

    matrix = matrix_with(*generated, ("getWhoami", "none", "admitted", True))

    assert [row.name for row in matrix.rows] == ["none", "100 keys made for this run"]
    assert matrix.tries == 101


def test_columns_follow_the_document_and_rows_the_profile(matrix_with):
    matrix = matrix_with(("listUsage", "admin", "admitted", True), ("getWhoami", "full", "admitted", True))

    assert matrix.operations == ("getWhoami", "listUsage")
    assert [[cell is not None for cell in row.cells] for row in matrix.rows] == [[True, False], [False, True]]
    assert set(matrix.left_out) == set(TARGET.personas) - {"full", "admin"}
