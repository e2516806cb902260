"""The options of several commands that say where runs and kept summaries are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def runs_folder_option(says: str) -> Callable[[_Command], _Command]:
    """``--runs-folder``, ``reports/runs`` unless told otherwise; ``says`` is its help."""
    return _folder_option("--runs-folder", Path("reports/runs"), says)


def baselines_folder_option(says: str = "For kept summaries.") -> Callable[[_Command], _Command]:
    """``--baselines-folder``, ``reports/baselines`` unless told otherwise; ``says`` is its help."""
    return _folder_option("--baselines-folder", Path("reports/baselines"), says)


def _folder_option(name: str, default: Path, says: str) -> Callable[[_Command], _Command]:
    return click.option(name, type=click.Path(path_type=Path), default=default, metavar="DIR", help=says)
