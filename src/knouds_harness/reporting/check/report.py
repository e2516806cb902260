"""The report of a check: the verdict, the findings, and the status of every fact."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.printable import counted
from knouds_harness.reporting.check import fact_status
from knouds_harness.reporting.check.evidence import ShownEvidence, evidence_of
from knouds_harness.reporting.check.figures import (
    Matrix,
    facts_section,
    matrix_of,
    matrix_section,
    timeline_section,
)
from knouds_harness.reporting.check.headline import headline
from knouds_harness.reporting.comparison.baseline import RunChange, change_section, check_change_blocks
from knouds_harness.reporting.comparison.check_comparison import CheckComparison
from knouds_harness.reporting.report import (
    HTML,
    IN_TEXT,
    ON_PAGES,
    TERMINAL,
    Block,
    Code,
    Column,
    Figure,
    FindingGroup,
    Findings,
    Folded,
    Items,
    Link,
    Medium,
    Report,
    Section,
    Table,
    Text,
    Tone,
    Words,
    badge,
    numbers,
)
from knouds_harness.reporting.run_section import evidence_section, run_section
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.results import cost_words

_MOST_FINDINGS_WITH_EVIDENCE: Final = 200
_MOST_CONTRADICTIONS_WITH_EVIDENCE: Final = 50
_MOST_DRIFT_WITH_EVIDENCE: Final = 50
_MOST_EVIDENCE_OF_CELLS: Final = 600
_UNFOLDED: Final = 5
_MOST_FINDINGS: Final[dict[Medium, int]] = {"terminal": 5, "markdown": 20}
_MOST_MISSING: Final[dict[Medium, int]] = {"terminal": 3}
_MOST_DRIFT: Final[dict[Medium, int]] = {"terminal": 3, "markdown": 20}
_TONE_BY_WAIVER: Final[dict[str, Tone]] = {
    "used": "note",
    "unused": "warn",
    "not selected": "note",
    "expired": "warn",
}


def check_report(record: RunRecord, change: RunChange | None = None, *, only_new: bool = False) -> Report:
    """Make the report of a check, with what changed against its baseline, if it has one.

    With ``only_new``, what the baseline had, too, and what does not fail the run, is left out.
    """
    rows = fact_status.fact_rows(record)
    compared = change.comparison if change and isinstance(change.comparison, CheckComparison) else None
    known = compared.known if compared else None
    waiting = fact_status.untested_rows(record)
    drift = sorted(fact_status.drift_of(record), key=lambda each: _is_known(each.findings, known))
    groups = fact_status.findings_by_fact(record)
    groups.sort(key=lambda group: (not record.fails(group.findings[0]), _is_known(group.findings, known)))
    if only_new and compared:
        groups = [
            each for each in groups if record.fails(each.findings[0]) or not _is_known(each.findings, known)
        ]
        drift = [each for each in drift if not _is_known(each.findings, known)]
        waiting = compared.newly_missing(waiting)
    matrix = matrix_of(record)
    evidence = _Evidence(record, drift, matrix)
    setup, target = record.setup, record.setup.target
    verdict = headline(record, rows, change)
    counts = record.counts
    words = cost_words(counts.cost_credits, counts.usage)
    cost = f", {words}" if words else ""
    seed = f", seed {setup.seed}" if setup.command else ""
    said = "" if record.note == verdict.title else record.note
    lost = record.missing_exchanges
    says_lost = f"The evidence of {counted(lost, 'exchange')} is not in exchanges.har."
    sections = [
        _findings(record, groups, evidence),
        *_change(change),
        *([_drift(drift, evidence, known)] if drift else []),
        matrix_section(matrix, lambda: evidence.linked),
        *([facts_section(rows, {group.name for group in groups}, lambda: evidence.linked)] if rows else []),
        *timeline_section(record),
        *([_untested(record, rows, waiting)] if rows else []),
        *_families(record),
        *_waivers(record),
        run_section(record, _run(record), again_on="the same keys and resources"),
        *_evidence_of_cells(evidence),
    ]
    return Report(
        headline=verdict,
        file="report.html",
        subject=Code(target.name),
        about=f"{record.started_at:%Y-%m-%d %H:%M UTC} · {counted(counts.exchanges, 'exchange')} in "
        f"{record.duration_s:.1f} s{cost}{seed}",
        notes=[*filter(None, [said]), *record.gaps, *([says_lost] if lost else [])],
        sections=sections,
        tiles=[
            (count, status.label, status.value, status.tone)
            for status, count in fact_status.status_counts(rows).items()
        ]
        if rows
        else (),
        origin=f"knouds-harness {setup.tool_version}, with document {setup.document.version} "
        f"({setup.document.sha256[:12]}), from {record.folder.resolve().name}",
        scripts=("report.js",),
    )


def _is_known(findings: Sequence[Finding], known: Collection[str] | None) -> bool:
    """Return whether the baseline had all of these findings; there is none if ``known`` is None."""
    return known is None or all(each.fingerprint in known for each in findings)


def only_failing(report: Report, record: RunRecord) -> Report:
    """Reduce the report of a check to what fails it, and what changed against its baseline."""

    def failing(block: Block) -> Block:
        if not isinstance(block, Findings):
            return block
        return replace(block, groups=[each for each in block.groups if record.fails(each.findings[0])])

    kept = [each for each in report.sections if each.id in ("findings", "change")]
    return replace(
        report, sections=[replace(each, blocks=[failing(block) for block in each.blocks]) for each in kept]
    )


class _Evidence:
    """The exchanges that the page of a run shows, computed only if HTML is made."""

    def __init__(self, record: RunRecord, drift: Sequence[fact_status.Drift], matrix: Matrix) -> None:
        self.record = record
        self._drift = drift
        self._matrix = matrix

    @cached_property
    def of_findings(self) -> ShownEvidence:
        record = self.record
        about_facts = [each for group in fact_status.findings_by_fact(record) for each in group.findings]
        shown = [
            *fact_status.contradictions_of(record)[:_MOST_CONTRADICTIONS_WITH_EVIDENCE],
            *about_facts[:_MOST_FINDINGS_WITH_EVIDENCE],
            *(each.findings[0] for each in self._drift[:_MOST_DRIFT_WITH_EVIDENCE]),
        ]
        views = {
            each.fingerprint: evidence_of(exchange, where=each.where)
            for each in shown
            if (exchange := record.exchange_by_id.get(each.exchange_id or ""))
        }
        first: dict[str, str] = {}
        for fingerprint, view in views.items():
            first.setdefault(view.id, fingerprint)
        return ShownEvidence(by_fingerprint=views, anchored=frozenset(first.values()))

    @cached_property
    def of_cells(self) -> list[Exchange]:
        """The exchanges behind cells of the matrix that no finding shows."""
        in_findings = {each.id for each in self.of_findings.by_fingerprint.values()}
        cells = (cell for row in self._matrix.rows for cell in row.cells if cell)
        wanted = dict.fromkeys(cell.exchange_id or "" for cell in cells)
        exchanges = self.record.exchange_by_id
        shown = [exchanges[each] for each in wanted if each in exchanges and each not in in_findings]
        return shown[:_MOST_EVIDENCE_OF_CELLS]

    @cached_property
    def linked(self) -> Collection[str]:
        """Exchanges that have a place on the page."""
        in_findings = {each.id for each in self.of_findings.by_fingerprint.values()}
        return in_findings | {each.id for each in self.of_cells}

    @cached_property
    def findings(self) -> Findings:
        """Findings without groups yet, with the sentences and evidence for any."""
        sentences = {each.id: each.sentence for each in self.record.setup.checks.values()}
        return Findings(groups=(), sentences=sentences, evidence=lambda: self.of_findings)


def _findings(record: RunRecord, groups: Sequence[FindingGroup], evidence: _Evidence) -> Section:
    contradictions = fact_status.contradictions_of(record)
    total = sum(len(group.findings) for group in groups) + len(contradictions)
    blocks: list[Block] = []
    if total > 1:
        blocks.append(Figure("finding_filter.html.j2", shown=HTML))
    if contradictions:
        says = "Either the profile is wrong, or the server. What depends on it was not tested."
        group = FindingGroup(
            name="contradictions",
            label="contradiction",
            tone="bad",
            title="The target contradicts its profile",
            about=[says],
            findings=contradictions,
        )
        blocks += [
            Items(
                label="contradiction",
                lines=[(Code(each.expected), ", but ", Code(each.observed)) for each in contradictions],
                tone="bad",
                most=_MOST_FINDINGS,
                shown=IN_TEXT,
            ),
            replace(evidence.findings, groups=[group], unfolded=1, shown=HTML),
        ]
    if groups:
        blocks.append(replace(evidence.findings, groups=groups, unfolded=_UNFOLDED, most=_MOST_FINDINGS))
    elif contradictions:
        blocks.append(Text("Nothing else was seen against the contract.", shown=HTML))
    else:
        until = "" if record.outcome.is_complete else " until the run ended"
        none = f"None: nothing was seen against the contract{until}."
        blocks.append(Text(none if record.counts.exchanges else "None: nothing was sent.", shown=HTML))
    title = f"Findings ({total})" if total else "Findings"
    return Section("findings", title, name="Findings", blocks=blocks)


def _change(change: RunChange | None) -> Iterator[Section]:
    if change and isinstance(change.comparison, CheckComparison):
        yield change_section(change, check_change_blocks(change.comparison))


def _drift(drift: Sequence[fact_status.Drift], evidence: _Evidence, known: Collection[str] | None) -> Section:
    return Section(
        "drift",
        f"New and undocumented ({len(drift)}), which breaks nothing",
        name="New and undocumented",
        blocks=[
            Text("What the server sends and the document does not name.", shown=HTML),
            Items(
                [
                    (
                        *((Code(each.where), ": ") if each.where else ()),
                        Code(each.observed),
                        f", on {each.seen_on}",
                        "" if _is_known(each.findings, known) else ", not so in the baseline",
                    )
                    for each in drift
                ],
                label="new, breaks nothing",
                most=_MOST_DRIFT,
                shown=IN_TEXT,
            ),
            replace(
                evidence.findings,
                groups=[
                    FindingGroup(
                        name=f"new-{number}",
                        label="new",
                        tone="plain",
                        title=": ".join(part for part in (each.where, each.observed) if part),
                        about=[f"on {each.seen_on}, seen {counted(each.count, 'time')}"],
                        findings=each.findings,
                    )
                    for number, each in enumerate(drift, 1)
                ],
                shown=HTML,
            ),
        ],
    )


def _untested(
    record: RunRecord, rows: Sequence[fact_status.FactRow], waiting: Mapping[str, Sequence[str]]
) -> Section:
    without_reason = [
        row for row in rows if row.status is fact_status.FactStatus.UNTESTED and not row.missing
    ]
    unusable = record.setup.target.missing
    blocks: list[Block] = []
    if waiting:
        blocks += [
            Items(
                [
                    f"{counted(len(facts), 'fact not tested: needs', 'facts not tested: need')} {missing}"
                    for missing, facts in waiting.items()
                ],
                most=_MOST_MISSING,
                shown=IN_TEXT,
            ),
            Table(
                "What is missing",
                (Column("Missing", is_name=True), Column("Facts that need it")),
                [
                    (missing, _separated([Link(each, f"#fact-{each}") for each in facts]))
                    for missing, facts in waiting.items()
                ],
                shown=HTML,
            ),
        ]
    if unusable:
        blocks += [
            Text("Keys of the profile that this machine could not use:", shown=HTML),
            Items([(Code(name), f": {reason}") for name, reason in unusable.items()], shown=HTML),
        ]
    if without_reason:
        says = f"{counted(len(without_reason), 'fact')} that nothing in this run was about"
        lines = [(Link(row.fact.id, f"#fact-{row.fact.id}"), f" {row.fact.says}") for row in without_reason]
        blocks.append(Folded(says, [Items(lines)]))
    elif not waiting:
        blocks.append(Text("Nothing: every fact was tested.", shown=HTML))
    return Section("untested", "Not tested", blocks)


def _separated(links: Sequence[Link]) -> Words:
    return tuple(piece for link in links for piece in (", ", link))[1:]


def _families(record: RunRecord) -> Iterator[Section]:
    families = fact_status.family_rows(record)
    if families and record.setup.facts:
        yield Section(
            "families",
            "Tests",
            [
                Text(
                    "How the tests of each family ended, and how long they took; those that ran side by "
                    "side are added up.",
                    shown=HTML,
                ),
                Table(
                    "Tests by family",
                    (Column("Family", is_name=True), *numbers("Passed", "Failed", "Skipped", "Seconds")),
                    [
                        (
                            row.family,
                            *map(str, (row.passed, row.failed, row.skipped)),
                            f"{row.duration_s:.1f}",
                        )
                        for row in families
                    ],
                    shown=HTML,
                ),
            ],
        )


def _waivers(record: RunRecord) -> Iterator[Section]:
    rows = fact_status.waiver_rows(record)
    if rows:
        said = [
            f"waiver {row.state}: {row.waiver}"
            for row in rows
            if (row.state == "expired" and f"waiver expired on {row.waiver.expires}" not in record.note)
            or (row.state == "unused" and record.outcome.is_complete)
        ]
        said += [f"waiver ends on {row.waiver.expires}: {row.waiver}" for row in rows if row.ends_soon]
        yield Section(
            "waivers",
            "Waivers",
            [
                Items(said, tone="warn", shown=TERMINAL),
                Table(
                    "Waivers",
                    (
                        Column("State"),
                        Column("Names", is_name=True),
                        Column("Reason"),
                        Column("Until"),
                        Column("Findings", is_number=True),
                    ),
                    [
                        (
                            badge(row.state, _TONE_BY_WAIVER[row.state]),
                            str(row.waiver),
                            row.waiver.reason,
                            str(row.waiver.expires),
                            str(len(row.findings)),
                        )
                        for row in rows
                    ],
                    shown=ON_PAGES,
                ),
            ],
        )


def _run(record: RunRecord) -> list[tuple[str, Words]]:
    setup, counts = record.setup, record.counts
    limit = setup.target.limits.credits
    cost, unread = cost_words(counts.cost_credits, counts.usage), counts.usage.unread if counts.usage else ()
    return [
        ("Cost", f"{cost or 'nothing'}; the limit is {limit:,.10g} credits"),
        *([("Usage not readable", f"of {', '.join(unread)}: no key of them works")] if unread else []),
        (
            "Answers",
            ", ".join(f"{count:,} of {status}" for status, count in counts.answers.items()) or "none",
        ),
        ("Claims", f"{counts.passed:,} held, {counts.failed:,} did not"),
        ("Versions", f"knouds-harness {setup.tool_version}, Python {setup.python_version}"),
        ("Host", setup.host),
        ("Assumptions", "fail the run (--strict)" if setup.strict else "never fail the run"),
    ]


def _evidence_of_cells(evidence: _Evidence) -> Iterator[Section]:
    if evidence.of_cells:
        says = "The exchanges behind the cells above. All others are in exchanges.har."
        yield evidence_section(says, evidence.of_cells, is_marked=False)
