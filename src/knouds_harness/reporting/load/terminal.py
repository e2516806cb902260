"""What one sees at the end of a load run."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from knouds_harness.reporting.load.headline import count_states, describe, describe_broken, load_headline
from knouds_harness.reporting.load.steadiness import describe_steadiness
from knouds_harness.reporting.render import RenderedPaths
from knouds_harness.runs.load_results import LoadResults
from knouds_harness.runs.record import RunRecord

_STYLE_BY_TONE = {"good": "bold green", "bad": "bold red", "warn": "bold yellow"}
_PERCENTS = {"p50": "50", "p90": "90", "p99": "99"}
_MOST_LINES = 5


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
    for line in (record.note or load.note).splitlines() if not load.capacity else ():
        console.print(Text(f"  {line}"))
    if load.operations:
        console.print(_table(load))
    if load.is_steady is not None and not load.capacity:
        console.print(Text(f"  {describe_steadiness(load)}"))
    if load.invariants:
        console.print(Text(f"  promises verified under load: {count_states(load)}"))
    cost = f", {load.cost_credits:,.0f} credits" if load.cost_credits else ""
    console.print(Text(f"  {record.duration_s:.0f} s{cost}, seed {load.plan.seed}"))
    console.print(Text.assemble("  report ", (str(paths.html), "bold")), soft_wrap=True)


def _table(load: LoadResults) -> Table:
    is_throttled = any(each.outcomes["throttled"] for each in load.operations)
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column("  times in ms", no_wrap=True)
    columns = ["requests", "per s", "errors", *(["throttled"] if is_throttled else []), *_PERCENTS, "max"]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for each in load.operations:
        times = each.response if load.plan.model == "open" else each.service
        errors = each.outcomes["failed"] + each.outcomes["wrong"] + each.outcomes["refused"]
        table.add_row(
            f"  {each.operation}",
            f"{each.requests:,}",
            f"{each.per_s:,.1f}",
            f"{errors:,}",
            *([f"{each.outcomes['throttled']:,}"] if is_throttled else []),
            *(f"{times.percentiles[percent]:,.1f}" for percent in _PERCENTS.values()),
            f"{times.max_ms:,.1f}",
        )
    return table
