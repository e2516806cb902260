"""The figures of a check: who may do what, what was sent when, and the status of each fact."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.printable import counted
from knouds_harness.reporting.check.fact_status import FactRow, FactStatus, status_counts
from knouds_harness.reporting.report import HTML, MARKDOWN, Block, Column, Figure, Section, Table, Text
from knouds_harness.runs.findings import Finding, Verdict
from knouds_harness.runs.header import RunPersona
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.results import Cell

KINDS: Final = ("2xx", "4xx", "429", "5xx", "other", "none")
"""Kinds of responses; ``other`` is 1xx and 3xx, ``none`` no complete response."""
_COLUMNS: Final = 96
_COLUMNS_TO_A_MARK: Final = 4  # so wide that a finger can touch it


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


@dataclass(frozen=True, kw_only=True)
class MatrixRow:
    """One key; ``persona`` is None for the last row, of all keys that were made for the run."""

    name: str
    persona: RunPersona | None
    cells: tuple[MatrixCell | None, ...]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """The matrix of keys and operations.

    Attributes:
        left_out: Keys of the profile that were not tried.
    """

    operations: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    left_out: tuple[str, ...]

    @property
    def tries(self) -> int:
        """The number of tries; several in one cell count one by one."""
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
    rows: list[tuple[str, str, RunPersona | None]] = [(name, name, each) for name, each in personas.items()]
    rows.append(("", f"{len(made_for_the_run)} keys made for this run", None))
    tried_rows = {row for row, _ in tries}
    return Matrix(
        operations=operations,
        rows=tuple(
            MatrixRow(
                name=name,
                persona=persona,
                cells=tuple(
                    MatrixCell(
                        operation=operation, row=name, tries=tuple(sorted(found, key=lambda try_: try_.ok))
                    )
                    if (found := tries.get((key, operation)))
                    else None
                    for operation in operations
                ),
            )
            for key, name, persona in rows
            if key in tried_rows
        ),
        left_out=tuple(name for name in personas if name not in tried_rows),
    )


def matrix_section(matrix: Matrix, linked: Collection[str]) -> Section:
    if not matrix.rows:
        blocks: list[Block] = [Text("No key was tried.", shown=HTML)]
    else:
        says = (
            f"Each key of the target on each operation, {counted(matrix.tries, 'try', 'tries')} in all: what "
            "the document says, and whether the server did it. A cell leads to its exchange."
        )
        left_out = (
            "Not in the table, because no document says what they may do or because they were not tried: "
            f"{', '.join(matrix.left_out)}."
        )
        blocks = [
            Text(says, shown=HTML),
            Figure("matrix.html.j2", values={"matrix": matrix, "linked": linked}),
            *([Text(left_out, is_quiet=True, shown=HTML)] if matrix.left_out else []),
        ]
    return Section("matrix", "Who may do what", blocks)


@dataclass(frozen=True, kw_only=True)
class TimelineColumn:
    """The requests that were sent in one stretch of time.

    Attributes:
        counts: Requests by kind of response, without zeroes.
    """

    from_s: float
    counts: Mapping[str, int]

    @property
    def words(self) -> str:
        answers = ", ".join(f"{count:,} of {kind}" for kind, count in self.counts.items()) or "nothing"
        return f"from {self.from_s:.1f} s: {answers}"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Findings that were first seen at about the same time.

    Attributes:
        at_share: Its place on the time line, from 0 to 1.
    """

    at_share: float
    at_s: float
    findings: tuple[Finding, ...]
    fails: bool

    @property
    def words(self) -> str:
        """Its text, for a tooltip and for people who do not see where it stands."""
        facts = list(dict.fromkeys(finding.fact for finding in self.findings))
        more = f" and {len(facts) - 3} more facts" if len(facts) > 3 else ""
        return f"after {self.at_s:.1f} s, {len(self.findings)} first seen: {', '.join(facts[:3])}{more}"


@dataclass(frozen=True, kw_only=True)
class Timeline:
    step_s: float
    columns: tuple[TimelineColumn, ...]
    marks: tuple[Mark, ...]

    @property
    def most(self) -> int:
        """Requests in the fullest column."""
        return max(sum(column.counts.values()) for column in self.columns)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind in KINDS if any(kind in column.counts for column in self.columns))


def timeline_of(record: RunRecord) -> Timeline | None:
    """Lay the exchanges of a run out over time; None if there are none."""
    exchanges = record.exchange_by_id
    if not exchanges:
        return None
    began = min(exchange.started_at for exchange in exchanges.values())
    at_s = {each.id: (each.started_at - began).total_seconds() for each in exchanges.values()}
    step_s = max(max(at_s.values()) / _COLUMNS, 0.001)
    counts: list[Counter[str]] = [Counter() for _ in range(_COLUMNS)]
    for exchange in exchanges.values():
        counts[_column(at_s[exchange.id], step_s)][_kind(exchange)] += 1
    return Timeline(
        step_s=step_s,
        columns=tuple(
            TimelineColumn(from_s=number * step_s, counts={kind: of[kind] for kind in KINDS if of[kind]})
            for number, of in enumerate(counts)
        ),
        marks=tuple(_marks(record, at_s, step_s)),
    )


def _marks(record: RunRecord, at_s: Mapping[str, float], step_s: float) -> Sequence[Mark]:
    together: dict[int, list[Finding]] = defaultdict(list)
    for finding in record.findings:
        first_s = at_s.get(finding.exchange_id or "")
        if finding.verdict is not Verdict.ADDITIVE and first_s is not None:
            together[_column(first_s, step_s) // _COLUMNS_TO_A_MARK].append(finding)
    marks = []
    for _, found in sorted(together.items()):
        found.sort(key=lambda finding: at_s[finding.exchange_id or ""])
        first_s = at_s[found[0].exchange_id or ""]
        marks.append(
            Mark(
                at_share=min(first_s / (step_s * _COLUMNS), 1.0),
                at_s=first_s,
                findings=tuple(found),
                fails=any(record.fails(finding) for finding in found),
            )
        )
    return marks


def _column(at_s: float, step_s: float) -> int:
    return min(int(at_s / step_s), _COLUMNS - 1)


def _kind(exchange: Exchange) -> str:
    if exchange.status is None:
        return "none"
    if exchange.status == 429:
        return "429"
    kind = f"{exchange.status // 100}xx"
    return kind if kind in KINDS else "other"


def timeline_section(record: RunRecord) -> Iterator[Section]:
    timeline = timeline_of(record)
    if timeline:
        whole_s = timeline.step_s * len(timeline.columns)
        mark = " A mark leads to what was first seen then." if timeline.marks else ""
        yield Section(
            "timeline",
            "Time line",
            [
                Text(
                    f"Requests over {whole_s:.1f} s by how they were answered, at most "
                    f"{timeline.most:,} in {timeline.step_s:.2g} s.{mark}",
                    shown=HTML,
                ),
                Figure("timeline.html.j2", values={"timeline": timeline}),
            ],
        )


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
                "run. The counts are of the harness's recordings of it, and of the exchanges of this run "
                "that kept it and that did not.",
                shown=HTML,
            ),
            Figure(
                "facts.html.j2",
                values={
                    "areas": [(area, list(mine)) for area, mine in groupby(rows, key=lambda row: row.area)],
                    "area_standings": _standings,
                    "found": found,
                    "linked": linked,
                    "statuses": list(FactStatus),
                },
            ),
        ],
    )


def _standings(rows: Iterable[FactRow]) -> str:
    """Describe the status of the facts of one area, without zeroes."""
    counts = status_counts(rows).items()
    return ", ".join(f"{count} {status.label}" for status, count in counts if count)
