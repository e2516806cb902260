"""``knouds-harness doctor``: compare a profile with its target."""

import sys
from dataclasses import asdict

import click

from knouds_harness.option_declarations import click_options, format_option, options_from
from knouds_harness.suite.options import RunOptions


@click.command()
@click_options(RunOptions, "target", "yes_production")
@format_option
def doctor(*, form: str, **asked: object) -> None:
    """Check a profile: what can be tested, what is missing, what it costs."""
    from knouds_harness.command_output import CommandConsole, print_json
    from knouds_harness.suite.discovery.doctor import examine, print_diagnosis

    options = options_from(RunOptions, asked)
    found = examine(options.target, yes_production=options.yes_production)
    if form == "json":
        print_json("diagnosis", asdict(found))
    else:
        print_diagnosis(found, console=CommandConsole())
    sys.exit(found.exit_code)
