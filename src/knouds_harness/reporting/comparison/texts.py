"""The words of a comparison, the same in every report, and ``compare.json`` for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from knouds_harness.measures.objectives import describe, figure_text, short_name
from knouds_harness.printable import counted
from knouds_harness.reporting.comparison.change import ChangeVerdict, FigureChange
from knouds_harness.reporting.comparison.check_comparison import CheckComparison
from knouds_harness.reporting.comparison.load_comparison import LoadComparison, MeasureRow
from knouds_harness.reporting.comparison.load_figures import RATE, RATES, SHARES
from knouds_harness.reporting.report import Headline, Tone
from knouds_harness.runs.findings import Finding

Comparison = LoadComparison | CheckComparison

_TENFOLD: Final = 9.0
"""A change of this size makes ten times as much; one that shows no sooner shows nothing."""
_MOST: Final = 900
"""Beyond this, the width of an interval only shows the limits of its computation."""
_ORDER: Final = (ChangeVerdict.WORSE, ChangeVerdict.BETTER, ChangeVerdict.NO_EVIDENCE, ChangeVerdict.SAME)


def headline(comparison: Comparison) -> Headline:
    if isinstance(comparison, LoadComparison):
        return _load_headline(comparison)
    return _check_headline(comparison)


def measure_name(row: MeasureRow) -> str:
    """A row's measure without its unit."""
    return "rate" if row.measure == RATE else short_name(row.measure)


def gates_of(rows: Sequence[MeasureRow]) -> list[MeasureRow]:
    """Return the rows whose worsening fails the comparison, those that got worse first."""
    return sorted((row for row in rows if row.is_gate), key=lambda row: _ORDER.index(row.verdict))


def row_line(row: MeasureRow) -> str:
    what = f"{row.operation} {measure_name(row)}"
    if row.change is None:
        return f"{what}: {row.reason}"
    number, change = row.change.estimate, percent(row, row.change.estimate)
    if row.measure not in SHARES and not -0.5 < number < 1:  # the half or the double
        more, less = ("high", "low") if row.measure in RATES else ("slow", "fast")
        ratio, word = (1 + number, more) if number > 0 else (1 / (1 + number), less)
        change = f"{ratio:,.3g} times as {word}"
    figures = f"{figure(row, row.baseline)} → {figure(row, row.candidate)}"
    return f"{what} {figures}, {change} ({interval_words(row)})"


def figure(row: MeasureRow, number: float | None) -> str:
    return "none" if number is None else figure_text(row.measure, number)


def percent(row: MeasureRow, number: float, *, signed: bool = True) -> str:
    """Format a change as a percentage; of a share, in percentage points."""
    sign = "+" if signed else ""
    if row.measure in SHARES:
        return f"{number * 100:{sign}.2f} pt"
    if number > _MOST:
        return f"over {_MOST} times"
    if number > 1:
        return f"{1 + number:,.3g} times"
    return f"{number * 100:{sign}.1f} %"


def interval_words(row: MeasureRow) -> str:
    change = row.change
    if change is None:
        return row.reason
    low = percent(row, change.low).removesuffix(" %").removesuffix(" pt").removesuffix(" times")
    return f"{low} to {percent(row, change.high)}"


def noise_words(row: MeasureRow, change: FigureChange) -> str:
    return f"{percent(row, change.noise, signed=False)}{'' if change.is_noise_seen else ' expected'}"


def _load_headline(comparison: LoadComparison) -> Headline:
    if comparison.newly_broken:
        facts = ", ".join(comparison.newly_broken)
        return Headline(tone="bad", title="Contract broken under load", detail=f"Not so before: {facts}")
    if not comparison.is_valid:
        empty = "candidate" if comparison.baseline else "baseline"
        detail = f"No run of the {empty} has figures: {comparison.left_out[0]}"
        return Headline(tone="warn", title="Not a valid measurement", detail=detail)
    tone, title, says = _told_by_gates(comparison)
    runs = f"{len(comparison.baseline)} and {len(comparison.candidate)} runs of {comparison.scenario}"
    return Headline(tone=tone, title=title, detail=f"{says}; {runs}.")


def _told_by_gates(comparison: LoadComparison) -> tuple[Tone, str, str]:
    if comparison.regressions:
        first, *more = comparison.regressions
        also = f", and {len(more)} more" if more else ""
        return "bad", "Worse", f"{row_line(first)}{also}"
    if comparison.missed:
        return "bad", "Objectives missed", describe(comparison.missed[0])
    if comparison.verdict is ChangeVerdict.BETTER:
        first = next(row for row in comparison.rows if row.is_gate and row.verdict is ChangeVerdict.BETTER)
        return "good", "Better", row_line(first)
    if comparison.verdict is ChangeVerdict.SAME:
        return "good", "Same", "All changes are within what is tolerated"
    return "warn", "No evidence of a change", _blind_spot(comparison)


def _blind_spot(comparison: LoadComparison) -> str:
    changes = [
        (row.change.visible, row)
        for row in comparison.rows
        if row.is_gate and row.change and row.measure == "p99_ms"
    ]
    if not changes:
        return "Too few requests to say more"
    visible, row = max(changes, key=lambda each: each[0])
    if visible > _TENFOLD:
        return f"The runs are too few, or too unlike each other, to show a worse p99 of {row.operation}"
    return f"A p99 of {row.operation} that is worse by less than {visible:.0%} would not show"


def lost_words(count: int) -> str:
    return f"{count} {'fact was' if count == 1 else 'facts were'} verified before and not tested now"


def _check_headline(comparison: CheckComparison) -> Headline:
    counts = (
        f"{len(comparison.new)} other new, {len(comparison.gone)} gone, {len(comparison.still)} still there"
        f"{f', {len(comparison.not_looked_for)} not looked for' if comparison.not_looked_for else ''}."
        f"{f' What {comparison.choice} left out does not count as lost.' if comparison.choice else ''}"
    )
    if comparison.is_worse:
        found, lost = len(comparison.regressions), len(comparison.lost)
        new = [f"{counted(found, 'new finding fails', 'new findings fail')} the run"] if found else []
        detail = "; ".join([*new, *([lost_words(lost)] if lost else []), counts])
        return Headline(tone="bad", title="Worse" if found else "Less verified", detail=detail)
    if not comparison.is_valid:
        return Headline(tone="warn", title="Not a valid comparison", detail=comparison.notes[0])
    fixed = [each for each in comparison.gone if each.fingerprint in comparison.baseline.failing]
    if fixed:
        gone = counted(len(fixed), "finding is", "findings are")
        detail = f"{gone} gone that failed the run; {counts}"
        return Headline(tone="good", title="Better", detail=detail)
    return Headline(tone="good", title="Same", detail=f"No new finding fails the run; {counts}")


def comparison_json(comparison: Comparison) -> str:
    """Return a comparison as data; changes are shares, and intervals are pairs."""
    verdict = headline(comparison)
    contents = {
        "format": "knouds-harness comparison",
        "format_version": 1,
        "verdict": f"{verdict.title}: {verdict.detail}",
        "exit_code": int(comparison.exit_code),
        "notes": list(comparison.notes),
    }
    contents |= _load(comparison) if isinstance(comparison, LoadComparison) else contents_of_check(comparison)
    return json.dumps(contents, indent=2, ensure_ascii=False) + "\n"


def _load(comparison: LoadComparison) -> dict[str, Any]:
    return {
        "kind": "load",
        "scenario": comparison.scenario,
        "baseline": [run.run for run in comparison.baseline],
        "candidate": [run.run for run in comparison.candidate],
        "left_out": list(comparison.left_out),
        "confidence_of_each_interval": comparison.confidence,
        "newly_broken_facts": list(comparison.newly_broken),
        "objectives_missed": [asdict(each) for each in comparison.missed],
        "changes": [_change(row) for row in comparison.rows],
        "counters_per_s": {name: list(sides) for name, sides in comparison.counters.items()},
    }


def _change(row: MeasureRow) -> dict[str, Any]:
    members = ("operation", "measure", "verdict", "is_gate", "tolerance", "baseline", "candidate", "reason")
    change = row.change
    return {name: getattr(row, name) for name in members} | {
        "change": change and change.estimate,
        "interval": change and [change.low, change.high],
        "noise": change and change.noise,
        "is_noise_seen": change and change.is_noise_seen,
        "smallest_visible": change and change.visible,
    }


def contents_of_check(comparison: CheckComparison) -> dict[str, Any]:
    return {
        "kind": "check",
        "baseline": comparison.baseline.run,
        "candidate": comparison.candidate.run,
        **{
            name: _findings(getattr(comparison, name))
            for name in ("regressions", "new", "gone", "not_looked_for", "still")
        },
        "lost": list(comparison.lost),
        "facts": [
            {"fact": fact, "before": before, "now": now} for fact, (before, now) in comparison.facts.items()
        ],
    }


def _findings(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    members = ("fingerprint", "verdict", "fact", "operation", "expected", "observed")
    return [{name: getattr(each, name) for name in members} for each in findings]
