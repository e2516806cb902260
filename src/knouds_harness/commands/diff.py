"""``knouds-harness diff``: compare two OpenAPI documents, or what two runs saw."""

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click

from knouds_harness.commands.shared_options import format_option
from knouds_harness.errors import ExitCode, UsageError


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@format_option
def diff(old: Path, new: Path, *, form: str) -> None:
    """Compare two OpenAPI documents, or what two runs saw.

    OLD and NEW are two documents, or two folders under reports/runs/. Fails if clients of OLD break on NEW.
    """
    from knouds_harness.command_output import CommandConsole, print_json, print_line, print_table
    from knouds_harness.contract.difference import Kind, differences
    from knouds_harness.contract.document import load_document, shipped_document
    from knouds_harness.runs.surface_difference import run_differences

    if old.is_dir() != new.is_dir():
        folder, other = (old, new) if old.is_dir() else (new, old)
        raise UsageError(
            f"{folder} is a folder and {other} is not: give two documents, or the folders of two runs"
        )
    are_runs = old.is_dir()
    if are_runs:
        found = run_differences(old, new, shipped_document())
    else:
        found = differences(load_document(old), load_document(new))
    found.sort(key=lambda difference: list(Kind).index(difference.kind))
    counts = Counter(difference.kind for difference in found)
    if form == "json":
        print_json("diff", {"differences": [asdict(each) for each in found]})
    else:
        console = CommandConsole()
        print_table([(each.kind, f"{each.place}: {each.says}") for each in found], console=console)
        unknown = f", {counts[Kind.UNKNOWN]} cannot be told" if are_runs else ""
        print_line(
            f"{counts[Kind.BREAKING]} breaking, {counts[Kind.ADDITIVE]} additive{unknown}.", console=console
        )
    sys.exit(ExitCode.BREACH if counts[Kind.BREAKING] else ExitCode.KEPT)
