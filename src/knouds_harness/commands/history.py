"""``knouds-harness history``: list runs, plot a measure over them, delete old runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from knouds_harness.commands.shared_options import baselines_folder_option, format_option, runs_folder_option
from knouds_harness.errors import RunRecordError, UsageError
from knouds_harness.printable import first_few
from knouds_harness.runs.findings import RunOutcome

if TYPE_CHECKING:
    from rich.console import Console

    from knouds_harness.reporting.history.entry import Entry
    from knouds_harness.reporting.history.index import Index, PruningPlan, Refreshed

_LISTED: Final = 20
_PLOTTED: Final = 500
_NAMED: Final = 5
_WIDTH_IN_A_PIPE: Final = 1000
_AGE: Final = re.compile(r"(\d{1,5})([wdhm])")
_UNITS: Final = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes"}


class Age(click.ParamType[timedelta]):
    """How long ago: 30m, 12h, 7d or 2w."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        found = _AGE.fullmatch(str(value))
        if not found:
            self.fail(f"{value!r} is not an age: write 30m, 12h, 7d or 2w", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


@dataclass(frozen=True, kw_only=True)
class _Filter:
    """Which runs to show; None means any."""

    kind: str | None
    target: str | None
    scenario: str | None
    outcome: str | None
    since: datetime | None

    def admits(self, entry: Entry) -> bool:
        asked = {"kind": self.kind, "target": self.target, "scenario": self.scenario, "outcome": self.outcome}
        return all(value is None or getattr(entry, name) == value for name, value in asked.items()) and (
            self.since is None or entry.started_at >= self.since
        )


@click.command()
@click.option("--kind", metavar="KIND", help="Only runs of this kind: check, verify or load")
@click.option("--target", metavar="NAME", help="Only runs of this target")
@click.option("--scenario", metavar="NAME", help="Only load runs of this scenario")
@click.option("--since", type=Age(), metavar="AGE", help="Only runs since then: 30m, 12h, 7d, 2w")
@click.option(
    "--outcome",
    type=click.Choice([each.value for each in RunOutcome if each is not RunOutcome.RUNNING]),
    help="Only runs with this outcome",
)
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="Number of newest runs [default: 20; 500 in a plot]"
)
@click.option("--measure", metavar="NAME", help="Plot a measure, such as 'p99_ms:runWorkflow'")
@click.option("--measures", "lists_measures", is_flag=True, help="List the measures that can be plotted")
@click.option("--prune", is_flag=True, help="Delete old run folders; the index keeps their figures")
@click.option("--keep", type=click.IntRange(0), metavar="N", help="--prune: number of newest runs to keep")
@click.option(
    "--older-than", type=Age(), metavar="AGE", help="--prune: delete only what is older, such as 30d"
)
@click.option("--yes", is_flag=True, help="--prune: agree to the deletion")
@runs_folder_option
@baselines_folder_option
@format_option
def history(
    *,
    kind: str | None,
    target: str | None,
    scenario: str | None,
    since: timedelta | None,
    outcome: str | None,
    limit: int | None,
    measure: str | None,
    lists_measures: bool,
    prune: bool,
    keep: int | None,
    older_than: timedelta | None,
    yes: bool,
    runs_folder: Path,
    baselines_folder: Path,
    form: str,
) -> None:
    """List runs, plot a measure over them, delete old runs.

    The index is beside the folder of runs. Runs with a kept summary are never deleted.

    \b
      knouds-harness history --kind check --since 7d
      knouds-harness history --measures
      knouds-harness history --measure 'p99_ms:runWorkflow' --target staging
      knouds-harness history --prune --keep 20 --older-than 30d --yes
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.reporting.comparison.load_figures import ALL
    from knouds_harness.reporting.history.entry import find_measure
    from knouds_harness.reporting.history.index import Index, kept_runs, plan_pruning
    from knouds_harness.reporting.history.report import entries_table, measures_table
    from knouds_harness.reporting.terminal import print_block

    _refuse_nonsense(
        modes={"--measure": bool(measure), "--measures": lists_measures, "--prune": prune},
        of_pruning={"--keep": keep is not None, "--older-than": older_than is not None, "--yes": yes},
    )
    console = CommandConsole()
    if not console.is_terminal:
        console.width = _WIDTH_IN_A_PIPE
    if prune and form != "table":
        raise UsageError("--format has no effect with --prune, which lists nothing")
    now = datetime.now(UTC)
    asked = _Filter(
        kind=kind,
        target=target,
        scenario=scenario,
        outcome=outcome,
        since=None if since is None else now - since,
    )
    if not runs_folder.is_dir():
        raise RunRecordError(
            f"{runs_folder}: no such folder of runs\n"
            "  Run `knouds-harness check` or `load` first, or name the folder with --runs-folder."
        )
    with Index(runs_folder.parent / "history.sqlite") as index:
        _say_what_was_met(index, index.refresh(runs_folder))
        entries = index.entries()
        chosen = [entry for entry in entries if asked.admits(entry)]
        if form == "json":
            _print_json(index, chosen, measure=measure, lists_measures=lists_measures, limit=limit)
        elif lists_measures:
            print_block(measures_table(index.measures()), console=console)
        elif prune:
            plan = plan_pruning(
                chosen, now=now, keep=keep, older_than=older_than, kept_runs=kept_runs(baselines_folder)
            )
            _prune(plan, runs_folder, is_agreed=yes)
            index.refresh(runs_folder)
        elif not chosen:
            click.echo(
                f"No matching runs ({len(entries):,} runs in {runs_folder})." if entries else "No runs yet."
            )
        elif measure:
            find_measure(measure, index.measures())
            _plot(measure, chosen[: limit or _PLOTTED], index.figures(measure), runs_folder, console)
        else:
            table = entries_table(
                chosen,
                p99_ms=index.figures(f"p99_ms:{ALL}"),
                throttled=index.figures(f"throttled_rate:{ALL}"),
                most=limit or _LISTED,
            )
            print_block(table, console=console, more="--limit")


def _print_json(
    index: Index, chosen: Sequence[Entry], *, measure: str | None, lists_measures: bool, limit: int | None
) -> None:
    """Print the measures, the series of one measure, or the runs."""
    from knouds_harness.command_output import print_json
    from knouds_harness.reporting.history.changes import series_of
    from knouds_harness.reporting.history.entry import find_measure, measure_of

    if lists_measures:
        measures = [
            {"name": name, "says": measure_of(name).says, "runs": count}
            for name, count in index.measures().items()
        ]
        print_json("measures", {"measures": measures})
    elif measure:
        find_measure(measure, index.measures())
        series = series_of(measure, chosen[: limit or _PLOTTED], index.figures(measure))
        contents = [
            {
                "name": each.name,
                "points": [
                    {
                        "run": point.entry.folder,
                        "value": point.value,
                        "is_sound": point.entry.is_sound,
                        "change": point.change
                        and {"before": point.change.before, "after": point.change.after},
                    }
                    for point in each.points
                ],
            }
            for each in series
        ]
        print_json("series", {"measure": measure, "series": contents})
    else:
        shown = chosen[: limit or _LISTED]
        runs = [asdict(entry) | {"started_at": entry.started_at.isoformat()} for entry in shown]
        print_json("runs", {"runs": runs, "matching": len(chosen)})


def _refuse_nonsense(*, modes: Mapping[str, bool], of_pruning: Mapping[str, bool]) -> None:
    chosen = [name for name, is_chosen in modes.items() if is_chosen]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} do not go together")
    given = [name for name, is_given in of_pruning.items() if is_given]
    if given and "--prune" not in chosen:
        raise UsageError(f"{given[0]} belongs to --prune")
    if "--prune" in chosen and not set(given) & {"--keep", "--older-than"}:
        raise UsageError("--prune: say what to delete, with --keep N, --older-than 30d or both")


def _say_what_was_met(index: Index, refreshed: Refreshed) -> None:
    if index.note:
        click.echo(index.note, err=True)
    if refreshed.unreadable:
        named = first_few(refreshed.unreadable, _NAMED)
        click.echo(f"no readable run: {named} (knouds-harness report FOLDER says why)", err=True)


def _prune(plan: PruningPlan, runs_folder: Path, *, is_agreed: bool) -> None:
    from knouds_harness.reporting.history.index import delete_run

    for entry in plan.held_back:
        click.echo(f"stays: {entry.folder}: it has a kept summary, or still runs")
    for entry in plan.to_delete:
        if is_agreed:
            delete_run(entry, runs_folder)
        click.echo(f"{'deleted' if is_agreed else 'would delete'}: {entry.folder}")
    runs = "1 run" if len(plan.to_delete) == 1 else f"{len(plan.to_delete):,} runs"
    if plan.to_delete and not is_agreed:
        raise UsageError(f"{runs} would be deleted\n  Agree to that with --yes.")
    click.echo(f"{runs} deleted; the index keeps their figures.")


def _plot(
    measure: str, entries: list[Entry], figures: Mapping[str, float], runs_folder: Path, console: Console
) -> None:
    from knouds_harness.reporting.history.changes import series_of
    from knouds_harness.reporting.history.report import series_report
    from knouds_harness.reporting.html import html
    from knouds_harness.reporting.terminal import print_report

    series = series_of(measure, entries, figures)
    if not series:
        click.echo(f"No run of {len(entries):,} has {measure}.")
        return
    report = series_report(measure, series, runs_folder=runs_folder)
    page = runs_folder.parent / report.file
    try:
        page.write_text(html(report), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise RunRecordError(f"{page}: cannot be written: {error.strerror}") from error
    print_report(report, page, console=console)
