"""``knouds-harness load --find-capacity``: its options, and what it prints."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from knouds_harness.commands.load import SearchOptions
from knouds_harness.errors import UsageError
from knouds_harness.load.capacity import CapacityPlan, find_capacity
from knouds_harness.load.capacity_search import Search
from knouds_harness.load.generator.launching import Launched, LoadCommand
from knouds_harness.measures.objectives import load_objectives, parse_objectives
from knouds_harness.option_declarations import draw_seed
from knouds_harness.reporting.load.headline import describe_point
from knouds_harness.runs.load_progress import LoadProgress
from knouds_harness.targets.profile import load_target

_POINT_S: Final = 10.0
_WARM_UP_PART: Final = 0.2
_FIRST_RATE: Final = 10.0
_NOT_FOR_POINTS: Final = ("shape", "base", "steps", "stages", "think", "plan_only")


def search_capacity(
    command: LoadCommand,
    target_name: str,
    search: SearchOptions,
    *,
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    say: Callable[[str], object],
    on_progress: Callable[[LoadProgress], object],
) -> Launched:
    """Print the plan, and search for the highest rate."""
    _refuse_other_loads(command.scenario, options)
    target = load_target(target_name, environ=environ)
    most = min(search.up_to or math.inf, target.limits.requests_per_s or math.inf)
    point_s = float(options["duration_s"] or _POINT_S)
    plan = CapacityPlan(
        search=Search(first=min(options["rate"] or _FIRST_RATE, most), most=most, repeats=search.repeats),
        point_s=point_s,
        warm_up_s=point_s * _WARM_UP_PART if options["warm_up_s"] is None else options["warm_up_s"],
        within_s=search.within_s,
        credits=target.spending(options["credits"]).limits.credits,
        seed=draw_seed() if options["seed"] is None else options["seed"],
    )
    if plan.warm_up_s >= point_s:
        raise UsageError(f"--warm-up {plan.warm_up_s:g} leaves nothing of a point of {point_s:g} s")
    if search.within_s < point_s:
        raise UsageError(f"--within {search.within_s:g} s: too short for even one point of {point_s:g} s")
    say(_described(plan))
    return find_capacity(
        plan,
        command,
        target,
        environ=environ,
        on_point=lambda point: say(describe_point(point)),
        on_progress=on_progress,
    )


def _refuse_other_loads(scenario: Path, options: Mapping[str, Any]) -> None:
    unfitting = [name for name in _NOT_FOR_POINTS if options.get(name)]
    if unfitting:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in unfitting)
        raise UsageError(f"--find-capacity searches over constant rates\n  Leave {names} out.")
    file = options.get("objectives")
    if not (parse_objectives(options["objective"]) or (file and load_objectives(file, scenario.stem))):
        raise UsageError(
            f"{file or '--find-capacity'}: {scenario.stem} has no objectives, so every rate would meet them\n"
            f'  Give --objective "* p99 < 250ms", --objectives shipped, or a file with [{scenario.stem}."*"].'
        )


def _described(plan: CapacityPlan) -> str:
    search = plan.search
    until = "" if math.isinf(search.most) else f", up to {search.most:g}/s"
    return (
        f"Searches for the highest rate that meets the objectives, from {search.first:g}/s{until}: points of "
        f"{plan.point_s:g} s, the first {plan.warm_up_s:g} s of each left out, {search.repeats} at the rate "
        f"found; at most {plan.within_s:g} s and {plan.credits:,.10g} credits in all."
    )
