"""``knouds-harness demo``: check the built-in sandbox."""

import sys

import click

from knouds_harness.commands.check import run_check


@click.command()
def demo() -> None:
    """Check the built-in sandbox.

    It needs no account and no network, and says where the report is.
    """
    click.echo("Starting a sandbox and checking it: no account, no network, about half a minute.")
    sys.exit(run_check({"target": "sandbox"}))
