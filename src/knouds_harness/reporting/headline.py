"""The verdict on a run in one line, the same words in every report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from knouds_harness.reporting.standing import FactRow, Standing, standing_counts
from knouds_harness.runs.load_results import LOAD_KIND
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.verdicts import Outcome

Tone = Literal["good", "bad", "warn"]


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The verdict.

    Attributes:
        tone: ``good`` only for a contract that was kept by a run that came to its end.
        title: A few words.
        detail: One sentence with the figures behind it.
    """

    tone: Tone
    title: str
    detail: str


def headline(record: RunRecord, rows: Sequence[FactRow]) -> Headline:
    """Sum a run up.

    Args:
        record: The run.
        rows: Its facts.
    """
    if record.kind == LOAD_KIND:  # whose figures, which have a headline of their own, could not be read
        return Headline(tone="warn", title="No figures", detail=record.gaps[-1] if record.gaps else "")
    counts = standing_counts(rows)
    detail = _figures(counts, len(rows))
    if record.is_salvaged:
        known = f"{len(record.findings):,} findings and {record.counts.exchanges:,} exchanges could be read."
        return Headline(tone="warn", title="Damaged record: no verdict", detail=known)
    if record.outcome is Outcome.BROKEN:
        return Headline(tone="bad", title="Contract broken", detail=detail)
    if record.outcome is Outcome.KEPT:
        tone: Tone = "good" if counts[Standing.VERIFIED] else "warn"
        title = "Contract kept" if counts[Standing.VERIFIED] else "Nothing was tested"
        return Headline(tone=tone, title=title, detail=detail)
    what = {Outcome.INTERRUPTED: "Interrupted", Outcome.STOPPED: "Stopped early"}.get(
        record.outcome, "The harness failed"
    )
    if not record.counts.exchanges:
        return Headline(tone="warn", title=f"{what}: no verdict", detail="Nothing was sent.")
    is_broken = any(record.fails(finding) for finding in record.findings)
    state = "broken so far" if is_broken else "no verdict"
    return Headline(tone="bad" if is_broken else "warn", title=f"{what}: {state}", detail=detail)


def _figures(counts: dict[Standing, int], total: int) -> str:
    not_kept = [
        f"{counts[standing]} {standing.label}"
        for standing in (Standing.BREACH, Standing.CONFLICT, Standing.ASSUMPTION, Standing.WAIVED)
        if counts[standing]
    ]
    unseen = counts[Standing.UNTESTED] + counts[Standing.UNEXERCISED]
    parts = [
        f"{counts[Standing.VERIFIED]} of {total} facts verified",
        *(not_kept or ["none in breach"]),
        f"{unseen} not tested",
    ]
    return ", ".join(parts) + "."
