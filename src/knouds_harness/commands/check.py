"""``knouds-harness check``: run the conformance suite on a target."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from knouds_harness.errors import ExitCode
from knouds_harness.option_declarations import (
    baselines_folder_option,
    click_options,
    options_from,
    runner_arguments,
)
from knouds_harness.printable import printable
from knouds_harness.suite.options import RunOptions

if TYPE_CHECKING:
    from knouds_harness.reporting.comparison.sides import Side


@click.command()
@click_options(RunOptions)
@click.option(
    "--baseline", metavar="RUN", help="Compare with this run or kept summary [default: TARGET-check]"
)
@baselines_folder_option
@click.option("--only-new", is_flag=True, help="Print only what fails the run or is new since the baseline")
def check(*, baseline: str | None, baselines_folder: Path, only_new: bool, **asked: object) -> None:
    """Check that a target keeps the contract.

    Every request goes through the profile's guards: host, kind of action, rate, credits. The run record
    is written as the run goes; interrupting it loses nothing.

    \b
      knouds-harness check                                   the built-in sandbox
      knouds-harness check --target staging --credits 50     a profile of your own
      knouds-harness check --quick                           fewer samples of each
      knouds-harness check --family capabilities --seed 42   one family
      knouds-harness check --fault auth-revoked-accepted     see a check fail
    """
    from knouds_harness.reporting.comparison.sides import find_baseline
    from knouds_harness.suite.discovery.run_plan import check_plan
    from knouds_harness.targets.builtin import open_target

    plan_only, options = asked.pop("plan_only"), options_from(RunOptions, asked)
    if plan_only:
        with open_target(options.target, **options.of_sandbox) as target:
            for line in check_plan(target.spending(options.credits), options):
                click.echo(printable(line))
        return
    side = find_baseline(baseline, target=options.target, baselines=baselines_folder)
    sys.exit(run_check(asked, baseline=side, only_new=only_new))


def run_check(asked: Mapping[str, object], *, baseline: Side | None = None, only_new: bool = False) -> int:
    """Run the suite, render its reports and print the verdict; returns the exit code."""
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.reporting.comparison.sides import set_baseline
    from knouds_harness.reporting.render import render_and_print
    from knouds_harness.runs.findings import LESS_VERIFIED, RunOutcome
    from knouds_harness.runs.record import rewrite_outcome
    from knouds_harness.suite.running import run_suite

    console = CommandConsole()
    whole = {name: value.absolute() if isinstance(value, Path) else value for name, value in asked.items()}
    arguments = runner_arguments(RunOptions, whole)
    exit_code, folder = run_suite(arguments, console=console, only_failures=only_new)
    if folder is not None:
        if baseline is not None:
            change = set_baseline(folder, baseline)
            if change.is_worse and exit_code == ExitCode.KEPT:
                exit_code = ExitCode.BREACH
                note = f"{LESS_VERIFIED} {baseline.name}"
                rewrite_outcome(folder, RunOutcome.SHORT, exit_code, note=note)
        console.print()
        render_and_print(folder, console=console, only_new=only_new)
    return exit_code


@click.command()
def demo() -> None:
    """Check the built-in sandbox.

    It needs no account and no network, and says where the report is.
    """
    click.echo("Starting a sandbox and checking it: no account, no network, about half a minute.")
    sys.exit(run_check({"target": "sandbox"}))
