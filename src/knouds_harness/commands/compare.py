"""``knouds-harness compare``: what changed between runs, how sure that is, and whether it is a regression."""

from __future__ import annotations

import random
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from knouds_harness.errors import ExitCode, UsageError
from knouds_harness.locations import ObjectivesFile, objectives_path, usual_objectives
from knouds_harness.option_declarations import (
    baselines_folder_option,
    click_options,
    draw_seed,
    option,
    options_from,
    runs_folder_option,
)
from knouds_harness.printable import counted

if TYPE_CHECKING:
    from knouds_harness.load.generator.launching import Launched
    from knouds_harness.measures.objectives import Objective
    from knouds_harness.reporting.comparison.sides import Side
    from knouds_harness.reporting.comparison.texts import Comparison

_EPILOG = """Exit codes: 0 nothing got worse, or there is no evidence; 1 something got worse or misses
an objective; 2 the runs cannot be compared; 3, 4, 130: a round of --repeat ended with this exit code; 5 a
side has no figures."""

_GOES_ON_AFTER: Final = (ExitCode.KEPT, ExitCode.BREACH, ExitCode.INVALID_MEASUREMENT)


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    baseline: tuple[str, ...] = option("Baseline run or kept summary (repeatable)", default=(), metavar="RUN")
    keep: str | None = option("Keep a summary of the runs, and compare nothing", metavar="NAME")
    allow_short: bool = option("--keep: also of a check that was cut short", default=False)
    repeat: int | None = option("Load two targets in turn, N times", type=click.IntRange(2, 50), metavar="N")
    scenario: str | None = option("--repeat: scenario to load them with", metavar="NAME")
    baseline_target: str = option("--repeat: profile in targets/", default="sandbox", metavar="NAME")
    candidate_target: str | None = option(
        "--repeat: the other profile", metavar="NAME", default_text="the same"
    )
    candidate_fault: tuple[str, ...] = option(
        "--repeat: break this promise of its sandbox (repeatable)", default=(), metavar="ID"
    )
    seed: int | None = option("--repeat: repeat the order and arrivals of this seed", metavar="N")
    tolerance: tuple[str, ...] = option(
        "Tolerate a change up to this share, such as p99=10% (repeatable)",
        default=(),
        metavar="MEASURE=SHARE",
    )
    objectives: Path | None = option(
        "File with objectives, or shipped for those of the harness", type=ObjectivesFile(), metavar="FILE"
    )
    objective: tuple[str, ...] = option(
        "Objective in addition to the file's: 'runWorkflow p95 < 300ms', 'error_rate < 1%' (repeatable)",
        default=(),
        metavar="TEXT",
    )
    output: Path | None = option(
        "Folder for compare.html and the like", metavar="DIR", default_text="the last run's"
    )


_OF_REPEAT: Final = ("scenario", "baseline_target", "candidate_target", "candidate_fault", "seed")


@click.command(epilog=_EPILOG)
@click.argument("runs", nargs=-1)
@click_options(CompareOptions)
@baselines_folder_option
@runs_folder_option
def compare(*, runs: tuple[str, ...], baselines_folder: Path, runs_folder: Path, **asked: object) -> None:
    """Compare runs: what changed, and how sure that is.

    Compares load runs, or two check runs. RUN is a folder under reports/runs/, or the name of a kept summary.

    \b
      knouds-harness compare BASELINE RUN...
      knouds-harness compare --baseline A --baseline B RUN...   several runs
      knouds-harness compare --keep NAME RUN...                 keep a summary
      knouds-harness compare --repeat 5 --scenario reads -- --rate 200
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.measures.objectives import parse_objectives
    from knouds_harness.reporting.comparison.report import comparison_report, write_comparison
    from knouds_harness.reporting.comparison.sides import keep, read_side, refuse_unfit
    from knouds_harness.reporting.terminal import print_report

    options = options_from(CompareOptions, asked)
    added = parse_objectives(options.objective)
    if options.keep is not None and added:
        raise UsageError("--objective has no effect with --keep, which compares nothing")
    for name in () if options.repeat else _OF_REPEAT:
        if asked[name] not in (None, ()):
            raise UsageError(f"--{name.replace('_', '-')} belongs to --repeat N")
    if options.repeat is None:
        before, after = _named(runs, options)
    elif options.baseline or not options.scenario:
        raise UsageError(
            "--repeat loads both sides itself: name a scenario, such as --scenario reads, and no runs"
        )
    else:
        before, after = _run_in_turn(options, arguments=runs, runs_folder=runs_folder)
    side = read_side(after, baselines=baselines_folder)
    if options.keep is not None:
        refuse_unfit(after, allow_short=options.allow_short)
        path = keep(options.keep, side, baselines=baselines_folder)
        click.echo(f"kept {counted(len(side.runs), 'run')} as {path}")
        return
    comparison = _compare(read_side(before, baselines=baselines_folder), side, options, added=added)
    folder = options.output or (after[-1] if after[-1].is_dir() else None)
    page = write_comparison(comparison, folder) if folder else None
    print_report(comparison_report(comparison), page, console=CommandConsole())
    sys.exit(comparison.exit_code)


def _named(runs: Sequence[str], options: CompareOptions) -> tuple[list[Path], list[Path]]:
    """Return the runs of the baseline, of which the first argument may be the only one, and the others."""
    baseline = options.baseline or (() if options.keep else runs[:1])
    others = runs if options.baseline or options.keep else runs[1:]
    if not others:
        wanted = "name the runs to keep" if options.keep else "name a baseline and at least one run"
        raise UsageError(f"{wanted}: folders under reports/runs, or names of kept summaries")
    return [Path(each) for each in baseline], [Path(each) for each in others]


def _run_in_turn(
    options: CompareOptions, *, arguments: Sequence[str], runs_folder: Path
) -> tuple[list[Path], list[Path]]:
    """Load each side once per round, in random order, so that other work disturbs both alike.

    A run of which something cannot be compared is told at once, and repeated once. If the rounds cannot be
    completed, the command exits.
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.load.generator.launching import LoadCommand, launch, scenario_file
    from knouds_harness.reporting.load.live import LiveView
    from knouds_harness.targets.builtin import open_target, target_environment

    rounds, seed = options.repeat or 0, draw_seed() if options.seed is None else options.seed
    contenders = {
        "baseline": (options.baseline_target, ()),
        "candidate": (options.candidate_target or options.baseline_target, options.candidate_fault),
    }
    console = CommandConsole(stderr=True)
    console.print(f"{2 * rounds} runs in turn, seed {seed}; Ctrl-C ends them.", highlight=False)
    file = scenario_file(options.scenario or "")
    for target, faults in contenders.values():
        with open_target(target, faults=faults):
            pass  # fails before any side is loaded
    chance = random.Random(seed)
    folders: dict[str, list[Path]] = {side: [] for side in contenders}

    def load(side: str, title: str, round_seed: int) -> Launched:
        target, faults = contenders[side]
        console.say(title)
        with target_environment(target, faults=faults) as environ, LiveView(console, title=title) as live:
            command = LoadCommand(
                scenario=file,
                runs_folder=runs_folder,
                options=["--target", target, "--seed", str(round_seed), *arguments],
                line=shlex.join(["knouds-harness", *sys.argv[1:]]),
            )
            return launch(command, environ(), on_progress=live.show)

    for number in range(1, rounds + 1):
        round_seed = chance.randrange(2**31)
        for side in chance.sample(list(contenders), len(contenders)):
            title = f"round {number} of {rounds}, {side}: {file.stem} on {contenders[side][0]}"
            for again in ("", ", once more"):
                launched = load(side, f"{title}{again}", round_seed)
                if not (doubt := _doubt_of(launched)):
                    break
                console.say(f"warning: {doubt}")
            if launched.exit_code in _GOES_ON_AFTER and launched.folder and not launched.was_interrupted:
                folders[side].append(launched.folder)
                continue
            reason = launched.note or "the rounds were not completed"
            click.echo(f"error: {reason}\n  The runs so far are kept in {runs_folder}.", err=True)
            was_interrupted = launched.was_interrupted and launched.exit_code in _GOES_ON_AFTER
            sys.exit(ExitCode.INTERRUPTED if was_interrupted else launched.exit_code or ExitCode.USAGE)
    return folders["baseline"], folders["candidate"]


def _doubt_of(launched: Launched) -> str:
    """Say what cannot be compared of a run that came to its end; empty if all can."""
    from knouds_harness.reporting.comparison.load_comparison import why_doubted
    from knouds_harness.reporting.comparison.load_figures import load_figures
    from knouds_harness.runs.record import read_run

    if launched.folder is None or launched.was_interrupted or launched.exit_code not in _GOES_ON_AFTER:
        return ""
    figures = load_figures(read_run(launched.folder))
    if figures.figures and not figures.doubts:
        return ""
    what = "the rate of this run" if figures.figures else "this run"
    return f"{what} cannot be compared: {why_doubted(figures)}"


def _compare(before: Side, after: Side, options: CompareOptions, *, added: Sequence[Objective]) -> Comparison:
    from knouds_harness.reporting.comparison.check_comparison import compare_checks
    from knouds_harness.reporting.comparison.load_comparison import compare_loads, read_tolerances
    from knouds_harness.reporting.comparison.sides import not_of_one_kind

    if bool(before.loads) != bool(after.loads):
        load, other = (before, after) if before.loads else (after, before)
        raise not_of_one_kind(load=load.name, check=other.name)
    if before.checks and after.checks:
        if added:
            raise UsageError(
                f"--objective has no effect on {before.name}: check runs have no figures\n"
                "  Leave it out, or name load runs."
            )
        return compare_checks(before.checks[0], after.checks[0])
    chosen = options.objectives or usual_objectives(after.loads[0].target)
    scenario = after.loads[0].plan.scenario
    return compare_loads(
        before.loads,
        after.loads,
        tolerances=read_tolerances(chosen or objectives_path(), scenario, options.tolerance),
        objectives=chosen,
        added=added,
    )
