"""The verdict on a run in one line, the same words in every report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from knouds_harness.printable import counted, first_few
from knouds_harness.reporting.check.fact_status import FactRow, FactStatus, contradictions_of, status_counts
from knouds_harness.reporting.comparison.check_comparison import CheckComparison
from knouds_harness.reporting.report import Headline
from knouds_harness.runs.findings import (
    CUT_SHORT,
    LEFT_BEHIND,
    LESS_VERIFIED,
    NOT_SETTLED,
    OWN_CODE_FAILED,
    RunOutcome,
    Verdict,
)
from knouds_harness.runs.load_results import LOAD_KIND
from knouds_harness.runs.record import RunRecord

if TYPE_CHECKING:
    from knouds_harness.reporting.comparison.baseline import RunChange

VERIFY_KIND = "verify"
_LEAST_SHARE: Final = 0.5
_MOST_OUTSIDE: Final = 0.2
"""The share of answers from something in front of the API above which the headline names it first."""
_MOST_NAMED: Final = 5
_NOTHING: Final = "Nothing was tested"
_ENDLESS: Final = "No execution ended"


def headline(record: RunRecord, rows: Sequence[FactRow], change: RunChange | None = None) -> Headline:
    """Summarize a run; one that is not bad itself, but worse than its baseline, is bad too."""
    verdict = _headline(record, rows)
    outside = [each for each in record.findings if each.is_about_intermediary]
    count = sum(each.count for each in outside)
    if count > record.counts.exchanges * _MOST_OUTSIDE:
        share = f"{count:,} of {record.counts.exchanges:,} answers never came from the API"
        causes = ", ".join(f"{each.observed} {counted(each.count, 'time')}" for each in outside)
        return Headline(tone="bad", title=share, detail=f"{causes}. {verdict.title}: {verdict.detail}")
    if change and change.is_worse and verdict.tone != "bad":
        return replace(verdict, tone="bad", title=f"{LESS_VERIFIED} {change.baseline}")
    if change and isinstance(change.comparison, CheckComparison) and change.comparison.regressions:
        broken = list(dict.fromkeys(each.fact for each in change.comparison.regressions))
        says = f"{first_few(broken, _MOST_NAMED)}, not so in {change.baseline}."
        return replace(verdict, detail=f"{says} {verdict.detail}")
    return verdict


def _headline(record: RunRecord, rows: Sequence[FactRow]) -> Headline:
    if record.kind == LOAD_KIND:  # its figures, which have a headline of their own, could not be read
        return Headline(tone="warn", title="No figures", detail=record.gaps[-1] if record.gaps else "")
    detail = _figures(record, rows)
    if record.outcome is RunOutcome.BROKEN:
        return _headline_of_broken(record, detail)
    if record.outcome is RunOutcome.KEPT:
        return _headline_without_breach(record, rows, detail)
    if record.outcome in (RunOutcome.SHORT, RunOutcome.UNTESTED):
        return _headline_of_too_little(record, detail)
    return _headline_of_unfinished(record, detail)


def _headline_of_too_little(record: RunRecord, detail: str) -> Headline:
    if record.note.startswith(LESS_VERIFIED):
        return Headline(tone="bad", title=record.note, detail=detail)
    if record.is_cut_short:
        return Headline(tone="bad", title=CUT_SHORT, detail=detail)
    if record.outcome is RunOutcome.SHORT:
        title = _ENDLESS if record.endless else "Too little verified"
        return Headline(tone="bad", title=title, detail=detail)
    skipped = sum(each.skipped for each in record.tests)
    if any(each.passed for each in record.tests):
        return Headline(tone="bad", title="No key works", detail=detail)
    detail = f"All {skipped} tests were skipped." if skipped > 1 else "The only test was skipped."
    return Headline(tone="bad", title=_NOTHING, detail=detail)


def _headline_of_unfinished(record: RunRecord, detail: str) -> Headline:
    failed = OWN_CODE_FAILED if record.note.startswith(OWN_CODE_FAILED) else "The harness failed"
    what = {RunOutcome.INTERRUPTED: "Interrupted", RunOutcome.STOPPED: "Stopped early"}.get(
        record.outcome, failed
    )
    if not record.counts.exchanges:
        return Headline(tone="warn", title=f"{what}: no verdict", detail="Nothing was sent.")
    is_broken = any(record.fails(finding) for finding in record.findings)
    state = "broken so far" if is_broken else "no verdict"
    return Headline(tone="bad" if is_broken else "warn", title=f"{what}: {state}", detail=detail)


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


def _headline_of_broken(record: RunRecord, detail: str) -> Headline:
    failing = {finding.verdict for finding in record.findings if record.fails(finding)}
    if failing == {Verdict.CONTRADICTION}:
        first, *more = contradictions_of(record)
        says = f"{first.expected}, but {first.observed}{f', and {len(more)} more' if more else ''}."
        return Headline(tone="bad", title="The target contradicts its profile", detail=f"{says} {detail}")
    title = "Contract broken"
    if not failing and record.note.startswith("waiver"):
        title = "Waiver expired"
    elif not failing and record.note.startswith(LEFT_BEHIND):
        title = LEFT_BEHIND
    return Headline(tone="bad", title=title, detail=detail)


def _headline_without_breach(record: RunRecord, rows: Sequence[FactRow], detail: str) -> Headline:
    """The contract counts as kept if all that the profile allows was verified, and at least half of all."""
    if record.kind == VERIFY_KIND:
        return _headline_of_traffic(record, rows)
    if record.is_cut_short:
        return Headline(tone="warn", title=CUT_SHORT, detail=detail)
    if record.endless:
        return Headline(tone="warn", title=_ENDLESS, detail=detail)
    selected = [row for row in rows if row.is_selected]
    verified = sum(row.status is FactStatus.VERIFIED for row in selected)
    if all(row.status is FactStatus.UNTESTED for row in selected):
        return Headline(tone="warn", title=_NOTHING, detail=detail)
    is_whole = not any(row.is_missed for row in selected)
    if is_whole and verified >= len(selected) * _LEAST_SHARE:
        return Headline(tone="good", title="Contract kept", detail=detail)
    return Headline(tone="warn", title="No breach found", detail=detail)


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
    contradictions = len(contradictions_of(record))
    parts = [
        f"{counts[FactStatus.VERIFIED]} of {counted(selected, word)} verified",
        *_not_kept(counts),
        f"{counts[FactStatus.UNTESTED]} not tested",
        *([f"{contradictions} contradictions of the profile"] if contradictions > 1 else []),
        *(["1 contradiction of the profile"] if contradictions == 1 else []),
    ]
    never = f"No execution of {' or '.join(record.endless)} ended by its deadline. " if record.endless else ""
    usage = record.counts.usage
    open_cost = f" {NOT_SETTLED}." if usage and not usage.is_settled else ""
    return (
        f"{never}{', '.join(parts)}{'; of others, ' if of_others else ''}{', '.join(of_others)}.{open_cost}"
    )
