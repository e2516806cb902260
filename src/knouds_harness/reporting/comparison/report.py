"""The report of a comparison, and its files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final

from knouds_harness.contract.document import shipped_document
from knouds_harness.measures.objectives import describe, figure_text
from knouds_harness.reporting.check.fact_status import finding_groups
from knouds_harness.reporting.comparison.change import ChangeVerdict
from knouds_harness.reporting.comparison.check_comparison import CheckComparison, CheckFigures
from knouds_harness.reporting.comparison.load_comparison import LoadComparison, MeasureRow
from knouds_harness.reporting.comparison.load_figures import LoadFigures
from knouds_harness.reporting.comparison.texts import (
    Comparison,
    comparison_json,
    figure,
    gates_of,
    headline,
    interval_words,
    measure_name,
    noise_words,
    percent,
)
from knouds_harness.reporting.html import html
from knouds_harness.reporting.markdown import markdown
from knouds_harness.reporting.report import (
    EVERYWHERE,
    ON_PAGES,
    TERMINAL,
    Block,
    Code,
    Column,
    FindingGroup,
    Findings,
    Heading,
    Items,
    Medium,
    Report,
    Section,
    Table,
    Text,
    Tone,
    Words,
    badge,
    pieces_of,
)
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import write_stored

_TONE_BY_VERDICT: Final[dict[ChangeVerdict, Tone]] = {
    ChangeVerdict.WORSE: "bad",
    ChangeVerdict.BETTER: "good",
    ChangeVerdict.SAME: "plain",
    ChangeVerdict.NO_EVIDENCE: "warn",
}
_MOST_LINES: Final = 5
_FEW: Final = 2
_MOST_FINDINGS: Final = 20
_PAGE: Final = "compare.html"


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write the page, a comment for a pull request, and JSON; return the path of the page."""
    report = comparison_report(comparison)
    texts = {_PAGE: html(report), "compare.md": markdown(report), "compare.json": comparison_json(comparison)}
    for name, text in texts.items():
        write_stored(folder / name, text.encode(errors="backslashreplace"))
    return folder / _PAGE


def comparison_report(comparison: Comparison) -> Report:
    verdict = headline(comparison)
    if isinstance(comparison, LoadComparison):
        subject, sections, left_out = comparison.scenario, _of_load(comparison), comparison.left_out
    else:
        subject, sections, left_out = comparison.candidate.target, _of_checks(comparison), ()
    return Report(
        headline=verdict,
        file=_PAGE,
        subject=Code(subject),
        notes=[
            *(each for each in comparison.notes if each not in verdict.detail),
            *(f"left out: {each}" for each in left_out if each not in verdict.detail),
        ],
        sections=[*sections, _runs(comparison)],
    )


def _change_table(rows: Sequence[MeasureRow], label: str, *, shown: frozenset[Medium]) -> Table:
    """Make a table of rows of a load comparison; gates are bold. A terminal has those of all operations."""
    return Table(
        label,
        (
            Column("Verdict"),
            Column("Operation", shown=TERMINAL),
            Column("Measure", is_name=True),
            *_ranked({"Baseline": 3, "Now": 2, "Change": 0, "Interval": 1}),
            *_ranked({"Tolerated": 6, "Run to run": 5, "Would show": 4}),
        ),
        [_cells(row) for row in rows],
        strong=[number for number, row in enumerate(rows) if row.is_gate],
        most={"terminal": _MOST_LINES},
        more="gates",
        shown=shown,
    )


def _ranked(ranks: Mapping[str, int]) -> list[Column]:
    return [Column(heading, is_number=True, rank=rank) for heading, rank in ranks.items()]


def _cells(row: MeasureRow) -> tuple[Words, ...]:
    name = (
        badge(row.verdict.value, _TONE_BY_VERDICT[row.verdict]),
        Code(row.operation),
        measure_name(row),
        figure(row, row.baseline),
        figure(row, row.candidate),
    )
    change = row.change
    if change is None:
        return (*name, row.reason)
    return (
        *name,
        percent(row, change.estimate),
        interval_words(row),
        percent(row, row.tolerance, signed=False),
        noise_words(row, change),
        percent(row, change.visible, signed=False),
    )


def _of_load(comparison: LoadComparison) -> Iterator[Section]:
    if comparison.newly_broken:
        lines: list[Words] = [(badge("broken", "bad"), " ", Code(fact)) for fact in comparison.newly_broken]
        title = "Broken under load, and not so before"
        yield Section("broken", title, [_listed("broken under load", lines)], name="Broken")
    if comparison.missed:
        lines = [
            (badge("missed", "bad"), " ", describe(each), *((" ", Code(each.fact)) if each.fact else ()))
            for each in comparison.missed
        ]
        yield Section("missed", "Objectives missed", [_listed("objective", lines)])
    if rows := comparison.rows:
        key = (
            "Gates are bold: one that is worse fails the comparison. The confidence of all gates together is "
            f"99 %, that of each interval {100 * comparison.confidence:.2f} %. `Run to run` is how far one "
            "run is from the next by itself, `would show` the smallest worsening that such data shows four "
            "times in five."
        )
        blocks: list[Block] = [Text(key, is_quiet=True, shown=ON_PAGES)]
        for operation, mine in groupby(rows, key=lambda row: row.operation):
            blocks.append(Heading(operation))
            blocks.append(_change_table(list(mine), f"Changes of {operation}", shown=ON_PAGES))
        blocks.append(_change_table(gates_of(rows), "Gates", shown=TERMINAL))
        yield Section("changes", "Changes", blocks)
    if comparison.counters:
        yield Section("counters", "Counters", [counter_table(comparison)])


def counter_table(comparison: LoadComparison) -> Table:
    """What the scenario counted on each side: whether more is better is not known, so there is no verdict."""
    columns = (Column("Counter", is_name=True), *_ranked({"Baseline": 0, "Now": 0}))
    rows: list[tuple[Words, ...]] = [
        (Code(name), *(figure_text("per_s", each) for each in sides))
        for name, sides in comparison.counters.items()
    ]
    return Table("Counters", columns, rows)


def _of_checks(comparison: CheckComparison) -> Iterator[Section]:
    for id_, title, label, findings, in_terminal in (
        ("regressions", "New, and fails the run", "new", comparison.regressions, _MOST_LINES),
        ("new", "New, and fails nothing", "new, fails nothing", comparison.new, _FEW),
        ("gone", "Gone: tested again, and not seen", "gone", comparison.gone, _FEW),
        ("unseen", "Not looked for: not tested this time", "", comparison.not_looked_for, 0),
        ("still", "Still there", "", comparison.still, 0),
    ):
        if findings:
            yield _found(id_, f"{title} ({len(findings)})", label, findings, in_terminal=in_terminal)
    if comparison.lost:
        title = f"Verified before, and not tested now ({len(comparison.lost)})"
        lost = _listed("not tested any more", comparison.lost_with_reasons)
        yield Section("lost", title, [lost], name="Not tested now")
    if comparison.facts:
        columns = (Column("Fact", is_name=True), Column("Before"), Column("Now"))
        rows: list[tuple[Words, ...]] = [
            (Code(fact), *(badge(each.label, each.tone) for each in statuses))
            for fact, statuses in comparison.facts.items()
        ]
        table = Table("Facts that changed", columns, rows, shown=ON_PAGES)
        yield Section("facts", "Facts that changed", [table])


def _listed(label: str, lines: Sequence[Words]) -> Items:
    return Items(lines, label=label, most={"terminal": _MOST_LINES})


def _found(id_: str, title: str, label: str, findings: Sequence[Finding], *, in_terminal: int) -> Section:
    block = Findings(
        groups=[_with_sentence(each) for each in finding_groups(findings, {})],
        label=label,
        most={"terminal": in_terminal, "markdown": _MOST_FINDINGS},
        shown=EVERYWHERE if in_terminal else ON_PAGES,
    )
    return Section(id_, title, [block], name=title.partition(":")[0].partition(" (")[0])


def _with_sentence(group: FindingGroup) -> FindingGroup:
    fact = shipped_document().facts.get(group.name)
    if fact is None:  # the user's own
        return group
    about = [(Code(fact.id), " · ", *pieces_of(line)) for line in group.about]
    return replace(group, title=fact.says, about=about)


def _runs(comparison: Comparison) -> Section:
    sides: list[tuple[str, LoadFigures | CheckFigures]]
    if isinstance(comparison, LoadComparison):
        sides = [("baseline", run) for run in comparison.baseline]
        sides += [("candidate", run) for run in comparison.candidate]
    else:
        sides = [("baseline", comparison.baseline), ("candidate", comparison.candidate)]
    rows = [
        (
            side,
            Code(run.run),
            (run.target, " at ", Code(run.base_url)),
            f"{run.started_at:%d %B %Y, %H:%M UTC}",
            str(run.plan.seed) if isinstance(run, LoadFigures) else run.document_version,
        )
        for side, run in sides
    ]
    last = "Seed" if isinstance(comparison, LoadComparison) else "Contract"
    headings = ("Side", "Run", "Target", "Started", last)
    columns = [Column(each, is_name=each == "Run") for each in headings]
    return Section("runs", "Runs", [Table("Runs", columns, rows, shown=ON_PAGES)])
