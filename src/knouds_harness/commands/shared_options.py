"""Options that several commands have."""

from pathlib import Path
from typing import Final

import click

from knouds_harness.locations import objectives_path

runs_folder_option: Final = click.option(
    "--runs-folder",
    type=click.Path(path_type=Path),
    default=Path("reports/runs"),
    show_default=True,
    metavar="DIR",
    help="Folder for run records",
)
baselines_folder_option: Final = click.option(
    "--baselines-folder",
    type=click.Path(path_type=Path),
    default=Path("reports/baselines"),
    show_default=True,
    metavar="DIR",
    help="Folder for kept summaries",
)
format_option: Final = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format",
)


def usual_objectives(target: str) -> Path | None:
    """Return the objectives to use if none are given: the shipped ones for the sandbox, no file elsewhere."""
    from knouds_harness.locations import SANDBOX

    return objectives_path() if target == SANDBOX else None
