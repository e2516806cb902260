"""``knouds-harness load``: load a target with a scenario, and report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from knouds_harness.commands.shared_options import (
    baselines_folder_option,
    runs_folder_option,
    usual_objectives,
)
from knouds_harness.errors import HarnessError, UsageError
from knouds_harness.load.options import LoadOptions
from knouds_harness.locations import OWN_MIX, objectives_path, scenario_names
from knouds_harness.option_declarations import FiniteRange, click_options, runner_arguments
from knouds_harness.suite.options import RunOptions
from knouds_harness.timespan import Timespan

if TYPE_CHECKING:
    from knouds_harness.reporting.comparison.sides import Side
    from knouds_harness.runs.load_progress import LoadProgress

_EPILOG = """Open model (--rate): tasks start on a schedule, however slow the answers are. Closed model
(--users): users wait for each answer, and then think. Locust's own options can follow after --."""

# The groups of --help, by the names of parameters.
_GROUPS: Final[Mapping[str, str]] = {
    "Load": """rate users duration_s warm_up_s mix workflow model inputs inputs_order stages
        shape base steps spacing think seed
        finish processes""",
    "Target and limits": "target faults credits plan_only yes yes_production",
    "Verdict": "objectives objective abort_on accuracy verified_share baseline baselines_folder",
    "Highest rate": "find_capacity up_to repeats within_s",
    "Output": "quiet metrics_port otlp_endpoint dashboard runs_folder help",
}

# Options only of --find-capacity. OF_THE_SEARCH has options of any load that then apply to the whole search.
_FLAGS_OF_A_SEARCH: Final = {"up_to": "--up-to", "repeats": "--repeats", "within_s": "--within"}


class _GroupedCommand(click.Command):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = (each for each in self.get_params(ctx) if isinstance(each, click.Option))
        by_name = {"help" if "--help" in each.opts else each.name: each for each in options}
        for title, names in _GROUPS.items():
            records = [by_name[name].get_help_record(ctx) for name in names.split()]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record])


@click.command(cls=_GroupedCommand, epilog=_EPILOG)
@click.argument("scenario", required=False)
@click.option("--target", default="sandbox", show_default=True, metavar="NAME", help="Profile in targets/")
@click_options(LoadOptions)
@click_options(RunOptions, "faults")
@click.option("--processes", type=click.IntRange(1), metavar="N", help="Number of worker processes")
@click.option("--find-capacity", is_flag=True, help="Search for the highest rate that meets the objectives")
@click.option("--up-to", type=FiniteRange(1), metavar="N", help="--find-capacity: highest rate to try")
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    metavar="N",
    help="--find-capacity: number of points at the rate found",
)
@click.option(
    "--within",
    "within_s",
    type=Timespan(),
    default="10m",
    show_default=True,
    metavar="TIME",
    help="--find-capacity: time limit",
)
@click.option(
    "--baseline", metavar="RUN", help="Compare with this run or kept summary [default: TARGET-SCENARIO]"
)
@baselines_folder_option
@click.option("--quiet", is_flag=True, help="Show nothing until the end")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    metavar="PORT",
    help="Serve metrics as OpenMetrics on this port of 127.0.0.1 while load runs; 0 for a free one",
)
@click.option(
    "--otlp-endpoint",
    metavar="URL",
    help="Send the same metrics to this OTLP/HTTP collector, such as http://127.0.0.1:4318",
)
@click.option(
    "--dashboard", is_flag=True, help="Serve the report while load runs, on --metrics-port or a free one"
)
@runs_folder_option
@click.argument("locust_options", nargs=-1, type=click.UNPROCESSED)
def load(
    *,
    scenario: str | None,
    target: str,
    faults: tuple[str, ...],
    processes: int | None,
    quiet: bool,
    metrics_port: int | None,
    otlp_endpoint: str | None,
    dashboard: bool,
    runs_folder: Path,
    locust_options: tuple[str, ...],
    find_capacity: bool,
    up_to: float | None,
    repeats: int,
    within_s: int,
    baseline: str | None,
    baselines_folder: Path,
    **asked: Any,  # noqa: ANN401 - fields of LoadOptions, as far as they were given
) -> None:
    """Load a target with a scenario.

    SCENARIO is a name, or the path of any Locust file that has the plugin; it may be left out with --mix,
    --workflow, --model or a HAR file.
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.commands.live_server import LiveLoad, serving
    from knouds_harness.commands.load_capacity import OF_THE_SEARCH, search_capacity
    from knouds_harness.commands.otlp import exporting
    from knouds_harness.load.arrivals.schedule import parse_stages
    from knouds_harness.load.generator.launching import launch, scenario_file
    from knouds_harness.reporting.comparison.baseline import find_baseline
    from knouds_harness.reporting.load.live import LiveView
    from knouds_harness.targets.builtin import target_environment
    from knouds_harness.targets.profile import load_target

    if scenario is not None and scenario.startswith("-"):  # after --, with no scenario before it
        locust_options = (scenario, *locust_options)
        scenario = None
    file = scenario_file(scenario or _scenario_of_own_mix(asked))
    command = shlex.join(["knouds-harness", *sys.argv[1:]])
    errors = CommandConsole(stderr=True, quiet=quiet)
    if asked["plan_only"]:
        _refuse_to_serve(dashboard=dashboard, metrics_port=metrics_port, otlp_endpoint=otlp_endpoint)
    if baseline and find_capacity:
        raise UsageError("--baseline has no effect with --find-capacity: its points differ\n  Leave it out.")
    side = None
    if not find_capacity:
        _refuse_what_belongs_to_a_search()
        stages = asked["stages"]
        is_open = parse_stages(stages).is_rate if stages else asked["rate"] is not None
        side = find_baseline(
            baseline,
            target=target,
            scenario=file.stem,
            is_open=is_open,
            baselines=baselines_folder,
            mix=_mix(asked) if file.stem == OWN_MIX else None,
        )
    asked["objectives"] = asked["objectives"] or usual_objectives(target)
    of_each_run = {name: asked[name] for name in asked if not (find_capacity and name in OF_THE_SEARCH)}
    arguments = ["--target", target, *runner_arguments(LoadOptions, of_each_run)]
    arguments += ["--processes", str(processes)] if processes else []
    arguments += locust_options
    served = LiveLoad()

    def show(progress: LoadProgress) -> None:
        served.show(progress)
        live.show(progress)

    with serving(served, port=metrics_port, has_page=dashboard) as address:
        if address:
            click.echo(f"dashboard {address}/" if dashboard else f"metrics {address}/metrics", err=True)
        with (
            target_environment(target, faults=faults) as environ,
            LiveView(errors, title=f"{file.stem} on {target}") as live,
            exporting(served.families, otlp_endpoint, scenario=file.stem, target=target, warn=live.say),
        ):
            if find_capacity:
                launched = search_capacity(
                    file,
                    load_target(target, environ=environ),
                    options=asked,
                    up_to=up_to,
                    repeats=repeats,
                    within_s=within_s,
                    runs_folder=runs_folder,
                    arguments=arguments,
                    environ=environ,
                    command=command,
                    say=live.say,
                    on_progress=show,
                )
            else:
                launched = launch(
                    file,
                    runs_folder=runs_folder,
                    options=arguments,
                    environ=environ,
                    command=command,
                    on_progress=show,
                )
        if launched.note:
            click.echo(f"error: {launched.note}", err=True)
        if launched.folder is not None:
            served.end(_reported(launched.folder, side, asked["objectives"] or objectives_path()))
    sys.exit(launched.exit_code)


def _scenario_of_own_mix(asked: Mapping[str, Any]) -> str:
    is_traffic = str(asked["inputs"] or "").endswith(".har")
    if not (asked["mix"] or asked["workflow"] or asked["model"] or is_traffic):
        raise UsageError(
            f"no scenario is named (known: {', '.join(scenario_names())})\n"
            "  Name one, or say what to send: --mix run=3,whoami=1, --workflow SLUG, --model NAME."
        )
    return OWN_MIX


def _mix(asked: Mapping[str, Any]) -> str:
    """Return the mix as the run record describes it."""
    from knouds_harness.runs.load_results import own_mix

    file = Path(asked["inputs"]).name if asked["inputs"] else ""
    return own_mix(asked["mix"], (*asked["workflow"], *asked["model"]), file)


def _refuse_to_serve(*, dashboard: bool, metrics_port: int | None, otlp_endpoint: str | None) -> None:
    if dashboard or metrics_port is not None or otlp_endpoint is not None:
        asked = "--otlp-endpoint" if metrics_port is None else "--metrics-port"
        flag = "--dashboard" if dashboard else asked
        raise UsageError(f"{flag} has no effect with --plan-only: nothing is sent\n  Leave it out.")


def _refuse_what_belongs_to_a_search() -> None:
    context = click.get_current_context()
    for name, flag in _FLAGS_OF_A_SEARCH.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"{flag} belongs to --find-capacity")


load.help = f"{cleandoc(load.help or '')}\n\nScenarios: {', '.join(scenario_names())}."


def _reported(folder: Path, baseline: Side | None, objectives: Path) -> Path:
    """Render and print the reports, with what changed since the baseline; returns the HTML file.

    If the comparison fails, the run is reported without it.
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.reporting.comparison.baseline import set_baseline
    from knouds_harness.reporting.render import render_and_print

    if baseline is not None:
        try:
            set_baseline(folder, baseline, objectives=objectives)
        except HarnessError as problem:
            click.echo(f"error: {problem}", err=True)
    return render_and_print(folder, console=CommandConsole()).html
