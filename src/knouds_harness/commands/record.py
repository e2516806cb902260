"""``knouds-harness record``: run the tests that show documented outcomes, and keep responses as files."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import click

from knouds_harness.errors import ExitCode, RunRecordError, UsageError
from knouds_harness.option_declarations import click_options, options_from, runner_arguments
from knouds_harness.printable import counted, first_few, printable
from knouds_harness.suite.options import RunOptions

if TYPE_CHECKING:
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.exchange.recording_folder import RecordedFile, RecordingFolder
    from knouds_harness.suite.recorded.outcomes import OutcomeName, Plan
    from knouds_harness.suite.recorded.recording_run import KeptAnswer, RecordingRun
    from knouds_harness.suite.session import ConformanceRun
    from knouds_harness.targets.profile import Target

_MOST_NAMED = 5


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
    "--compare",
    "compared",
    nargs=2,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="OLD NEW",
    help="Send nothing; print what a client would notice between two folders",
)
@click.option("--yes", is_flag=True, help="Agree to the cost")
@click_options(RunOptions, "credits", "seed", "faults", "legal", "between", "plan_only", "yes_production")
def record(
    *,
    folder: Path,
    outcome: tuple[str, ...],
    update: bool,
    compared: tuple[Path, Path] | None,
    yes: bool,
    **asked: object,
) -> None:
    """Record an answer for each documented outcome.

    Runs the tests that show these outcomes and keeps the answers as files, without anything secret. Prints
    the plan and its cost first. Existing recordings stay, unless --update is given: then a file is rewritten
    if something changed that a client could rely on.

    \b
    knouds-harness record                                    the built-in sandbox
    knouds-harness record --target staging --yes             a profile of your own
    knouds-harness record --update --outcome 'getWhoami-*'   some of them, anew
    knouds-harness record --compare blue green               what changed
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.contract.document import shipped_document
    from knouds_harness.exchange.recording_folder import RecordingFolder
    from knouds_harness.suite.recorded.recording_run import RecordingRun

    console = CommandConsole()
    if compared:
        if update or outcome:
            raise UsageError("--compare sends nothing, so it goes only with two folders")
        _say(console, _changes(*compared))
        return
    recordings_folder = RecordingFolder.open(folder, contract_version=shipped_document().version)
    existing = recordings_folder.recordings.keys()
    to_keep = () if update else existing
    if asked["plan_only"]:
        _say(console, _what_would_be_sent(options_from(RunOptions, asked), outcome, existing, to_keep))
        return
    if recordings_folder.damaged and not update:
        raise next(iter(recordings_folder.damaged.values()))

    def agree(plan: Plan, run: ConformanceRun) -> None:
        _say(console, (*_contradictions(run), *_plan_lines(plan, run.target, existing)))
        cost, limits = f"{plan.most_credits:,.0f} credits", run.target.limits
        cost += " of the sandbox, not real money" if run.target.is_built_in else ""
        console.say(f"On a target that keeps the contract, that costs at most {cost}.")
        if plan.most_credits > limits.credits:
            console.say(f"  What exceeds the {limits.credits:,.0f} of {limits.credits_by} is not recorded.")
        if plan.most_credits and not yes and not run.target.is_built_in:
            raise UsageError(
                f"recording may cost {plan.most_credits:,.0f} credits\n  Agree to that with --yes, or leave "
                "out what costs with --outcome."
            )

    recording = RecordingRun(recorded=to_keep, patterns=outcome, agree=agree, console=console)
    sys.exit(_record(recording, asked, recordings_folder, console))


def _say(console: CommandConsole, lines: Iterable[str]) -> None:
    for line in lines:
        console.say(line)


def _record(
    recording: RecordingRun,
    asked: Mapping[str, object],
    recordings_folder: RecordingFolder,
    console: CommandConsole,
) -> int:
    """Record, and keep and print what was recorded even if the run ends early."""
    from knouds_harness.exchange.recording_folder import RecordingChange
    from knouds_harness.exchange.redaction import shown
    from knouds_harness.suite.untested import more_credits
    from knouds_harness.targets.needs.keys import active_keys, without_working_keys

    begun = time.monotonic()
    with _folder_until_clean(options_from(RunOptions, asked).runs_folder) as folder:
        code = recording.start(runner_arguments(RunOptions, {**asked, "runs_folder": folder.absolute()}))
        if not hasattr(recording, "plan"):
            return code
    run, plan = recording.run, recording.plan
    judged = recording.judged()
    puts = recordings_folder.put(each.recording for each in judged if each.recording and not each.problem)
    _say(console, _file_lines(recordings_folder, recording, judged, puts))
    counts = Counter(put.change for put in puts)
    listed = "".join(f", {counts[change]} {change}" for change in RecordingChange if counts[change])
    console.say(
        f"{len(puts)} of {len(plan.outcomes)} outcomes recorded{listed}, in "
        f"{time.monotonic() - begun:.1f} s, at most {run.recorder.writer.cost_credits:,.0f} credits, "
        f"seed {run.options.seed}: {recordings_folder.path}"
    )
    _say(console, _contradictions(run))
    sys.stderr.writelines(f"{printable(line)}\n" for line in run.left)
    if run.outcome in ("stopped", "failed", "interrupted"):
        said = f"error: {printable(shown(run.note))}" if run.note else run.outcome
        click.echo(said, err=True)
        return run.exit_code
    are_answers_wrong = any(each.problem and not each.is_untested for each in judged)
    if run.contradictions or run.left or are_answers_wrong or run.test_data.unsuccessful:
        return ExitCode.BREACH
    if any(more_credits(run.profile) in each.problem for each in judged):
        return ExitCode.GUARD
    if plan.impossible and not active_keys(run.target):
        admitted = (key.tier for key in run.target.personas.values() if key.state == "active")
        console.say(f"{without_working_keys(admitted)}: nothing that needs one can be recorded.")
        return ExitCode.USAGE
    return ExitCode.KEPT if puts or not plan.outcomes else ExitCode.USAGE


@contextmanager
def _folder_until_clean(runs_folder: Path) -> Iterator[Path]:
    """Yield a hidden folder beside runs; delete it unless created workflows are left on the target."""
    from knouds_harness.exchange.creation_record import LEDGER_FILE, CreationRecord, read_ledger

    made = [each for each in (runs_folder, *runs_folder.parents) if not each.exists()]
    try:
        runs_folder.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=".record-", dir=runs_folder))
    except OSError as error:
        raise RunRecordError(f"{runs_folder}: no folder can be made there: {error.strerror}") from error
    try:
        yield folder
    finally:
        ledgers = list(folder.glob(f"*/{LEDGER_FILE}"))
        if all(
            CreationRecord.of_events(read_ledger(each, is_trusted=True).events).is_done for each in ledgers
        ):
            rmtree(folder, ignore_errors=True)
            for each in made:
                with suppress(OSError):  # others may have put something there
                    each.rmdir()


def _contradictions(run: ConformanceRun) -> Iterator[str]:
    return (f"target contradicts the profile: {each.says}" for each in run.contradictions)


def _what_would_be_sent(
    options: RunOptions,
    patterns: Sequence[str],
    existing: Collection[OutcomeName],
    to_keep: Collection[OutcomeName],
) -> Iterator[str]:
    from knouds_harness.suite.discovery.run_plan import record_plan
    from knouds_harness.suite.recorded.outcomes import all_outcomes, choose_outcomes, make_plan
    from knouds_harness.suite.running import collect_suite
    from knouds_harness.targets.builtin import open_target

    outcomes = all_outcomes(collect_suite())
    chosen, kept = choose_outcomes(outcomes, recorded=to_keep, patterns=patterns)
    with open_target(options.target, **options.of_sandbox) as target:
        plan = make_plan(chosen, kept, target=target, price=lambda each: each.cost_credits)
        yield from _plan_lines(plan, target, existing)
        yield from record_plan(target.spending(options.credits), plan)


def _changes(old: Path, new: Path) -> Iterator[str]:
    from knouds_harness.exchange.recording_folder import RecordingFolder, noticed

    folders = [RecordingFolder.open(each) for each in (old, new)]
    for damaged in (error for folder in folders for error in folder.damaged.values()):
        raise damaged
    before, after = (folder.recordings for folder in folders)
    both = {name: noticed(before[name], after[name]) for name in before.keys() & after.keys()}
    changed = {name: lines for name, lines in sorted(both.items()) if lines}
    gone, added = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    yield from (f"gone: {before[name].name}" for name in gone)
    for name, lines in changed.items():
        yield f"changed: {after[name].name}"
        yield from (f"    {line}" for line in lines)
    yield from (f"new: {after[name].name}" for name in added)
    yield (
        f"{len(changed)} changed, {len(gone)} gone, {len(added)} new, {len(both) - len(changed)} unchanged: "
        f"{old} and {new}"
    )


def _plan_lines(plan: Plan, target: Target, existing: Collection[OutcomeName]) -> Iterator[str]:
    from knouds_harness.exchange.recording import BUILT_IN
    from knouds_harness.targets.needs import CONTROL

    where = BUILT_IN if target.is_built_in else target.base_url
    impossible = {outcome.name for outcomes in plan.impossible.values() for outcome in outcomes}
    again = sum(each.name in existing for each in plan.outcomes)
    yield (
        f"{target.name} ({where}): {len(plan.outcomes)} outcomes to record"
        f"{f' ({again} of them again)' if again else ''}, {len(plan.kept)} there already, "
        f"{len(impossible)} that the profile makes impossible."
    )
    for says, outcomes in plan.impossible.items():
        need = f"{counted(len(outcomes), 'outcome')} need{'s' if len(outcomes) == 1 else ''}"
        yield f"  {need} {says}: {first_few([str(each) for each in outcomes], _MOST_NAMED)}"
    fills_window = any(each.test.get_closest_marker("fills_window") for each in plan.outcomes)
    if fills_window and CONTROL.find(target) is None:
        yield "  It fills a rate-limit window: up to two minutes."


def _file_lines(
    recordings_folder: RecordingFolder,
    recording: RecordingRun,
    judged: Sequence[KeptAnswer],
    puts: Sequence[RecordedFile],
) -> Iterator[str]:
    """Say which files changed or are missing, which no test records any more, and which are still damaged."""
    from knouds_harness.exchange.recording_folder import RecordingChange, RecordingFolder

    for put in puts:
        if put.change is RecordingChange.CHANGED:
            yield f"changed: {put.recording.name}"
            yield from (f"    {line}" for line in put.lines)
    yield from (f"not recorded: {each.outcome}: {each.problem}" for each in judged if each.problem)
    known = {outcome.name for outcome in recording.outcomes}
    for name, kept in recordings_folder.recordings.items():
        if name not in known:
            yield f"no test records {kept.name} any more: delete the file, or keep it as it is"
    for error in RecordingFolder.open(recordings_folder.path).damaged.values():
        yield f"still damaged: {str(error).splitlines()[0]}"
