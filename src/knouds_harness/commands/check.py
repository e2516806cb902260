"""``knouds-harness check``: the conformance suite on a target."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from knouds_harness.option_declarations import click_options, options_from, runner_arguments
from knouds_harness.printable import printable
from knouds_harness.suite.options import RunOptions


@click.command()
@click_options(RunOptions)
def check(**asked: object) -> None:
    """Check that a target keeps the contract.

    Every request goes through the profile's guards: host, kind of action, rate, credits. The run record
    is written as the run goes; interrupting it loses nothing.

    \b
      knouds-harness check                                   the built-in sandbox
      knouds-harness check --target staging --credits 50     a profile of your own
      knouds-harness check --quick                           every fact, fewer samples of each
      knouds-harness check --family capabilities --seed 42   one family, repeatable
      knouds-harness check --fault auth-revoked-accepted     see a check fail
    """
    if asked.pop("plan_only"):
        print_plan(options_from(RunOptions, asked))
        return
    sys.exit(run_check(asked))


def print_plan(options: RunOptions) -> None:
    """Say what a check would send, and to what; nothing is sent."""
    from knouds_harness.suite.discovery.run_plan import check_plan
    from knouds_harness.targets.builtin import open_target

    with open_target(options.target, faults=options.faults, variant=options.variant) as target:
        for line in check_plan(target.spending(options.credits), options):
            click.echo(printable(line))


def run_check(asked: Mapping[str, object]) -> int:
    """Run the suite, render its reports and print the verdict; returns the exit code.

    Args:
        asked: Options by their names in ``RunOptions``.
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.reporting.render import print_summary, render_all
    from knouds_harness.runs.record import read_run
    from knouds_harness.suite.discovery.advice import print_advice
    from knouds_harness.suite.running import run_suite
    from knouds_harness.targets.builtin import SANDBOX

    console = CommandConsole()
    whole = {name: value.absolute() if isinstance(value, Path) else value for name, value in asked.items()}
    result = run_suite(runner_arguments(RunOptions, whole), console=console)
    if result.folder is not None:
        paths = render_all(result.folder)
        print_summary(read_run(result.folder), paths, console=console)
    if result.target is not None and result.target.name != SANDBOX:  # of which every fact can be verified
        print_advice(result.target, console)
    return result.exit_code
