"""``knouds-harness report``: render the reports of a run record again."""

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Render the reports of a run again.

    RUN is a folder under reports/runs/.
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.reporting.render import render_and_print

    render_and_print(run, console=CommandConsole())
