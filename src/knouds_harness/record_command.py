"""``knouds-harness record``: each documented outcome provoked, and kept as a file."""

from __future__ import annotations

import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from knouds_harness.conformance.captured import read_captured
from knouds_harness.conformance.cookbook import all_recipes, windows
from knouds_harness.conformance.needs import CONTROL
from knouds_harness.conformance.recording_comparison import Standing, without_recipe
from knouds_harness.conformance.recording_comparison import compare as compare_outcomes
from knouds_harness.conformance.recording_import import import_recordings
from knouds_harness.conformance.recording_plan import Plan, make_plan
from knouds_harness.conformance.recording_session import Followed, RecordingSession, open_session
from knouds_harness.conformance.session import Options
from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import ExitCode, UsageError
from knouds_harness.exchange.recording_folder import Change, Put, RecordingFolder
from knouds_harness.exchange.recordings import BUILT_IN
from knouds_harness.target.builtin import SANDBOX

_SHOWN = 5


@click.command()
@click.option("--target", default="sandbox", show_default=True, metavar="NAME", help="Profile in targets/.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("tests/recordings"),
    show_default=True,
    metavar="DIR",
    help="For recordings.",
)
@click.option(
    "--outcome", multiple=True, metavar="PATTERN", help="Only these, such as 'getWhoami-*' (repeatable)."
)
@click.option("--update", is_flag=True, help="Record anew what is there, and rewrite what changed.")
@click.option("--compare", is_flag=True, help="Write nothing; say what is otherwise than recorded.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.har",
    help="Send nothing; keep what is new in captured traffic.",
)
@click.option("--base-url", metavar="URL", help="With --from: where the API was, if that cannot be told.")
@click.option("--yes", is_flag=True, help="Agree to what it costs.")
@click.option("--credits", type=click.FloatRange(0), metavar="N", help="Spend no more than this.")
@click.option("--seed", type=int, metavar="N", help="Of the built-in sandbox [default: drawn].")
@click.option("--fault", multiple=True, metavar="ID", help="Break a promise of the built-in sandbox.")
@click.option("--variant", metavar="ID", help="Have the sandbox answer otherwise what is left open.")
@click.option("--yes-production", is_flag=True, help="Agree to a profile that says production = true.")
def record(
    *,
    target: str,
    folder: Path,
    outcome: tuple[str, ...],
    update: bool,
    compare: bool,
    source: Path | None,
    base_url: str | None,
    yes: bool,
    credits: float | None,  # noqa: A002 - the option's name
    seed: int | None,
    fault: tuple[str, ...],
    variant: str | None,
    yes_production: bool,
) -> None:
    """Provoke each documented outcome, and keep the answers as files, without anything secret.

    The plan and what it costs are shown first. What is there already is left alone, unless --update says
    otherwise: then a file is rewritten where something changed that a client could rely on. With --compare
    the exit code is 1 where clients break.

    \b
    knouds-harness record                                    the built-in sandbox
    knouds-harness record --target staging --yes             a profile of your own
    knouds-harness record --update --outcome 'getWhoami-*'   some of them, anew
    knouds-harness record --compare --target staging --yes   what has drifted?
    knouds-harness record --from traffic.har                 of a browser, a proxy or a run
    """
    console = Console()
    if source is not None:
        if update or compare or outcome:
            raise UsageError("--from sends nothing, so it goes with --folder and --base-url alone")
        sys.exit(_import(source, base_url=base_url, folder=folder, console=console))
    if base_url is not None or (update and compare):
        raise UsageError(
            "--base-url goes with --from alone" if base_url else "--compare writes nothing, and --update does"
        )
    options = Options(
        target=target,
        seed=secrets.randbits(32) if seed is None else seed,
        credits=credits,
        faults=fault,
        variant=variant,
        yes_production=yes_production,
    )
    with open_session(options) as session:
        shelf = RecordingFolder.open(folder, contract_version=session.run.document.version)
        if shelf.damaged and not update:
            raise next(iter(shelf.damaged.values()))
        if compare and not shelf.recordings:
            raise UsageError(f"{folder}: holds no recordings to compare with")
        plan = _plan(session, shelf, outcome, is_update=update or compare)
        _print_plan(plan, session, console, verb="compare" if compare else "record")
        _require_agreement(plan, session, is_agreed=yes)
        sys.exit((_compare if compare else _follow)(plan, session, shelf, console))


def _follow(plan: Plan, session: RecordingSession, shelf: RecordingFolder, console: Console) -> ExitCode:
    """Record what is planned; what was recorded is kept and told, whatever ends it."""
    begun = time.monotonic()
    followed: list[Followed] = []
    try:
        followed.extend(_followed(session, plan, console))
    finally:
        judged = session.judged(followed)
        puts = shelf.put(each.recording for each in judged if each.recording and not each.problem)
        _print_outcomes(judged, puts, console)
        _print_left_over(shelf, session, console)
        counts = Counter(put.change for put in puts)
        listed = "".join(f", {counts[change]} {change}" for change in Change if counts[change])
        _print(
            console,
            f"{len(puts)} of {len(plan.recipes)} outcomes recorded{listed}, in "
            f"{time.monotonic() - begun:.1f} s, seed {session.run.options.seed}: {shelf.path}",
        )
    is_wrong = any(each.problem and not each.is_untested for each in judged)
    return ExitCode.BREACH if is_wrong else ExitCode.KEPT


def _compare(plan: Plan, session: RecordingSession, shelf: RecordingFolder, console: Console) -> ExitCode:
    """Follow what is planned and hold it against what is recorded; nothing is written."""
    document = session.run.document
    followed: list[Followed] = []
    try:
        followed.extend(_followed(session, plan, console))
    finally:
        compared = compare_outcomes(shelf.recordings, session.judged(followed), document)
        counts = Counter(each.standing for each in compared)
        for standing in (each for each in Standing if each is not Standing.SAME):
            for each in (each for each in compared if each.standing is standing):
                _print(console, f"{standing}: {'-'.join(each.name)}")
                for says in each.says:
                    _print(console, f"    {says}")
        recipes = {recipe.name for recipe in all_recipes(document)}
        alone = without_recipe(shelf.recordings, recipes)
        if alone:
            _print(console, f"not compared, as no recipe provokes them: {_listed(alone)}")
        listed = ", ".join(f"{counts[standing]} {standing}" for standing in Standing if counts[standing])
        _print(console, f"{len(compared)} outcomes compared with {shelf.path}: {listed or 'none'}")
    return ExitCode.BREACH if any(each.fails for each in compared) else ExitCode.KEPT


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


def _plan(
    session: RecordingSession, shelf: RecordingFolder, patterns: Sequence[str], *, is_update: bool
) -> Plan:
    recipes = all_recipes(session.run.document)
    plan = make_plan(
        recipes,
        target=session.run.target,
        pricing=session.stage.probe.pricing,
        recorded=() if is_update else shelf.recordings,
        patterns=patterns,
    )
    if not (plan.recipes or plan.kept or plan.impossible):
        known = ", ".join("-".join(recipe.name) for recipe in recipes[:_SHOWN])
        raise UsageError(
            f"no outcome fits {' or '.join(patterns)}\n  There are {known} and {len(recipes)} in all."
        )
    return plan


def _require_agreement(plan: Plan, session: RecordingSession, *, is_agreed: bool) -> None:
    if plan.most_credits and not is_agreed and session.run.target.name != SANDBOX:
        raise UsageError(
            f"recording may cost {plan.most_credits:,.0f} credits\n  Agree to that with --yes, or leave out "
            "what costs with --outcome."
        )


def _followed(session: RecordingSession, plan: Plan, console: Console) -> Iterator[Followed]:
    with _progress(console, len(plan.recipes)) as progress:
        task = progress.task_ids[0]
        for recipe in plan.recipes:
            progress.update(task, description="-".join(recipe.name))
            yield session.follow(recipe)
            progress.advance(task)


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Progress]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task("", total=total)
        yield progress


def _print_plan(plan: Plan, session: RecordingSession, console: Console, *, verb: str) -> None:
    target = session.run.target
    where = BUILT_IN if target.name == SANDBOX else target.base_url
    impossible = {recipe.name for recipes in plan.impossible.values() for recipe in recipes}
    _print(
        console,
        f"{target.name} ({where}): {len(plan.recipes)} outcomes to {verb}, {len(plan.kept)} there already, "
        f"{len(impossible)} that the profile makes impossible.",
    )
    for says, recipes in plan.impossible.items():
        _print(
            console,
            f"  {len(recipes)} for want of {says}: {_listed(['-'.join(each.name) for each in recipes])}",
        )
    money = " of the sandbox, which are no money" if target.name == SANDBOX else ""
    _print(console, f"That costs at most {plan.most_credits:,.0f} credits{money}.")
    if plan.most_credits > target.limits.credits:
        _print(
            console,
            f"  It will stop at {target.limits.credits:,.0f}, which limits.credits or --credits sets.",
        )
    if CONTROL.find(target) is None and any(recipe.story == windows.STORY for recipe in plan.recipes):
        _print(console, "  It fills a window of the rate limit: up to two minutes.")


def _print_outcomes(judged: Sequence[Followed], puts: Sequence[Put], console: Console) -> None:
    for put in puts:
        if put.change is Change.CHANGED:
            _print(console, f"changed: {put.recording.name}")
            for line in put.lines:
                _print(console, f"    {line}")
    for each in judged:
        if each.problem:
            _print(console, f"not recorded: {'-'.join(each.recipe.name)}: {each.problem}")


def _print_left_over(shelf: RecordingFolder, session: RecordingSession, console: Console) -> None:
    """Say of which files no recipe makes the like any more, and which are still no use."""
    known = {recipe.name for recipe in all_recipes(session.run.document)}
    for name, recording in shelf.recordings.items():
        if name not in known:
            _print(
                console, f"no recipe makes {recording.name} any more: delete the file, or keep it as it is"
            )
    for error in RecordingFolder.open(shelf.path).damaged.values():
        _print(console, f"still damaged: {str(error).partition(chr(10))[0]}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _print(console: Console, line: str) -> None:
    plain = "".join(char if char.isprintable() else "·" for char in line)
    console.print(plain, markup=False, highlight=False, soft_wrap=True)
