"""``knouds-harness report``: render the reports of a run record again."""

from pathlib import Path

import click

from knouds_harness.locations import objectives_path
from knouds_harness.option_declarations import baselines_folder_option


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--baseline", type=click.Path(path_type=Path), metavar="RUN", help="Compare with this run or kept summary"
)
@baselines_folder_option
def report(run: Path, *, baseline: Path | None, baselines_folder: Path) -> None:
    """Render the reports of a run again.

    RUN is a folder under reports/runs/; the baseline is another one, or a kept summary.
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.reporting.comparison.baseline import set_baseline
    from knouds_harness.reporting.comparison.sides import read_side
    from knouds_harness.reporting.render import render_and_print

    if baseline is not None:
        side = read_side([baseline], baselines=baselines_folder)
        set_baseline(run, side, objectives=objectives_path())
    render_and_print(run, console=CommandConsole())
