"""``knouds-harness record``: each documented outcome provoked, and kept as a file."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from knouds_harness.command_output import CommandConsole
from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import ExitCode, GuardStop, UsageError
from knouds_harness.exchange.contradictions import Contradiction
from knouds_harness.exchange.recordings.folder import Put, RecordingChange, RecordingFolder
from knouds_harness.exchange.recordings.recording import BUILT_IN
from knouds_harness.option_declarations import click_options, options_from
from knouds_harness.printable import printable
from knouds_harness.suite.discovery.run_plan import record_plan
from knouds_harness.suite.options import RunOptions
from knouds_harness.suite.outcomes import all_outcomes, windows
from knouds_harness.suite.recorded.captured_traffic import read_captured
from knouds_harness.suite.recorded.har_import import import_recordings
from knouds_harness.suite.recorded.plan import Plan, Price, make_plan
from knouds_harness.suite.recorded.session import ProvokedAnswer, RecordingSession, open_session
from knouds_harness.suite.untested import more_credits
from knouds_harness.targets.builtin import SANDBOX, open_target
from knouds_harness.targets.needs.keys import active_keys
from knouds_harness.targets.needs.need import CONTROL
from knouds_harness.targets.profile import Target

_SHOWN = 5


@click.command()
@click_options(RunOptions, "target")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("tests/recordings"),
    show_default=True,
    metavar="DIR",
    help="Folder for recordings",
)
@click.option(
    "--outcome",
    multiple=True,
    metavar="PATTERN",
    help="Record only these, such as 'getWhoami-*' (repeatable)",
)
@click.option("--update", is_flag=True, help="Record existing outcomes again, and rewrite what changed")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.har",
    help="Send nothing; keep what is new in captured traffic",
)
@click.option("--base-url", metavar="URL", help="--from: address of the API, if FILE.har has several servers")
@click.option("--yes", is_flag=True, help="Agree to the cost")
@click_options(RunOptions, "credits", "seed", "faults", "variant", "plan_only", "yes_production")
def record(
    *,
    folder: Path,
    outcome: tuple[str, ...],
    update: bool,
    source: Path | None,
    base_url: str | None,
    yes: bool,
    **asked: object,
) -> None:
    """Record an answer for each documented outcome.

    Provokes each outcome and keeps the answers as files, without anything secret. Prints the plan and its
    cost first. Existing recordings stay, unless --update is given: then a file is rewritten where something
    changed that a client could rely on.

    \b
    knouds-harness record                                    the built-in sandbox
    knouds-harness record --target staging --yes             a profile of your own
    knouds-harness record --update --outcome 'getWhoami-*'   some of them, anew
    knouds-harness record --from traffic.har                 of a browser, a proxy or a run
    """
    console = CommandConsole()
    if source is not None:
        if update or outcome:
            raise UsageError("--from sends nothing, so it goes with --folder and --base-url alone")
        sys.exit(_import(source, base_url=base_url, folder=folder, console=console))
    if base_url is not None:
        raise UsageError("--base-url goes with --from alone")
    options = options_from(RunOptions, asked)
    if options.plan_only:
        _print_what_would_be_sent(options, folder, outcome, is_update=update, console=console)
        return
    with open_session(options) as session:
        contradictions = session.run.contradictions
        _print_contradictions(contradictions, console)
        shelf = RecordingFolder.open(folder, contract_version=session.run.document.version)
        if shelf.damaged and not update:
            raise next(iter(shelf.damaged.values()))
        pricing = session.resources.tester.pricing
        plan = _plan(session.run.target, pricing.worst_case, shelf, outcome, is_update=update)
        _print_plan(plan, session.run.target, console)
        _print_cost(plan, session.run.target, console)
        _require_agreement(plan, session, is_agreed=yes)
        code = _record(plan, session, shelf, console)
        _print_contradictions(contradictions, console)
        if plan.impossible and not active_keys(session.run.target):
            _print(console, "No key of the profile works: nothing that needs one can be recorded.")
            code = code or ExitCode.USAGE
    overcharge = session.run.client.guard.budget.overcharge
    if overcharge is not None:
        raise GuardStop(overcharge)
    sys.exit(ExitCode.BREACH if contradictions or session.run.left else code)


def _print_contradictions(contradictions: Sequence[Contradiction], console: Console) -> None:
    for each in contradictions:
        _print(console, f"target contradicts the profile: {each.says}")


def _record(plan: Plan, session: RecordingSession, shelf: RecordingFolder, console: Console) -> ExitCode:
    """Record what is planned; what was recorded is kept and told, whatever ends it."""
    begun = time.monotonic()
    provoked: list[ProvokedAnswer] = []
    try:
        provoked.extend(_provoked(session, plan, console))
    finally:
        judged = session.judged(provoked)
        puts = shelf.put(each.recording for each in judged if each.recording and not each.problem)
        _print_outcomes(judged, puts, console)
        _print_left_over(shelf, session, console)
        counts = Counter(put.change for put in puts)
        listed = "".join(f", {counts[change]} {change}" for change in RecordingChange if counts[change])
        _print(
            console,
            f"{len(puts)} of {len(plan.outcomes)} outcomes recorded{listed}, in "
            f"{time.monotonic() - begun:.1f} s, seed {session.run.options.seed}: {shelf.path}",
        )
    if any(each.problem and not each.is_untested for each in judged):
        return ExitCode.BREACH
    is_short = any(more_credits(session.run.profile) in each.problem for each in judged)
    return ExitCode.GUARD if is_short else ExitCode.KEPT


def _import(source: Path, *, base_url: str | None, folder: Path, console: Console) -> ExitCode:
    """Keep what captured traffic has that is new, and list what is not kept."""
    document = shipped_document()
    shelf = RecordingFolder.open(folder, contract_version=document.version)
    if shelf.damaged:
        raise next(iter(shelf.damaged.values()))
    captured = read_captured(source, document, base_url=base_url)
    imported = import_recordings(captured, source=source, kept=shelf.recordings.values(), document=document)
    for put in shelf.put(imported.recordings):
        _print(console, f"new: {put.recording.name}")
    for line in [*imported.broken, *captured.left_out.splitlines()]:
        _print(console, f"not recorded: {line}")
    without = imported.without_operation
    _print(
        console,
        f"{len(captured.exchanges)} exchanges of {captured.base_url}: {len(imported.recordings)} new, "
        f"{imported.known} known already, {len(imported.broken)} that break a promise"
        f"{f', {without} of no operation' if without else ''}: {folder}",
    )
    return ExitCode.BREACH if imported.broken else ExitCode.KEPT


def _print_what_would_be_sent(
    options: RunOptions, folder: Path, patterns: Sequence[str], *, is_update: bool, console: Console
) -> None:
    """Print the plan as far as the profile tells it."""
    shelf = RecordingFolder.open(folder, contract_version=shipped_document().version)
    with open_target(options.target, faults=options.faults, variant=options.variant) as target:
        plan = _plan(target, lambda each: each.cost_credits, shelf, patterns, is_update=is_update)
        _print_plan(plan, target, console)
        for line in record_plan(target.spending(options.credits), plan.outcomes):
            _print(console, line)


def _plan(
    target: Target, price: Price, shelf: RecordingFolder, patterns: Sequence[str], *, is_update: bool
) -> Plan:
    outcomes = all_outcomes(shipped_document())
    plan = make_plan(
        outcomes,
        target=target,
        price=price,
        recorded=() if is_update else shelf.recordings,
        patterns=patterns,
    )
    if not (plan.outcomes or plan.kept or plan.impossible):
        known = ", ".join("-".join(outcome.name) for outcome in outcomes[:_SHOWN])
        raise UsageError(
            f"no outcome fits {' or '.join(patterns)}\n  There are {known} and {len(outcomes)} in all."
        )
    return plan


def _require_agreement(plan: Plan, session: RecordingSession, *, is_agreed: bool) -> None:
    if plan.most_credits and not is_agreed and session.run.target.name != SANDBOX:
        raise UsageError(
            f"recording may cost {plan.most_credits:,.0f} credits\n  Agree to that with --yes, or leave out "
            "what costs with --outcome."
        )


def _provoked(session: RecordingSession, plan: Plan, console: Console) -> Iterator[ProvokedAnswer]:
    with _progress(console, len(plan.outcomes)) as progress:
        task = progress.task_ids[0]
        for outcome in plan.outcomes:
            progress.update(task, description="-".join(outcome.name))
            yield session.provoke(outcome)
            progress.advance(task)


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Progress]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task("", total=total)
        yield progress


def _print_plan(plan: Plan, target: Target, console: Console) -> None:
    where = BUILT_IN if target.name == SANDBOX else target.base_url
    impossible = {outcome.name for outcomes in plan.impossible.values() for outcome in outcomes}
    _print(
        console,
        f"{target.name} ({where}): {len(plan.outcomes)} outcomes to record, {len(plan.kept)} there already, "
        f"{len(impossible)} that the profile makes impossible.",
    )
    for says, outcomes in plan.impossible.items():
        _print(
            console,
            f"  {len(outcomes)} for want of {says}: {_listed(['-'.join(each.name) for each in outcomes])}",
        )
    if CONTROL.find(target) is None and any(outcome.story == windows.STORY for outcome in plan.outcomes):
        _print(console, "  It fills a window of the rate limit: up to two minutes.")


def _print_cost(plan: Plan, target: Target, console: Console) -> None:
    money = " of the sandbox, which are no money" if target.name == SANDBOX else ""
    _print(console, f"That costs at most {plan.most_credits:,.0f} credits{money}.")
    if plan.most_credits > target.limits.credits:
        _print(
            console,
            f"  What {target.limits.credits:,.0f} do not pay, which {target.limits.credits_by} sets, is not "
            "recorded.",
        )


def _print_outcomes(judged: Sequence[ProvokedAnswer], puts: Sequence[Put], console: Console) -> None:
    for put in puts:
        if put.change is RecordingChange.CHANGED:
            _print(console, f"changed: {put.recording.name}")
            for line in put.lines:
                _print(console, f"    {line}")
    for each in judged:
        if each.problem:
            _print(console, f"not recorded: {'-'.join(each.outcome.name)}: {each.problem}")


def _print_left_over(shelf: RecordingFolder, session: RecordingSession, console: Console) -> None:
    """Say of which files nothing provokes the like any more, and which are still no use."""
    known = {outcome.name for outcome in all_outcomes(session.run.document)}
    for name, recording in shelf.recordings.items():
        if name not in known:
            _print(
                console, f"nothing provokes {recording.name} any more: delete the file, or keep it as it is"
            )
    for error in RecordingFolder.open(shelf.path).damaged.values():
        _print(console, f"still damaged: {str(error).partition(chr(10))[0]}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _print(console: Console, line: str) -> None:
    console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
