"""``knouds-harness cleanup``: delete what interrupted runs left on their targets."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from knouds_harness.errors import ExitCode, HarnessError, UsageError
from knouds_harness.option_declarations import click_options, option, options_from, runs_folder_option
from knouds_harness.printable import counted, printable

if TYPE_CHECKING:
    from knouds_harness.exchange.creation_record import Ledger, LedgerContent
    from knouds_harness.exchange.workflow_removal import Removed

_MOST_SHOWN, _MOST_SHOWN_TEXT = 20, 100


_A_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@dataclass(frozen=True, kw_only=True)
class CleanupOptions:
    target: str | None = option("Profile to use", metavar="NAME", default_text="the run's, from targets/")
    trust: Path | None = option(
        "Clean up this run even if you have not signed its list of created workflows",
        type=_A_FOLDER,
        metavar="FOLDER",
    )
    dry_run: bool = option("List what would be deleted, and delete nothing", default=False)
    yes_production: bool = option("Allow a profile with production = true", default=False)


@click.command()
@click.argument("run", required=False, type=_A_FOLDER)
@runs_folder_option
@click_options(CleanupOptions)
def cleanup(*, run: Path | None, runs_folder: Path, **asked: object) -> None:
    """Delete what interrupted runs left on a target.

    RUN is the folder of one run; without it, all runs are cleaned up. Deletes only workflows that a run of
    yours noted before it created them, and that still have the name that it sent. If usage was not settled
    when a run ended, says what the run was charged.

    \b
      knouds-harness cleanup --dry-run
      knouds-harness cleanup reports/runs/20260301T090000Z-check-staging
    """
    options = options_from(CleanupOptions, asked)
    if run is not None and options.trust is not None:
        raise UsageError("RUN and --trust both name a folder\n  Name one: --trust cleans up its folder, too.")
    named = options.trust or run
    codes = []
    for path in _ledgers(named or runs_folder):
        try:
            code = _clean(path, options, is_named=named is not None)
        except HarnessError as error:  # go on with the other runs
            where = "" if str(path) in str(error) else f"{path.parent}: "
            click.echo(printable(f"error: {where}{error}"), err=True)
            code = error.exit_code
        codes += [] if code is None else [code]
    if not options.dry_run:
        codes += _settle(named or runs_folder, options)
    if not codes:
        click.echo("Nothing to do: no run has left a workflow behind.")
    sys.exit(max(codes, default=ExitCode.KEPT))


def _ledgers(folder: Path) -> list[Path]:
    """Return the ledgers of one run, or of all runs in a folder; those of ``record`` are in hidden ones."""
    from knouds_harness.exchange.creation_record import LEDGER_FILES

    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder\n  Name it with --runs-folder.")
    return sorted(path for depth in ("", "*/", "*/*/") for path in folder.glob(f"{depth}{LEDGER_FILES}"))


def _clean(path: Path, options: CleanupOptions, *, is_named: bool) -> ExitCode | None:
    """Clean up after one run; return None if it has left nothing."""
    from knouds_harness.exchange.creation_record import CreationRecord, Ledger, append, read_ledger
    from knouds_harness.exchange.user_state import is_running
    from knouds_harness.locations import SANDBOX
    from knouds_harness.runs.writer import RESERVE_FILE

    run = path.parent
    content = read_ledger(path, is_trusted=options.trust is not None)
    is_unsigned = not CreationRecord.of_events(content.unsigned).is_done
    if is_unsigned:
        _print_unsigned(run, content)
    code = ExitCode.BREACH if is_unsigned else None
    seen = CreationRecord.of_events(content.events)
    if seen.is_done:
        return code
    header = seen.header
    if not is_named and is_running(header.get("pid"), header.get("started")):
        click.echo(
            f"{run}: skipped, as process {header['pid']} still runs. Name the run to clean it up anyway."
        )
        return ExitCode.BREACH
    ledger = Ledger() if options.dry_run else Ledger(write=partial(append, path), id=content.id)
    if not options.dry_run:
        (run / RESERVE_FILE).unlink(missing_ok=True)
    if header.get("target") == SANDBOX and options.target is None:
        click.echo(f"{run}: the sandbox of this run has ended, and its workflows are gone with it.")
        CreationRecord.of_events(content.events, ledger).finish(left=0)
        return code or ExitCode.KEPT
    removed = _remove(content, ledger, options)
    _print(run, removed, is_dry=options.dry_run)
    if removed.was_interrupted:
        raise KeyboardInterrupt
    return ExitCode.BREACH if removed.left else code or ExitCode.KEPT


def _remove(content: LedgerContent, ledger: Ledger, options: CleanupOptions) -> Removed:
    from knouds_harness.exchange.client import Client
    from knouds_harness.exchange.created_workflows import CreatedWorkflows
    from knouds_harness.exchange.creation_record import CreationRecord
    from knouds_harness.exchange.profile_check import first_contact
    from knouds_harness.targets.builtin import recorded_target
    from knouds_harness.targets.guards import Guard

    header = CreationRecord.of_events(content.events).header
    target = recorded_target(header.get("target"), header.get("base_url"), asked=options.target)
    created = CreatedWorkflows(target=target, events=content.events, ledger=ledger)
    guard = Guard(target, yes_production=options.yes_production)
    with Client(target=target, guard=guard, created=created) as client:
        first_contact(client)
        return client.remove_left(is_dry=options.dry_run, ends_at_once=True)


def _print_unsigned(run: Path, content: LedgerContent) -> None:
    texts = (each.get("text") or each.get("slug") for each in content.unsigned)
    said = list(dict.fromkeys(str(each)[:_MOST_SHOWN_TEXT] for each in texts if each))
    lines = [
        f"{run}: notes {counted(len(said), 'workflow')} without your signature, and was not acted on",
        *(f"  not deleted {each}" for each in said[:_MOST_SHOWN]),
        *([f"  and {len(said) - _MOST_SHOWN:,} more"] if len(said) > _MOST_SHOWN else []),
        *([f"  Nothing can be signed here: {content.problem}"] if content.problem else []),
        f"  If it is your own run, clean it up with --trust {run}",
    ]
    for line in lines:
        click.echo(printable(line, keep=""))


def _settle(folder: Path, options: CleanupOptions) -> list[ExitCode]:
    """Read usage again for the runs in a folder whose charges may not all have shown when they ended."""
    from knouds_harness.exchange.client import Client
    from knouds_harness.runs.record import read_run
    from knouds_harness.runs.unsettled import UNSETTLED_FILE, settle, unsettled_in
    from knouds_harness.targets.builtin import recorded_target
    from knouds_harness.targets.guards import Guard

    codes = []
    for path in sorted({*folder.glob(UNSETTLED_FILE), *folder.glob(f"*/{UNSETTLED_FILE}")}):
        try:
            if (unsettled := unsettled_in(path.parent)) is None:
                continue
            name = None if options.target else read_run(path.parent).setup.target.name
            target = recorded_target(name, unsettled.base_url, asked=options.target)
            guard = Guard(target, yes_production=options.yes_production)
            with Client(target=target, guard=guard) as client:
                words, code = settle(path.parent, client)
            click.echo(printable(words))
        except HarnessError as error:  # go on with the other runs
            click.echo(f"error: {path.parent}: {error}", err=True)
            code = error.exit_code
        codes.append(code)
    return codes


def _print(run: Path, removed: Removed, *, is_dry: bool) -> None:
    done, each_done = ("would be deleted", "would delete") if is_dry else ("deleted", "deleted")
    lines = [f"{run}: {counted(len(removed.deleted), 'workflow')} {done}, {len(removed.left)} left"]
    lines += [f"  {each_done} {slug}" for slug in removed.deleted]
    lines += [f"  left {each}" for each in removed.left]
    for line in lines:
        click.echo(printable(line))
