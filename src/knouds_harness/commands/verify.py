"""``knouds-harness verify``: judge recorded traffic."""

import sys
from pathlib import Path

import click

from knouds_harness.option_declarations import click_options, options_from
from knouds_harness.suite.options import RunOptions


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--base-url", metavar="URL", help="Address of the API, if FILE holds several servers")
@click_options(RunOptions, "strict", "runs_folder")
def verify(file: Path, *, base_url: str | None, **asked: object) -> None:
    """Check recorded traffic against the contract.

    Nothing is sent. FILE is a HAR file: a browser's, a proxy's, or the exchanges.har of a run.
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.reporting.render import render_and_print
    from knouds_harness.suite.recorded.verification import verify as verify_traffic

    options = options_from(RunOptions, asked)
    code, folder = verify_traffic(
        file, base_url=base_url, strict=options.strict, runs_folder=options.runs_folder
    )
    render_and_print(folder, console=CommandConsole())
    sys.exit(code)
