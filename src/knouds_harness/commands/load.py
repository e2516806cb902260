"""``knouds-harness load``: load a target with a scenario, and report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from knouds_harness.errors import UsageError
from knouds_harness.load.options import LoadOptions
from knouds_harness.locations import OWN_MIX, scenario_names, usual_objectives
from knouds_harness.option_declarations import (
    FiniteRange,
    Timespan,
    click_options,
    option,
    options_from,
    options_of,
    runner_arguments,
    runs_folder_option,
)
from knouds_harness.suite.options import RunOptions

if TYPE_CHECKING:
    from knouds_harness.commands.live_server import LiveMetrics
    from knouds_harness.load.generator.launching import Launched, LoadCommand, StartedProcess
    from knouds_harness.runs.load_progress import LoadProgress

_EPILOG = """Open model (--rate): tasks start on a schedule, however slow the answers are. Closed model
(--users): users wait for each answer, and then think. Locust's own options can follow after --."""

# The groups of --help, by the names of parameters; the first has all that are in no other.
_GROUPS: Final[Mapping[str, str]] = {
    "Load": "",
    "Target and limits": "target faults credits plan_only yes yes_production",
    "Verdict": "objectives objective abort_on accuracy verified_share",
    "Highest rate": "find_capacity up_to repeats within_s",
    "Output": "quiet metrics_port runs_folder help",
}


_OF_THE_SEARCH: Final = ("rate", "duration_s", "warm_up_s", "seed", "credits")
"""Options of any load that --find-capacity takes for the whole search: each point gets its own values."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    up_to: float | None = option("--find-capacity: highest rate to try", type=FiniteRange(1), metavar="N")
    repeats: int = option(
        "--find-capacity: number of points at the rate found", default=3, type=click.IntRange(1), metavar="N"
    )
    within_s: int = option(
        "--find-capacity: time limit",
        default=600,
        default_text="10m",
        flag="--within",
        type=Timespan(),
        metavar="TIME",
    )


class _GroupedCommand(click.Command):
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = (each for each in self.get_params(ctx) if isinstance(each, click.Option))
        by_name = {"help" if "--help" in each.opts else each.name: each for each in options}
        grouped = " ".join(_GROUPS.values()).split()
        ungrouped = [name for name in by_name if name not in grouped]
        for title, names in _GROUPS.items():
            records = [by_name[name].get_help_record(ctx) for name in names.split() or ungrouped]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record])


@click.command(cls=_GroupedCommand, epilog=_EPILOG)
@click.argument("scenario", required=False)
@click.option("--target", default="sandbox", show_default=True, metavar="NAME", help="Profile in targets/")
@click_options(LoadOptions)
@click_options(RunOptions, "faults")
@click.option("--processes", type=click.IntRange(1), metavar="N", help="Number of worker processes")
@click.option("--find-capacity", is_flag=True, help="Search for the highest rate that meets the objectives")
@click_options(SearchOptions)
@click.option("--quiet", is_flag=True, help="Show nothing until the end")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    metavar="PORT",
    help="Serve metrics as OpenMetrics on this port of 127.0.0.1 while load runs; 0 for a free one",
)
@runs_folder_option
@click.argument("locust_options", nargs=-1, type=click.UNPROCESSED)
def load(
    *,
    scenario: str | None,
    target: str,
    faults: tuple[str, ...],
    processes: int | None,
    runs_folder: Path,
    locust_options: tuple[str, ...],
    find_capacity: bool,
    quiet: bool,
    metrics_port: int | None,
    **asked: Any,  # noqa: ANN401 - fields of SearchOptions and LoadOptions
) -> None:
    """Load a target with a scenario.

    SCENARIO is a name, or the path of any Locust file that has the plugin; it may be left out with --mix,
    --workflow or --model.
    """
    from knouds_harness.load.generator.launching import LoadCommand, scenario_file, started
    from knouds_harness.targets.builtin import target_environment, usual_environment

    if not find_capacity:
        _refuse_what_belongs_to_a_search(asked)
    search = options_from(SearchOptions, {name: asked.pop(name) for name in options_of(SearchOptions)})
    if scenario is not None and scenario.startswith("-"):  # after --, with no scenario before it
        locust_options = (scenario, *locust_options)
        scenario = None
    file = scenario_file(scenario or _scenario_of_own_mix(asked))
    if asked["plan_only"] and metrics_port is not None:
        raise UsageError("--metrics-port has no effect with --plan-only: nothing is sent\n  Leave it out.")
    asked["objectives"] = asked["objectives"] or usual_objectives(target)
    own = _OF_THE_SEARCH if find_capacity else ()
    options = {name: value for name, value in asked.items() if name not in own}
    arguments = ["--target", target, *runner_arguments(LoadOptions, options)]
    arguments += ["--processes", str(processes)] if processes else []
    command = LoadCommand(
        scenario=file,
        runs_folder=runs_folder,
        options=(*arguments, *locust_options),
        line=shlex.join(["knouds-harness", *sys.argv[1:]]),
    )
    with ExitStack() as until_loaded:
        process = None
        if not find_capacity:
            process = until_loaded.enter_context(started(command, usual_environment()))
        environ = until_loaded.enter_context(target_environment(target, faults=faults))
        # What follows takes a second to import, as long as Locust and the sandbox take to start.
        from knouds_harness.command_output import CommandConsole
        from knouds_harness.commands.live_server import LiveMetrics, serving
        from knouds_harness.reporting.render import render_and_print

        served = LiveMetrics()
        with serving(served, port=metrics_port) as url:
            if url:
                click.echo(f"metrics {url}", err=True)
            launched = _run(command, target, process or search, asked, environ, quiet=quiet, served=served)
            until_loaded.close()
            if launched.note:
                click.echo(f"error: {launched.note}", err=True)
            if launched.folder is not None:
                click.echo()
                render_and_print(launched.folder, console=CommandConsole())
    sys.exit(launched.exit_code)


def _run(
    command: LoadCommand,
    target: str,
    run: StartedProcess | SearchOptions,
    asked: Mapping[str, Any],
    environ: Callable[[], Mapping[str, str]],
    *,
    quiet: bool,
    served: LiveMetrics,
) -> Launched:
    """Lead a load, or search for the highest rate, and show the progress."""
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.load.generator.launching import lead
    from knouds_harness.reporting.load.live import LiveView

    def show(progress: LoadProgress) -> None:
        served.show(progress)
        live.show(progress)

    title = f"{command.scenario.stem} on {target}"
    with LiveView(CommandConsole(stderr=True, quiet=quiet), title=title) as live:
        if not isinstance(run, SearchOptions):
            return lead(run, environ(), on_progress=show, say=live.say)
        from knouds_harness.commands.load_capacity import search_capacity

        return search_capacity(
            command, target, run, options=asked, environ=environ(), say=live.say, on_progress=show
        )


def _scenario_of_own_mix(asked: Mapping[str, Any]) -> str:
    if not (asked["mix"] or asked["workflow"] or asked["model"]):
        raise UsageError(
            f"no scenario is named (known: {', '.join(scenario_names())})\n"
            "  Name one, or say what to send: --mix run=3,whoami=1, --workflow SLUG, --model NAME."
        )
    return OWN_MIX


def _refuse_what_belongs_to_a_search(asked: Mapping[str, Any]) -> None:
    for each in options_of(SearchOptions).values():
        if asked[each.name] is not None:
            raise UsageError(f"{each.flag} belongs to --find-capacity")


load.help = f"{cleandoc(load.help or '')}\n\nScenarios: {', '.join(scenario_names())}."
