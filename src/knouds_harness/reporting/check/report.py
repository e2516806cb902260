"""The report of a check: the verdict, the findings, and the status of every fact."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.printable import counted
from knouds_harness.reporting.check import fact_status
from knouds_harness.reporting.check.evidence import EvidenceView, evidence_of
from knouds_harness.reporting.check.figures import Matrix, facts_section, matrix_of, matrix_section
from knouds_harness.reporting.check.headline import headline
from knouds_harness.reporting.comparison.check_comparison import CheckComparison
from knouds_harness.reporting.comparison.texts import headline as headline_of_change
from knouds_harness.reporting.report import (
    EVERYWHERE,
    HTML,
    IN_TEXT,
    ON_PAGES,
    TERMINAL,
    Block,
    Code,
    Column,
    Columns,
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
    table_of,
)
from knouds_harness.reporting.run_section import cost_words, evidence_section, run_section
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import RunRecord

_MOST_FINDINGS_WITH_EVIDENCE: Final = 200
_MOST_CONTRADICTIONS_WITH_EVIDENCE: Final = 50
_MOST_DRIFT_WITH_EVIDENCE: Final = 50
_MOST_EVIDENCE_OF_CELLS: Final = 600
_BEHIND_CELLS: Final = "The exchanges behind the cells above. All others are in exchanges.har."
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


def check_report(
    record: RunRecord, change: CheckComparison | None = None, *, only_new: bool = False
) -> Report:
    """Make the report of a check, with what changed against its baseline, if it has one.

    With ``only_new``, what does not fail the run is left out, unless it is new since the baseline, or
    ``--alarm-after`` waits for more nights of it.
    """
    setup, target = record.setup, record.setup.target
    rows = fact_status.fact_rows(record)
    known = change.known if change else None
    waiting = fact_status.untested_rows(record)
    drift = sorted(fact_status.drift_of(record), key=lambda each: _is_known(each.findings, known))
    groups = fact_status.findings_by_fact(record)
    groups.sort(key=lambda group: (not record.fails(group.findings[0]), _is_known(group.findings, known)))
    if only_new:
        groups = [
            each
            for each in groups
            if record.fails(each.findings[0])
            or each.findings[0].may_fail_later
            or not _is_known(each.findings, known)
        ]
        drift = [each for each in drift if not _is_known(each.findings, known)]
        waiting = change.newly_missing(waiting) if change else {}
    more = " more" if only_new else ""
    matrix, evidence = matrix_of(record), _evidence(record, drift)
    in_findings = {each.id for each in evidence.values()}
    behind_cells = _behind_cells(record, matrix, in_findings)
    linked = in_findings | {each.id for each in behind_cells}
    sentences = {each.id: each.sentence for each in setup.checks.values()}
    findings = Findings(groups=(), sentences=sentences, evidence=evidence)
    verdict = headline(record, rows, change)
    counts = record.counts
    words = cost_words(counts.cost_credits, counts.usage)
    cost = f", {words}" if words else ""
    said = "" if record.note == verdict.title else record.note
    lost = record.missing_exchanges
    says_lost = f"exchanges.har is cut short or damaged: it lacks {counted(lost, 'exchange')}."
    sections = [
        _findings(record, groups, findings),
        *([_change(change)] if change else []),
        *([_drift(drift, findings, known)] if drift else []),
        matrix_section(record, matrix, linked),
        facts_section(rows, {group.name for group in groups}, linked),
        _untested(record, rows, waiting, more=more),
        _waivers(record),
        run_section(record, _run(record), again_on="the same keys and resources"),
        evidence_section(_BEHIND_CELLS, behind_cells, is_marked=False),
    ]
    return Report(
        headline=verdict,
        file="report.html",
        subject=Code(target.name),
        about=f"{record.started_at:%Y-%m-%d %H:%M UTC} · {counted(counts.exchanges, 'exchange')} in "
        f"{record.duration_s:.1f} s{cost}, seed {setup.seed}",
        notes=[*filter(None, [said]), *record.gaps, *([says_lost] if lost else [])],
        sections=sections,
        tiles=[
            (count, status.label, status.value, status.tone)
            for status, count in fact_status.status_counts(rows).items()
        ],
        origin=f"knouds-harness {setup.tool_version}, with document {setup.document.version} "
        f"({setup.document.sha256[:12]}), from {record.folder.resolve().name}",
        scripts=("report.js",),
    )


def _is_known(findings: Sequence[Finding], known: Collection[str] | None) -> bool:
    """Return whether the baseline had all of these findings; there is none if ``known`` is None."""
    return known is None or all(each.fingerprint in known for each in findings)


def _evidence(record: RunRecord, drift: Sequence[fact_status.Drift]) -> Mapping[str, EvidenceView]:
    about_facts = [each for group in fact_status.findings_by_fact(record) for each in group.findings]
    shown = [
        *fact_status.contradictions_of(record)[:_MOST_CONTRADICTIONS_WITH_EVIDENCE],
        *about_facts[:_MOST_FINDINGS_WITH_EVIDENCE],
        *(each.findings[0] for each in drift[:_MOST_DRIFT_WITH_EVIDENCE]),
    ]
    exchanges = record.exchange_by_id
    return {
        each.fingerprint: evidence_of(
            exchange,
            where=each.where,
            steps=[exchanges[step] for step in each.steps if step in exchanges],
            compared=[
                (exchanges[part.exchange_id], part.where)
                for part in each.compared
                if part.exchange_id in exchanges
            ],
        )
        for each in shown
        if (exchange := exchanges.get(each.exchange_id or ""))
    }


def _behind_cells(record: RunRecord, matrix: Matrix, in_findings: Collection[str]) -> list[Exchange]:
    wanted = dict.fromkeys(cell.exchange_id or "" for row in matrix.values() for cell in row.values())
    exchanges = record.exchange_by_id
    shown = [exchanges[each] for each in wanted if each in exchanges and each not in in_findings]
    return shown[:_MOST_EVIDENCE_OF_CELLS]


def _findings(record: RunRecord, groups: Sequence[FindingGroup], findings: Findings) -> Section:
    contradictions = fact_status.contradictions_of(record)
    total = sum(len(group.findings) for group in groups) + len(contradictions)
    blocks: list[Block] = []
    if total > 1:
        blocks.append(Figure("finding_filter.html.j2"))
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
                is_whole=True,
                most=_MOST_FINDINGS,
                shown=IN_TEXT,
            ),
            replace(findings, groups=[group], unfolded=1, shown=HTML),
        ]
    if groups:
        blocks.append(replace(findings, groups=groups, unfolded=_UNFOLDED, most=_MOST_FINDINGS))
    elif contradictions:
        blocks.append(Text("Nothing else was seen against the contract.", shown=HTML))
    else:
        until = "" if record.outcome.is_complete else " until the run ended"
        none = f"None: nothing was seen against the contract{until}."
        blocks.append(Text(none if record.counts.exchanges else "None: nothing was sent.", shown=HTML))
    title = f"Findings ({total})" if total else "Findings"
    return Section("findings", title, name="Findings", blocks=blocks)


def _change(change: CheckComparison) -> Section:
    """What is lost, new and gone; a terminal has the new findings above, at length."""
    verdict = headline_of_change(change)
    new = (*change.regressions, *change.new)
    return Section(
        "change",
        "Change against the baseline",
        name="Change",
        blocks=[
            Text(
                (
                    "Against ",
                    Code(change.against),
                    ": ",
                    badge(verdict.title.lower(), verdict.tone),
                    f". {verdict.detail}",
                )
            ),
            *(Text(note, is_quiet=True, shown=HTML) for note in change.notes if note not in verdict.detail),
            *_listed("not tested any more", "Verified before, and not tested now:", change.lost_with_reasons),
            *_listed("new", "New:", [_about(each) for each in new], shown=ON_PAGES),
            *_listed("gone", "Gone, tested again:", [_about(each) for each in change.gone]),
        ],
    )


def _listed(
    label: str, title: str, lines: Sequence[Words], *, shown: frozenset[Medium] = EVERYWHERE
) -> list[Block]:
    items = Items(label=label, lines=lines, most=_MOST_FINDINGS, shown=shown)
    return [Text(title, shown=ON_PAGES), items] if lines else []


def _about(finding: Finding) -> Words:
    return Code(finding.fact), f" {finding.who}: {finding.verdict} ", Code(finding.fingerprint)


def _drift(drift: Sequence[fact_status.Drift], findings: Findings, known: Collection[str] | None) -> Section:
    return Section(
        "drift",
        f"Undocumented ({len(drift)}), which breaks nothing",
        name="Undocumented",
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
                label="undocumented, breaks nothing",
                most=_MOST_DRIFT,
                shown=IN_TEXT,
            ),
            replace(
                findings,
                groups=[
                    FindingGroup(
                        name=f"undocumented-{number}",
                        label="undocumented",
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
    record: RunRecord, rows: Sequence[fact_status.FactRow], waiting: Mapping[str, Sequence[str]], *, more: str
) -> Section:
    """What is missing for which facts; ``more`` are those that lack something new since the baseline."""
    without_reason = [
        row for row in rows if row.status is fact_status.FactStatus.UNTESTED and not row.missing
    ]
    unusable = record.setup.target.missing
    blocks: list[Block] = []
    if waiting:
        blocks += [
            Items(
                [
                    f"{len(facts)}{more} {'fact' if len(facts) == 1 else 'facts'} not tested: "
                    f"{'needs' if len(facts) == 1 else 'need'} {missing}"
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


def _waivers(record: RunRecord) -> Section:
    rows = fact_status.waiver_rows(record)
    said = [
        f"waiver {row.state}: {row.waiver}"
        for row in rows
        if (row.state == "expired" and f"waiver expired on {row.waiver.expires}" not in record.note)
        or (row.state == "unused" and record.outcome.is_complete)
    ]
    said += [f"waiver ends on {row.waiver.expires}: {row.waiver}" for row in rows if row.ends_soon]
    columns: Columns[fact_status.WaiverRow] = [
        (Column("State"), lambda each: badge(each.state, _TONE_BY_WAIVER[each.state])),
        (Column("Names", is_name=True), lambda each: str(each.waiver)),
        (Column("Reason"), lambda each: each.waiver.reason),
        (Column("Until"), lambda each: str(each.waiver.expires)),
        (Column("Findings", is_number=True), lambda each: str(len(each.findings))),
    ]
    blocks: list[Block] = [
        Items(said, tone="warn", shown=TERMINAL),
        table_of("Waivers", rows, columns, shown=ON_PAGES),
    ]
    return Section("waivers", "Waivers", blocks if rows else [])


def _run(record: RunRecord) -> list[tuple[str, Words]]:
    setup, counts = record.setup, record.counts
    limit = setup.target.limits.credits
    cost, unread = cost_words(counts.cost_credits, counts.usage), counts.usage.unread if counts.usage else ()
    return [
        ("Cost", f"{cost or 'nothing'}; the limit is {limit:,.10g} credits"),
        *([("Usage not readable", f"of {', '.join(unread)}: no key of them works")] if unread else []),
        (
            "Answers",
            ", ".join(f"{count:,} with {status}" for status, count in counts.answers.items()) or "none",
        ),
        ("Facts judged", f"{counts.passed:,} times seen to hold, {counts.failed:,} times not"),
        ("Versions", f"knouds-harness {setup.tool_version}, Python {setup.python_version}"),
        ("Host", setup.host),
        ("Assumptions", "fail the run (--strict)" if setup.strict else "never fail the run"),
    ]
