"""``knouds-harness load``: a scenario on a target, and its report."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from knouds_harness.capacity_command import OF_THE_SEARCH, search_capacity
from knouds_harness.errors import HarnessError, UsageError
from knouds_harness.folder_options import baselines_folder_option, runs_folder_option
from knouds_harness.load.arrivals import SPACINGS
from knouds_harness.load.launching import launch, scenario_file, scenario_names
from knouds_harness.load.shapes import KINDS
from knouds_harness.locations import objectives_path
from knouds_harness.reporting.comparison.baseline import find_baseline, set_baseline
from knouds_harness.reporting.comparison.sides import Side
from knouds_harness.reporting.load.live import LiveView
from knouds_harness.reporting.render import render_all
from knouds_harness.reporting.terminal import print_summary
from knouds_harness.runs.record import read_run
from knouds_harness.target.builtin import target_environment
from knouds_harness.target.profile import load_target
from knouds_harness.timespan import Timespan, seconds_of

_EPILOG = """Open model (--rate): arrivals on a schedule, whatever the answers do. Closed model (--users):
users who wait for each answer, and then think. Whatever else Locust knows can follow after --."""


@click.command(epilog=_EPILOG)
@click.argument("scenario")
@click.option("--target", default="sandbox", show_default=True, metavar="NAME", help="Profile in targets/.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="N", help="Arrivals per second.")
@click.option("--users", type=click.IntRange(1), metavar="N", help="Users; with --rate most in flight.")
@click.option(
    "--duration",
    type=Timespan(),
    metavar="TIME",
    help="30s, 10m, 1h; 60s unless told otherwise, and 10s for a point of --find-capacity.",
)
@click.option("--warm-up", type=click.FloatRange(0), metavar="S", help="Seconds left out of the figures.")
@click.option("--shape", type=click.Choice(KINDS), help="Course of the rate or the users.")
@click.option("--base", type=click.FloatRange(0), metavar="N", help="Where a ramp begins, or a spike.")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="How many, for --shape steps.")
@click.option("--spacing", type=click.Choice(SPACINGS), help="Of arrivals.")
@click.option("--processes", type=click.IntRange(1), metavar="N", help="Share the load over so many.")
@click.option("--seed", type=int, metavar="N", help="Repeat the run that printed this seed.")
@click.option("--objectives", type=click.Path(path_type=Path), metavar="FILE", help="Others than shipped.")
@click.option("--abort-on", multiple=True, metavar="MEASURE=BOUND", help="End early where it is missed.")
@click.option("--credits", type=click.FloatRange(0), metavar="N", help="Spend no more than this.")
@click.option("--verify", is_flag=False, flag_value="1", metavar="[RATIO]", help="Check answers; 1 is all.")
@click.option("--plan-only", is_flag=True, help="Say what it is going to be and cost, and send nothing.")
@click.option("--finish", type=click.Choice(("poll", "webhook")), help="How ends of async runs are learnt.")
@click.option("--client", type=click.Choice(("knouds", "fast")), help="fast: Locust's FastHttpUser's.")
@click.option("--yes", is_flag=True, help="Load may go to another machine than this.")
@click.option("--yes-production", is_flag=True, help="Agree to a profile that says production = true.")
@click.option("--fault", multiple=True, metavar="ID", help="Break a promise of the built-in sandbox.")
@click.option("--find-capacity", is_flag=True, help="Search the highest rate that keeps the objectives.")
@click.option("--up-to", type=click.FloatRange(1), metavar="N", help="--find-capacity: no higher rate.")
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=3,
    metavar="N",
    help="--find-capacity: points at the rate found.",
)
@click.option(
    "--within",
    type=Timespan(),
    default="10m",
    show_default=True,
    metavar="TIME",
    help="--find-capacity: at most.",
)
@click.option("--baseline", metavar="RUN", help="Show changes against it [default: kept as TARGET-SCENARIO].")
@baselines_folder_option()
@click.option("--quiet", is_flag=True, help="Show nothing until the end.")
@runs_folder_option("For the run record.")
@click.argument("locust_options", nargs=-1, type=click.UNPROCESSED)
def load(
    *,
    scenario: str,
    target: str,
    fault: tuple[str, ...],
    quiet: bool,
    runs_folder: Path,
    locust_options: tuple[str, ...],
    find_capacity: bool,
    up_to: float | None,
    repeats: int,
    within: str,
    baseline: str | None,
    baselines_folder: Path,
    **options: Any,  # noqa: ANN401 - as click has made them
) -> None:
    """Load a target with a SCENARIO: its name, or the path of any Locust file that has the plugin."""
    file = scenario_file(scenario)
    command = shlex.join(["knouds-harness", *sys.argv[1:]])
    errors = Console(stderr=True, quiet=quiet)
    if baseline and find_capacity:
        raise UsageError("--baseline: a search of the highest rate has no one load to compare")
    side = None
    if not find_capacity:
        is_open = options["rate"] is not None
        side = find_baseline(
            baseline, target=target, scenario=file.stem, is_open=is_open, baselines=baselines_folder
        )
    of_the_search = {name: options.pop(name) for name in OF_THE_SEARCH} if find_capacity else {}
    arguments = ["--target", target, *_as_locust_options(options), *locust_options]
    with (
        target_environment(target, faults=fault) as variables,
        LiveView(errors, title=f"{file.stem} on {target}") as live,
    ):
        if find_capacity:
            launched = search_capacity(
                file,
                load_target(target, environ={**os.environ, **variables}),
                options={**options, **of_the_search},
                up_to=up_to,
                repeats=repeats,
                within_s=seconds_of(within),
                runs_folder=runs_folder,
                arguments=arguments,
                variables=variables,
                command=command,
                live=live,
            )
        else:
            launched = launch(
                file,
                runs_folder=runs_folder,
                options=arguments,
                variables=variables,
                command=command,
                on_progress=live.show,
            )
    if launched.note:
        click.echo(f"error: {launched.note}", err=True)
    if launched.folder is not None:
        if side is not None:
            _compare(launched.folder, side, options["objectives"] or objectives_path())
        paths = render_all(launched.folder)
        print_summary(read_run(launched.folder), paths, console=Console())
    sys.exit(launched.exit_code)


load.help = f"{load.help}\n\nScenarios: {', '.join(scenario_names())}."


def _compare(folder: Path, baseline: Side, objectives: Path) -> None:
    """Have the reports of a run show changes; where that cannot be, the run stands all the same."""
    try:
        set_baseline(folder, baseline, objectives=objectives)
    except HarnessError as problem:
        click.echo(f"error: {problem}", err=True)


def _as_locust_options(options: dict[str, object]) -> list[str]:
    """Click's options as the plugin and Locust take them."""
    arguments: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, tuple):
            for each in value:
                arguments += [option, str(each)]
        elif value is True:
            arguments.append(option)
        elif value not in (None, False):
            arguments += [option, str(value)]
    return arguments
