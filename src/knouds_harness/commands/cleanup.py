"""``knouds-harness cleanup``: delete what killed runs have left on their targets."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from knouds_harness.commands.shared_options import runs_folder_option
from knouds_harness.errors import ExitCode, HarnessError, UsageError
from knouds_harness.printable import printable

if TYPE_CHECKING:
    from knouds_harness.exchange.workflow_removal import Removed
    from knouds_harness.targets.profile import Target


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@runs_folder_option
@click.option("--target", metavar="NAME", help="Profile in targets/ [default: that of the run]")
@click.option("--dry-run", is_flag=True, help="List what would be deleted, and delete nothing")
@click.option("--yes-production", is_flag=True, help="Allow a profile with production = true")
def cleanup(
    *, run: Path | None, runs_folder: Path, target: str | None, dry_run: bool, yes_production: bool
) -> None:
    """Delete what killed runs have left on a target.

    RUN is the folder of one run; without it, all runs are cleaned up. Deletes only workflows that a run noted
    before it created them, and that have the name that it sent.

    \b
      knouds-harness cleanup --dry-run
      knouds-harness cleanup reports/runs/20260301T090000Z-check-staging
    """
    from knouds_harness.exchange.created_workflows import CreatedWorkflows

    codes = []
    for path in _ledgers(run or runs_folder):
        seen = CreatedWorkflows.read(path, is_kept=False)
        if seen.is_done:
            continue
        if run is None and _is_running(pid := seen.header.get("pid")):
            click.echo(
                f"{path.parent}: skipped, as process {pid} still runs. Name the run to clean it up anyway."
            )
            codes.append(ExitCode.BREACH)
            continue
        try:
            code = _clean(path, seen.header, target_name=target, is_dry=dry_run, yes=yes_production)
        except HarnessError as error:  # go on with the other runs
            click.echo(f"error: {path.parent}: {error}", err=True)
            code = error.exit_code
        codes.append(code)
    if not codes:
        click.echo("Nothing to do: no run has left a workflow behind.")
    sys.exit(max(codes, default=ExitCode.KEPT))


def _ledgers(folder: Path) -> list[Path]:
    """Return the ledgers of one run, or of all runs in a folder; those of ``record`` are in hidden ones."""
    from knouds_harness.exchange.created_workflows import LEDGER_FILE

    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder\n  Name it with --runs-folder.")
    return sorted(path for depth in ("", "*/", "*/*/") for path in folder.glob(f"{depth}{LEDGER_FILE}"))


def _is_running(pid: object) -> bool:
    """Whether a run's process still lives, and so will clean up itself; a zombie will not."""
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:  # not Linux
        return True
    return state not in (b"Z", b"X")


def _clean(
    path: Path, header: Mapping[str, object], *, target_name: str | None, is_dry: bool, yes: bool
) -> ExitCode:
    from knouds_harness.exchange.client import Client
    from knouds_harness.exchange.created_workflows import CreatedWorkflows
    from knouds_harness.exchange.first_contact import first_contact
    from knouds_harness.locations import SANDBOX
    from knouds_harness.targets.guards import Guard

    run = path.parent
    if header.get("target") == SANDBOX and target_name is None:
        click.echo(f"{run}: the sandbox of this run has ended, and its workflows are gone with it.")
        CreatedWorkflows.read(path, is_kept=not is_dry).finish(left=0)
        return ExitCode.KEPT
    target = _target(target_name or str(header.get("profile")), base_url=str(header.get("base_url")))
    created = CreatedWorkflows.read(path, target, is_kept=not is_dry)
    guard = Guard(target, yes_production=yes)
    with Client(target=target, guard=guard, created=created) as client:
        first_contact(client)
        removed = client.remove_left(is_dry=is_dry)
    _print(run, removed, verb="would delete" if is_dry else "deleted")
    if removed.was_interrupted:
        raise KeyboardInterrupt
    return ExitCode.BREACH if removed.left else ExitCode.KEPT


def _target(name: str, *, base_url: str) -> Target:
    from knouds_harness.targets.profile import load_target

    target = load_target(name)
    if target.base_url != base_url:
        raise UsageError(
            f"the run was on {base_url}, and {target.source} is for {target.base_url}\n"
            "  Name the profile of that server with --target."
        )
    return target


def _print(run: Path, removed: Removed, *, verb: str) -> None:
    count = len(removed.deleted)
    lines = [f"{run}: {count} workflow{'' if count == 1 else 's'} {verb}, {len(removed.left)} left"]
    lines += [f"  {verb} {slug}" for slug in removed.deleted]
    lines += [f"  left {each}" for each in removed.left]
    for line in lines:
        click.echo(printable(line))
