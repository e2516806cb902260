"""``knouds-harness facts``: list promises, what proves them, what that needs, and their status in a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from knouds_harness.contract.operations import Fact, Source
from knouds_harness.errors import UnknownName
from knouds_harness.locations import recordings_path
from knouds_harness.option_declarations import format_option
from knouds_harness.printable import counted, first_few

if TYPE_CHECKING:
    from rich.console import Console

    from knouds_harness.reporting.check.fact_status import FactStatus
    from knouds_harness.runs.run_file import RunCheck

_MOST_NAMES = 3


@click.command()
@click.argument("patterns", nargs=-1, metavar="[ID]...")
@click.option("--run", type=click.Path(path_type=Path), metavar="DIR", help="Show the status in this run")
@click.option(
    "--checks", type=click.Path(path_type=Path), metavar="FILE", help="Python file with checks of your own"
)
@format_option
def facts(patterns: tuple[str, ...], run: Path | None, checks: Path | None, *, form: str) -> None:
    """List facts with their source, checks, faults and recordings; all if no ID is given.

    Each shows what a profile must offer for a check to verify it.

    \b
      knouds-harness facts capability.orthogonal       one of them
      knouds-harness facts 'webhook.*' 'async.*'       by the first part of their ids
    """
    from knouds_harness.command_output import CommandConsole, print_json
    from knouds_harness.contract.document import shipped_document
    from knouds_harness.exchange.recordings.folder import RecordingFolder
    from knouds_harness.judging.user_checks import USER, UserChecks, load_checks
    from knouds_harness.reporting.check.fact_status import fact_rows
    from knouds_harness.runs.record import read_run

    record = read_run(run) if run else None
    statuses = {row.fact.id: row.status for row in fact_rows(record)} if record else None
    own = load_checks(checks) if checks else UserChecks()
    of_run = record.setup if record else None
    every_fact = {
        **shipped_document().facts,
        **{each.id: each for each in (of_run.facts if of_run else {}).values() if each.source is Source.USER},
        **own.facts,
    }
    known = list(every_fact)
    if patterns:
        every_fact = {
            name: each
            for name, each in every_fact.items()
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        }
        if not every_fact:
            if any("*" in each or "." not in each for each in patterns):
                known = sorted({f"{each.partition('.')[0]}.*" for each in known})
            raise UnknownName("fact", " ".join(patterns), known, listed_by="knouds-harness facts")
    try:
        from knouds_harness.suite.discovery.provable_facts import ways_by_fact
    except ModuleNotFoundError:  # a light install has no pytest, which knows what tests need
        ways: Mapping[str, tuple[str, ...]] = dict.fromkeys(
            every_fact, ("known with pip install 'knouds-harness[check]'",)
        )
    else:
        ways = ways_by_fact()
    of_user = [each for each in (of_run.checks if of_run else {}).values() if each.family == USER]
    recordings = RecordingFolder.open(recordings_path()).names_by_fact()
    rows = coverage(
        every_fact.values(),
        statuses,
        recordings,
        ways,
        more_checks=[*of_user, *(each.recorded for each in own.checks.values())],
    )
    if form == "json":
        print_json("facts", {"facts": coverage_as_json(rows)}, version=2)
    else:
        print_coverage(rows, console=CommandConsole())


@dataclass(frozen=True, kw_only=True)
class FactTraces:
    """One fact and what proves it.

    Attributes:
        status: Its status in a run; None if no run was given.
        ways: What a profile must offer, for each way to show it, the shortest first.
    """

    fact: Fact
    checks: tuple[str, ...]
    faults: tuple[str, ...]
    recordings: tuple[str, ...] = ()
    status: FactStatus | None = None
    ways: tuple[str, ...] = ()

    @property
    def gap(self) -> str | None:
        if self.fact.source in (Source.ASSUMED, Source.USER):
            return None
        if not self.checks:
            return "no check"
        return None if self.faults else "no fault"


def coverage(
    facts: Iterable[Fact],
    statuses: Mapping[str, FactStatus] | None = None,
    recordings: Mapping[str, Sequence[str]] | None = None,
    ways: Mapping[str, tuple[str, ...]] | None = None,
    *,
    more_checks: Iterable[RunCheck] = (),
) -> list[FactTraces]:
    """Return what proves each fact; the mappings are by fact id."""
    from knouds_harness.judging.checks import all_checks
    from knouds_sandbox.faults import FAULTS

    checks: dict[str, dict[str, None]] = defaultdict(dict)
    for check in (*(each.recorded for each in all_checks().values()), *more_checks):
        for fact_id in check.facts:
            checks[fact_id][check.id] = None
    faults: dict[str, list[str]] = defaultdict(list)
    for fault in FAULTS:
        faults[fault.fact].append(fault.id)
    return [
        FactTraces(
            fact=fact,
            checks=tuple(checks[fact.id]),
            faults=tuple(faults[fact.id]),
            recordings=tuple((recordings or {}).get(fact.id, ())),
            status=(statuses or {}).get(fact.id),
            ways=(ways or {}).get(fact.id, ()),
        )
        for fact in facts
    ]


def print_coverage(rows: list[FactTraces], *, console: Console) -> None:
    """Print a few lines per fact, none of which breaks an id, and totals."""
    from knouds_harness.command_output import print_line

    say = partial(print_line, console=console)
    for row in rows:
        kind = "conflict" if row.fact.conflict else row.fact.source
        status = f", {row.status.label}" if row.status else ""
        say(f"{row.fact.id} ({kind}{status})")
        say(f"  {row.fact.says}")
        none = "responses that its check judges" if row.fact.source is Source.USER else "no profile shows it"
        for number, way in enumerate(row.ways or (none,)):
            say(f"  {'or' if number else 'needs'}: {way}")
        say(f"  checks: {', '.join(row.checks) or 'none'}")
        say(f"  faults: {', '.join(row.faults) or 'none'}")
        say(f"  recordings: {first_few(row.recordings, _MOST_NAMES) or 'none'}")
    documented = [row for row in rows if row.fact.source not in (Source.ASSUMED, Source.USER)]
    proven = [row for row in documented if row.gap is None]
    say(
        f"{len(proven)} of {counted(len(documented), 'documented fact')} with a check and a fault that makes "
        f"it fail, {counted(sum(row.fact.source is Source.ASSUMED for row in rows), 'assumed fact')}."
    )
    recorded = {name for row in rows for name in row.recordings}
    say(
        f"{counted(sum(bool(row.recordings) for row in documented), 'documented fact')} in "
        f"{counted(len(recorded), 'recording')}."
    )


def coverage_as_json(rows: list[FactTraces]) -> list[dict[str, Any]]:
    return [
        {
            "fact": row.fact.id,
            "says": row.fact.says,
            "source": str(row.fact.source),
            "status": row.status and str(row.status),
            "needs": row.ways[0] if row.ways else None,
            "other_ways": list(row.ways[1:]),
            "checks": list(row.checks),
            "faults": list(row.faults),
            "recordings": list(row.recordings),
            "gap": row.gap,
        }
        for row in rows
    ]
