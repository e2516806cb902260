"""The options of several commands that say where runs and kept summaries are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

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
