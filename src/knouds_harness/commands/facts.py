"""``knouds-harness facts``: list promises, what proves them, what that needs, and their status in a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from types import MappingProxyType
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
      knouds-harness facts 'webhook.*' 'async.*'       groups of them
    """
    from knouds_harness.command_output import CommandConsole, print_json
    from knouds_harness.contract.document import shipped_document
    from knouds_harness.exchange.recording_folder import RecordingFolder
    from knouds_harness.judging.user_checks import USER, UserChecks, load_checks
    from knouds_harness.reporting.check.fact_status import fact_rows
    from knouds_harness.runs.record import read_run

    record = read_run(run) if run else None
    own = load_checks(checks) if checks else UserChecks()
    of_run = record.setup if record else None
    every_fact = {
        **shipped_document().facts,
        **{each.id: each for each in (of_run.facts if of_run else {}).values() if each.source is Source.USER},
        **own.facts,
    }
    chosen = {
        name: each
        for name, each in every_fact.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns or ["*"])
    }
    if not chosen:
        is_group = any("*" in each or "." not in each for each in patterns)
        groups = sorted({f"{each.partition('.')[0]}.*" for each in every_fact})
        raise UnknownName("fact", " ".join(patterns), groups if is_group else every_fact)
    of_user = [each for each in (of_run.checks if of_run else {}).values() if each.family == USER]
    rows = coverage(
        chosen,
        statuses={row.fact.id: row.status for row in fact_rows(record)} if record else {},
        recordings=RecordingFolder.open(recordings_path()).names_by_fact(),
        ways=_ways(chosen),
        more_checks=[*of_user, *(each.recorded for each in own.checks.values())],
    )
    if form == "json":
        print_json("facts", {"facts": rows}, version=2)
    else:
        print_coverage(chosen, rows, console=CommandConsole())


def _ways(facts: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Return what a profile must offer for each fact, in each way to show it, the shortest first."""
    try:
        from knouds_harness.suite.discovery.run_plan import ways_by_fact
    except ModuleNotFoundError:  # a light install has no pytest, which knows what tests need
        return dict.fromkeys(facts, ("known with pip install '.[check]' in the project's folder",))
    return ways_by_fact()


def coverage(
    facts: Mapping[str, Fact],
    *,
    statuses: Mapping[str, FactStatus] = MappingProxyType({}),
    recordings: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ways: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    more_checks: Iterable[RunCheck] = (),
) -> list[dict[str, Any]]:
    """Return what proves each fact, as JSON has it; all mappings are by fact id."""
    from knouds_harness.judging.checks import all_checks
    from knouds_sandbox.faults import FAULTS

    every_check = (*(each.recorded for each in all_checks().values()), *more_checks)
    rows = []
    for name, fact in facts.items():
        needs, *others = ways.get(name) or (None,)
        row = {
            "fact": name,
            "says": fact.says,
            "source": str(fact.source),
            "status": str(statuses[name]) if name in statuses else None,
            "needs": needs,
            "other_ways": others,
            "checks": list(dict.fromkeys(check.id for check in every_check if name in check.facts)),
            "faults": [fault.id for fault in FAULTS if fault.fact == name],
            "recordings": list(recordings.get(name, ())),
        }
        lacks = [what for what in ("check", "fault") if not row[f"{what}s"]] if _is_documented(fact) else []
        rows.append(row | {"gap": f"no {lacks[0]}" if lacks else None})
    return rows


def _is_documented(fact: Fact) -> bool:
    return fact.source not in (Source.ASSUMED, Source.USER)


def print_coverage(facts: Mapping[str, Fact], rows: list[dict[str, Any]], *, console: Console) -> None:
    """Print a few lines per fact, none of which breaks an id, and totals."""
    from knouds_harness.command_output import print_line
    from knouds_harness.reporting.check.fact_status import FactStatus

    say = partial(print_line, console=console)
    labels = {str(each): each.label for each in FactStatus}
    for row in rows:
        fact = facts[row["fact"]]
        kind = "conflict" if fact.conflict else fact.source
        status = f", {labels[row['status']]}" if row["status"] else ""
        say(f"{fact.id} ({kind}{status})")
        say(f"  {fact.says}")
        none = "responses that its check judges" if fact.source is Source.USER else "no profile shows it"
        for number, way in enumerate((row["needs"] or none, *row["other_ways"])):
            say(f"  {'or' if number else 'needs'}: {way}")
        say(f"  checks: {', '.join(row['checks']) or 'none'}")
        say(f"  faults: {', '.join(row['faults']) or 'none'}")
        say(f"  recordings: {first_few(row['recordings'], _MOST_NAMES) or 'none'}")
    documented = [row for row in rows if _is_documented(facts[row["fact"]])]
    proven = sum(row["gap"] is None for row in documented)
    assumed = sum(fact.source is Source.ASSUMED for fact in facts.values())
    say(
        f"{counted(len(documented), 'documented fact')}, {proven} with a check and a fault that makes it "
        f"fail; {counted(assumed, 'assumed fact')}."
    )
    recorded = {name for row in rows for name in row["recordings"]}
    say(
        f"{counted(sum(bool(row['recordings']) for row in documented), 'documented fact')} in "
        f"{counted(len(recorded), 'recording')}."
    )
