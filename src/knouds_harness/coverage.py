"""The table of all promises: what proves a fact, what makes that fail, its recordings, how a run went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from knouds_harness.conformance.checks import all_checks
from knouds_harness.contract.sources import Fact, Source
from knouds_harness.reporting.standing import Standing
from knouds_harness.sandbox.faults import FAULTS

_MOST_NAMES = 3


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """One fact and what proves it.

    Attributes:
        fact: The promise, or the assumption.
        checks: Ids of the checks that may make a claim about it.
        faults: Ids of the sandbox's faults that break it.
        recordings: Names of the recordings that show it.
        standing: How it stood in a run; None where no run was asked about.
    """

    fact: Fact
    checks: tuple[str, ...]
    faults: tuple[str, ...]
    recordings: tuple[str, ...] = ()
    standing: Standing | None = None

    @property
    def gap(self) -> str | None:
        """What is missing to prove a documented fact; an assumption needs no proof."""
        if self.fact.source is Source.ASSUMED:
            return None
        if not self.checks:
            return "no check"
        return None if self.faults else "no fault"


def coverage(
    facts: Iterable[Fact],
    standings: Mapping[str, Standing] | None = None,
    recordings: Mapping[str, Sequence[str]] | None = None,
) -> list[Coverage]:
    """What proves each fact.

    Args:
        facts: In the order in which to list them.
        standings: How facts stood in a run, by id.
        recordings: Names of recordings, by fact.
    """
    checks: dict[str, list[str]] = defaultdict(list)
    for check in all_checks().values():
        for fact_id in check.facts:
            checks[fact_id].append(check.id)
    faults: dict[str, list[str]] = defaultdict(list)
    for fault in FAULTS:
        faults[fault.fact].append(fault.id)
    return [
        Coverage(
            fact=fact,
            checks=tuple(checks[fact.id]),
            faults=tuple(faults[fact.id]),
            recordings=tuple((recordings or {}).get(fact.id, ())),
            standing=(standings or {}).get(fact.id),
        )
        for fact in facts
    ]


def print_coverage(rows: list[Coverage], *, gaps_only: bool, console: Console) -> None:
    """Print the table, and a line that counts."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("fact", "source", "checks", "faults", "recordings", "in the run"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        if not gaps_only or row.gap:
            table.add_row(
                row.fact.id,
                "conflict" if row.fact.conflict else row.fact.source,
                ", ".join(row.checks) or "none",
                ", ".join(row.faults) or "none",
                _listed(row.recordings),
                row.standing.label if row.standing else "",
            )
    if table.row_count:
        console.print(table)
    documented = [row for row in rows if row.fact.source is not Source.ASSUMED]
    proven = [row for row in documented if row.gap is None]
    console.print(
        f"{len(proven)} of {len(documented)} documented facts have a check and a fault that makes it fail; "
        f"{len(rows) - len(documented)} facts are assumed.",
        highlight=False,
    )
    recorded = {name for row in rows for name in row.recordings}
    console.print(
        f"{sum(bool(row.recordings) for row in documented)} documented facts show in {len(recorded)} "
        "recordings.",
        highlight=False,
    )


def _listed(names: Sequence[str]) -> str:
    """The first few, as what holds for every answer shows in nearly all of them."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{', '.join(names[:_MOST_NAMES])}{more}" or "none"
