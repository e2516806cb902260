"""The figures of a check: who may do what, and the status of each fact."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from knouds_harness.printable import counted
from knouds_harness.reporting.check.fact_status import FactRow, FactStatus, status_counts
from knouds_harness.reporting.report import HTML, MARKDOWN, Block, Column, Figure, Section, Table, Text
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.run_file import Cell


@dataclass(frozen=True, kw_only=True)
class MatrixCell:
    """All tries of one key, or of all keys of one row, on one operation; the wrong ones first."""

    operation: str
    row: str
    tries: tuple[Cell, ...]

    @property
    def status(self) -> str:
        """What the document expects, ``admitted``, ``denied`` or ``both``; ``wrong`` if not all was so."""
        if not all(each.ok for each in self.tries):
            return "wrong"
        expected = {each.expected for each in self.tries}
        return "both" if len(expected) > 1 else expected.pop()

    @property
    def exchange_id(self) -> str | None:
        return self.tries[0].exchange_id

    @property
    def words(self) -> str:
        """Its text, for a tooltip and for people who do not see colours."""
        first = self.tries[0]
        more = f" (and {len(self.tries) - 1} more)" if len(self.tries) > 1 else ""
        fits = "as documented" if first.ok else f"should be {first.expected}"
        return f"{self.row}, {self.operation}: {first.observed}, {fits}{more}"


Matrix = Mapping[str, Mapping[str, MatrixCell]]
"""Cells by key and operation; the last row is of all keys that were made for the run."""


def matrix_of(record: RunRecord) -> Matrix:
    personas = record.setup.target.personas
    made = f"{len({each.persona for each in record.cells} - personas.keys())} keys made for this run"
    tries: dict[str, dict[str, list[Cell]]] = {row: defaultdict(list) for row in (*personas, made)}
    for each in sorted(record.cells, key=lambda each: each.ok):
        tries[each.persona if each.persona in personas else made][each.operation].append(each)
    return {
        row: {
            operation: MatrixCell(operation=operation, row=row, tries=tuple(found))
            for operation, found in by_operation.items()
        }
        for row, by_operation in tries.items()
        if by_operation
    }


def matrix_section(record: RunRecord, matrix: Matrix, linked: Collection[str]) -> Section:
    if not matrix:
        return Section("matrix", "Who may do what", [Text("No key was tried.", shown=HTML)])
    says = (
        f"Each key of the target on each operation, {counted(len(record.cells), 'try', 'tries')} in all: "
        "what the document says, and whether the server did it. A cell leads to its exchange."
    )
    personas = record.setup.target.personas
    left_out = ", ".join(name for name in personas if name not in matrix)
    tried = f"The table has active keys that were tried; others of the profile: {left_out}."
    tried_on = [each for each in record.setup.operations if any(each in row for row in matrix.values())]
    values = {"matrix": matrix, "operations": tried_on, "personas": personas, "linked": linked}
    blocks: list[Block] = [
        Text(says, shown=HTML),
        Figure("matrix.html.j2", values=values),
        *([Text(tried, is_quiet=True, shown=HTML)] if left_out else []),
    ]
    return Section("matrix", "Who may do what", blocks)


def facts_section(rows: Sequence[FactRow], found: Collection[str], linked: Collection[str]) -> Section:
    counts = {status: count for status, count in status_counts(rows).items() if count}
    return Section(
        "facts",
        "Facts",
        [
            Table(
                "Facts by status",
                [Column(status.label, is_number=True) for status in counts],
                [[str(count) for count in counts.values()]],
                shown=MARKDOWN,
            ),
            Text(
                "Every sentence of the contract that can be observed over HTTP, and its status after this "
                "run. `Recordings` counts answers recorded from the sandbox that show it, the last columns "
                "exchanges of this run.",
                shown=HTML,
            ),
            Figure(
                "facts.html.j2",
                values={
                    "areas": [(area, list(mine)) for area, mine in groupby(rows, key=lambda row: row.area)],
                    "statuses_of_area": _statuses,
                    "found": found,
                    "linked": linked,
                    "statuses": list(FactStatus),
                },
            ),
        ],
    )


def _statuses(rows: Iterable[FactRow]) -> str:
    counts = status_counts(rows).items()
    return ", ".join(f"{count} {status.label}" for status, count in counts if count)
