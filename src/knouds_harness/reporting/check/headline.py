"""The verdict on a run in one line, the same words in every report."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from knouds_harness.printable import counted, first_few
from knouds_harness.reporting.check.fact_status import FactRow, FactStatus, contradictions_of, status_counts
from knouds_harness.reporting.comparison.check_comparison import CheckComparison
from knouds_harness.reporting.report import Headline
from knouds_harness.runs.findings import (
    CUT_SHORT,
    LEFT_BEHIND,
    LESS_VERIFIED,
    MOST_OUTSIDE,
    OWN_CODE_FAILED,
    RunOutcome,
    Verdict,
)
from knouds_harness.runs.load_results import LOAD_KIND
from knouds_harness.runs.record import RunRecord

VERIFY_KIND = "verify"
_LEAST_SHARE: Final = 0.5
_MOST_NAMED: Final = 5
_KEPT: Final = "Contract kept"
_NOTHING: Final = "Nothing was tested"
_ENDLESS: Final = "No execution ended"


def headline(record: RunRecord, rows: Sequence[FactRow], change: CheckComparison | None = None) -> Headline:
    """Summarize a run; one that is not bad itself, but worse than its baseline, is bad too."""
    verdict = _headline(record, rows)
    outside = [each for each in record.findings if each.is_about_intermediary]
    count = sum(each.count for each in outside)
    if count > record.counts.exchanges * MOST_OUTSIDE:
        share = f"{count:,} of {record.counts.exchanges:,} answers never came from the API"
        causes = ", ".join(f"{each.observed} {counted(each.count, 'time')}" for each in outside)
        return Headline(tone="bad", title=share, detail=f"{causes}. {verdict.title}: {verdict.detail}")
    if change and change.is_worse and verdict.tone != "bad":
        return replace(verdict, tone="bad", title=f"{LESS_VERIFIED} {change.against}")
    if change and change.regressions:
        broken = list(dict.fromkeys(each.fact for each in change.regressions))
        says = f"In breach, unlike in {change.against}: {first_few(broken, _MOST_NAMED)}."
        return replace(verdict, detail=f"{says} {verdict.detail}")
    return verdict


def _headline(record: RunRecord, rows: Sequence[FactRow]) -> Headline:
    if record.kind == LOAD_KIND:  # its figures, which have a headline of their own, could not be read
        return Headline(tone="warn", title="No figures", detail=record.gaps[-1] if record.gaps else "")
    if record.outcome is RunOutcome.KEPT and record.kind == VERIFY_KIND:
        return _headline_of_traffic(record, rows)
    detail = _figures(record, rows)
    if record.outcome is RunOutcome.BROKEN:
        return Headline(tone="bad", title=_title_of_broken(record), detail=detail)
    if record.outcome is RunOutcome.KEPT:
        title = _title_without_breach(record, rows)
        return Headline(tone="good" if title == _KEPT else "warn", title=title, detail=detail)
    is_finished = record.outcome in (RunOutcome.SHORT, RunOutcome.UNTESTED)
    return (_headline_of_too_little if is_finished else _headline_of_unfinished)(record, detail)


def _headline_of_too_little(record: RunRecord, detail: str) -> Headline:
    if record.note.startswith(LESS_VERIFIED):
        title = record.note
    elif record.is_cut_short:
        title = CUT_SHORT
    elif record.outcome is RunOutcome.SHORT:
        title = _ENDLESS if record.endless else "Too little verified"
    elif any(each.passed for each in record.tests):
        title = "No key works"
    else:
        title, skipped = _NOTHING, sum(each.skipped for each in record.tests)
        detail = f"All {skipped} tests were skipped." if skipped > 1 else "The only test was skipped."
    return Headline(tone="bad", title=title, detail=detail)


def _headline_of_unfinished(record: RunRecord, detail: str) -> Headline:
    failed = OWN_CODE_FAILED if record.note.startswith(OWN_CODE_FAILED) else "The harness failed"
    named = {RunOutcome.INTERRUPTED: "Interrupted", RunOutcome.STOPPED: "Stopped early"}
    what = named.get(record.outcome, failed)
    if not record.counts.exchanges:
        return Headline(tone="warn", title=f"{what}, no verdict", detail="Nothing was sent.")
    if any(record.fails(finding) for finding in record.findings):
        return Headline(tone="bad", title=f"{what}, broken so far", detail=detail)
    return Headline(tone="warn", title=f"{what}, no verdict", detail=detail)


def _headline_of_traffic(record: RunRecord, rows: Sequence[FactRow]) -> Headline:
    """Summarize recorded traffic without a breach: it never proves that the contract is kept."""
    counts = status_counts(rows)
    unseen = counts[FactStatus.UNTESTED]
    wrong = "".join(f", {each}" for each in _not_kept(counts))
    return Headline(
        tone="good",
        title=f"No breach among {record.counts.exchanges:,} exchanges",
        detail=f"Judged one by one against {counted(len(rows) - unseen, 'fact')}{wrong}; "
        f"{unseen} need a live check.",
    )


def _title_of_broken(record: RunRecord) -> str:
    failing = {finding.verdict for finding in record.findings if record.fails(finding)}
    if failing == {Verdict.CONTRADICTION}:
        return "The target contradicts its profile"
    if not failing and record.note.startswith("waiver"):
        return "Waiver expired"
    if not failing and record.note.startswith(LEFT_BEHIND):
        return LEFT_BEHIND
    return "Contract broken"


def _title_without_breach(record: RunRecord, rows: Sequence[FactRow]) -> str:
    """The contract counts as kept if all that the profile allows was verified, and at least half of all."""
    if record.is_cut_short:
        return CUT_SHORT
    if record.endless:
        return _ENDLESS
    selected = [row for row in rows if row.is_selected]
    verified = sum(row.status is FactStatus.VERIFIED for row in selected)
    if all(row.status is FactStatus.UNTESTED for row in selected):
        return _NOTHING
    is_whole = not any(row.is_missed for row in selected)
    return _KEPT if is_whole and verified >= len(selected) * _LEAST_SHARE else "No breach found"


def _not_kept(counts: dict[FactStatus, int]) -> list[str]:
    return [
        f"{counts[status]} {status.label}"
        for status in (FactStatus.BREACH, FactStatus.CONFLICT, FactStatus.ASSUMPTION, FactStatus.WAIVED)
        if counts[status]
    ]


def _figures(record: RunRecord, rows: Sequence[FactRow]) -> str:
    counts = status_counts(row for row in rows if row.is_selected)
    of_others = _not_kept(status_counts(row for row in rows if not row.is_selected))
    selected = sum(row.is_selected for row in rows)
    word = "fact" if selected == len(rows) else "selected fact"
    contradicted = len(contradictions_of(record))
    parts = [
        f"{counts[FactStatus.VERIFIED]} of {counted(selected, word)} verified",
        *_not_kept(counts),
        f"{counts[FactStatus.UNTESTED]} not tested",
        *([f"{counted(contradicted, 'contradiction')} of the profile"] if contradicted else []),
    ]
    never = f"No execution of {' or '.join(record.endless)} ended by its deadline. " if record.endless else ""
    others = f"; of others, {', '.join(of_others)}" if of_others else ""
    return f"{never}{', '.join(parts)}{others}{_pairs(record)}."


def _pairs(record: RunRecord) -> str:
    """Say how many pairs of request values were walked, and which need would add most."""
    pairs = record.counts.pairs
    if pairs is None:
        return ""
    nearest = max(pairs.added_by.items(), key=lambda each: each[1], default=None)
    more = f" ({nearest[0]} adds {nearest[1]:,})" if nearest else ""
    return f"; {pairs.sent:,} of {pairs.possible:,} pairs of request values walked{more}"
