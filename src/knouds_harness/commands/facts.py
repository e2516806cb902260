"""``knouds-harness facts``: every promise with what proves it, what that needs and how a run went."""

from __future__ import annotations

from pathlib import Path

import click

from knouds_harness.command_output import CommandConsole, format_option, print_json
from knouds_harness.commands.traceability import coverage, coverage_as_json, print_coverage
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.sources import Source
from knouds_harness.exchange.recordings.folder import RecordingFolder
from knouds_harness.judging.user_checks import USER, UserChecks, load_checks
from knouds_harness.locations import recordings_path
from knouds_harness.reporting.check.fact_status import fact_rows
from knouds_harness.runs.record import read_run
from knouds_harness.suite.discovery.reach import ways_by_fact


@click.command()
@click.option("--run", type=click.Path(path_type=Path), metavar="DIR", help="Show the status in this run")
@click.option(
    "--checks", type=click.Path(path_type=Path), metavar="FILE", help="Python file with checks of your own"
)
@click.option("--gaps", is_flag=True, help="List only documented facts without a check or a fault")
@format_option
def facts(run: Path | None, checks: Path | None, *, gaps: bool, form: str) -> None:
    """List every fact with its source, checks, faults and recordings.

    Each comes with what a profile has to offer so that a check can verify it.
    """
    record = read_run(run) if run else None
    standings = {row.fact.id: row.standing for row in fact_rows(record)} if record else None
    own = load_checks(checks) if checks else UserChecks()
    of_run = record.setup if record else None
    every_fact = {
        **shipped_document().facts,
        **{each.id: each for each in (of_run.facts if of_run else {}).values() if each.source is Source.USER},
        **own.facts,
    }
    of_user = [each for each in (of_run.checks if of_run else {}).values() if each.family == USER]
    recordings = RecordingFolder.open(recordings_path()).names_by_fact()
    rows = coverage(
        every_fact.values(),
        standings,
        recordings,
        ways_by_fact(),
        more_checks=[*of_user, *own.checks.values()],
    )
    if form == "json":
        print_json("facts", {"facts": coverage_as_json(rows, gaps_only=gaps)}, version=2)
    else:
        print_coverage(rows, gaps_only=gaps, console=CommandConsole())
