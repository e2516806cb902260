"""What one sees at the end of a load run."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from knouds_harness.reporting.comparison.baseline import read_change
from knouds_harness.reporting.comparison.wording import headline as headline_of_change
from knouds_harness.reporting.load.headline import (
    count_states,
    describe,
    describe_broken,
    load_headline,
    milliseconds,
)
from knouds_harness.reporting.load.steadiness import describe_steadiness
from knouds_harness.reporting.render import RenderedPaths
from knouds_harness.runs.load_results import Cycles, LoadResults, OperationLoad
from knouds_harness.runs.record import RunRecord

_STYLE_BY_TONE = {"good": "bold green", "bad": "bold red", "warn": "bold yellow"}
_PERCENTS = {"p50": "50", "p90": "90", "p99": "99"}
_MOST_LINES = 5
_OPERATION = "  times in ms"
_DISPENSABLE = ("per s", "p90", "max", "requests", "throttled")
"""Columns to leave out, one after another, where the terminal is too narrow."""


def print_load_summary(
    record: RunRecord, load: LoadResults, paths: RenderedPaths, *, console: Console
) -> None:
    """Print the end of a load run: validity and objectives first, then each operation in a line."""
    verdict = load_headline(record, load)
    console.print()
    console.print(Text.assemble((verdict.title, _STYLE_BY_TONE[verdict.tone]), f"  {verdict.detail}"))
    is_said = load.validity.reasons[:1] == (verdict.detail,)
    lines = [
        *(describe_broken(each) for each in load.invariants if each.broken),
        *load.validity.reasons[is_said:],
        *(describe(each) for each in load.objectives if not each.is_met),
    ]
    if load.capacity:  # its verdict says it all
        lines = []
    for line in lines[:_MOST_LINES]:
        console.print(Text(f"  {line}", style=_STYLE_BY_TONE[verdict.tone].removeprefix("bold ")))
    if len(lines) > _MOST_LINES:
        console.print(f"  … and {len(lines) - _MOST_LINES} more in the report")
    for line in (*_notes(record, load), *record.gaps):
        console.print(Text(f"  {line}"))
    if load.operations:
        console.print(_fitting_table(load, console))
    if load.cycles:
        console.print(Text(f"  {_cycles(load.cycles)}"))
    if load.is_steady is not None and not load.capacity:
        console.print(Text(f"  {describe_steadiness(load)}"))
    if change := read_change(record.folder, []):
        against = headline_of_change(change.comparison)
        console.print(Text(f"  against {change.baseline}: {against.title}. {against.detail}"))
    if load.invariants:
        console.print(Text(f"  promises verified under load: {count_states(load)}"))
    cost = f", {load.cost_credits:,.0f} credits" if load.cost_credits else ""
    console.print(Text(f"  {record.duration_s:.0f} s{cost}, seed {load.plan.seed}"))
    console.print(Text.assemble("  report ", (str(paths.html), "bold")), soft_wrap=True)


def _notes(record: RunRecord, load: LoadResults) -> list[str]:
    """What was noted, apart from what the verdict has said."""
    noted = [] if load.capacity else (record.note or load.note).splitlines()
    return [line for line in noted if line not in load.validity.reasons]


def _fitting_table(load: LoadResults, console: Console) -> Table:
    """The table without as many columns as do not fit: a figure is left out whole, or shown whole."""
    rows = [_row(each, load.plan.model) for each in load.operations]
    columns = [
        name for name in rows[0] if name != "throttled" or any(row["throttled"] != "0" for row in rows)
    ]
    for dispensable in (None, *_DISPENSABLE):
        columns = [name for name in columns if name != dispensable]
        table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
        for name in columns:
            is_name = name == _OPERATION
            table.add_column(
                name, justify="left" if is_name else "right", no_wrap=not is_name, overflow="fold"
            )
        for row in rows:
            table.add_row(*(row[name] for name in columns))
        if table.__rich_measure__(console, console.options.update(max_width=1000)).maximum <= console.width:
            break
    return table


def _row(operation: OperationLoad, model: str) -> dict[str, str]:
    times = operation.response if model == "open" else operation.service
    outcomes = operation.outcomes
    return {
        _OPERATION: f"  {operation.operation}",
        "requests": f"{operation.requests:,}",
        "per s": f"{operation.per_s:,.1f}",
        "errors": f"{outcomes['failed'] + outcomes['wrong'] + outcomes['refused']:,}",
        "throttled": f"{outcomes['throttled']:,}",
        **{name: f"{times.percentiles[percent]:,.1f}" for name, percent in _PERCENTS.items()},
        "max": f"{times.max_ms:,.1f}",
    }


def _cycles(cycles: Cycles) -> str:
    endings = ", ".join(f"{count:,} {ending}" for ending, count in cycles.endings.items())
    parts = [f"{cycles.submitted:,} asynchronous runs: {endings or 'none ended'}"]
    for what, times in (
        ("to final", cycles.to_final),
        ("lost to polling", cycles.lost_to_polling),
        ("webhook delay", cycles.webhook_delay),
    ):
        if times.count:
            parts.append(f"{what} p50 {milliseconds(times.percentiles['50'])}")
    if cycles.undelivered:
        parts.append(f"{cycles.undelivered:,} deliveries did not come")
    return "; ".join(parts)
