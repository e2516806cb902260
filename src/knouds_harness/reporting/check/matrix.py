"""The operation by persona matrix as a table: one cell for all tries of one key on one operation."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from knouds_harness.runs.header import RunPersona
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.results import Cell


class CellStatus(StrEnum):
    ADMITTED = "admitted"
    DENIED = "denied"
    BOTH = "both"
    WRONG = "wrong"


@dataclass(frozen=True, kw_only=True)
class MatrixCell:
    """All tries of one key, or of all keys of one row, on one operation; the wrong ones first."""

    operation: str
    row: str
    tries: tuple[Cell, ...]

    @property
    def status(self) -> CellStatus:
        """What the documents say of it, unless the server did something else."""
        if not all(each.ok for each in self.tries):
            return CellStatus.WRONG
        expected = {each.expected for each in self.tries}
        return CellStatus.BOTH if len(expected) > 1 else CellStatus(expected.pop())

    @property
    def exchange_id(self) -> str | None:
        return self.tries[0].exchange_id

    @property
    def words(self) -> str:
        """What it shows, for a tooltip and for people who do not see colours."""
        first = self.tries[0]
        more = f" (and {len(self.tries) - 1} more)" if len(self.tries) > 1 else ""
        fits = "as documented" if first.ok else f"should be {first.expected}"
        return f"{self.row}, {self.operation}: {first.observed}, {fits}{more}"


@dataclass(frozen=True, kw_only=True)
class MatrixRow:
    """One key; ``persona`` is None for the last row, of all keys that were made for the run."""

    name: str
    persona: RunPersona | None
    cells: tuple[MatrixCell | None, ...]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """The table.

    Attributes:
        left_out: Keys of the profile that were not.
    """

    operations: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    left_out: tuple[str, ...]

    @property
    def tries(self) -> int:
        """How many cells were tried, those behind one another counted one by one."""
        return sum(len(cell.tries) for row in self.rows for cell in row.cells if cell)


def matrix_of(record: RunRecord) -> Matrix:
    personas = record.setup.target.personas
    tries: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    made_for_the_run = set()
    for cell in record.cells:
        if cell.persona not in personas:
            made_for_the_run.add(cell.persona)
        tries[cell.persona if cell.persona in personas else "", cell.operation].append(cell)
    tried = {operation for _, operation in tries}
    operations = tuple(operation for operation in record.setup.operations if operation in tried)
    rows = [
        _row(name, name, persona, operations, tries)
        for name, persona in personas.items()
        if any(row == name for row, _ in tries)
    ]
    if made_for_the_run:
        title = f"{len(made_for_the_run)} keys made for this run"
        rows.append(_row("", title, None, operations, tries))
    shown = {row.name for row in rows}
    return Matrix(
        operations=operations,
        rows=tuple(rows),
        left_out=tuple(name for name in personas if name not in shown),
    )


def _row(
    key: str,
    name: str,
    persona: RunPersona | None,
    operations: Sequence[str],
    tries: dict[tuple[str, str], list[Cell]],
) -> MatrixRow:
    return MatrixRow(
        name=name,
        persona=persona,
        cells=tuple(
            MatrixCell(
                operation=operation,
                row=name,
                tries=tuple(sorted(tries[key, operation], key=lambda cell: cell.ok)),
            )
            if (key, operation) in tries
            else None
            for operation in operations
        ),
    )
