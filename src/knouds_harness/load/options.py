"""Options of a load run, for ``knouds-harness load`` and for Locust's command line."""

from __future__ import annotations

import math
import re
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import click

from knouds_harness.errors import UsageError
from knouds_harness.load.arrivals.schedule import (
    KINDS,
    SPACINGS,
    ArrivalSchedule,
    Shape,
    Stages,
    parse_stages,
)
from knouds_harness.locations import ObjectivesFile
from knouds_harness.option_declarations import (
    FiniteRange,
    Timespan,
    add_runner_options,
    draw_seed,
    option,
    options_from,
)

MOST_PER_S: Final = 1_000_000
MOST_USERS: Final = 100_000
"""This many take a gigabyte of memory."""
MOST_STEPS: Final = 1_000
ORDERS: Final = ("in-turn", "random")
_THINK_TIME: Final = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)(?:-(\d{1,6}(?:\.\d{1,6})?))?")


class ThinkTime(click.ParamType[str]):
    """Seconds (``0.5``) or a range of seconds (``0.5-2``), passed on as text."""

    name = "think time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        found = _THINK_TIME.fullmatch(str(value))
        if not found or float(found[2] or found[1]) < float(found[1]):
            self.fail(f"{value!r} is not a think time; write 0.5, or 0.5-2", param, ctx)
        return str(value)


class WarmUp(FiniteRange):
    """Seconds (0 or 0.5 too), or a time with a unit."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        has_unit = str(value)[-1:] in ("s", "m", "h")
        return Timespan().convert(value, param, ctx) if has_unit else super().convert(value, param, ctx)


class ShareType(click.ParamType[float]):
    """A share of something: 0.05, or 5%."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = math.nan
        if not 0 < share <= 1:
            self.fail(f"{value!r} is not a share above 0; write 5% or 0.05", param, ctx)
        return share


def _fresh_token() -> str:
    from knouds_harness.exchange.created_workflows import fresh_token  # noqa: PLC0415 - not for help

    return fresh_token()


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """The options of a load run that Locust and its workers must know.

    All others are in ``commands/load.py``; ``commands/load_capacity.py`` says what ``--find-capacity`` does
    with each.

    Attributes:
        stages: Stages as written, from which rate, users and duration follow; None if ``shape`` counts.
        rate: Arrivals per second at the highest level (open model); None in the closed model.
        users: Users at the highest level (closed model), or the most requests in flight (open model).
    """

    target: str | None = option(
        "Profile in targets/: keys, resources, limits", metavar="NAME", in_click=False
    )
    rate: float | None = option(
        "Tasks started per second (open model)", type=FiniteRange(0, MOST_PER_S, min_open=True), metavar="N"
    )
    users: int = option(
        "Users (closed model); with --rate, most requests in flight",
        default=10,
        type=click.IntRange(1, MOST_USERS),
        metavar="N",
        default_text="10, or 1000 with --rate",
        in_runner=False,  # Locust has it
    )
    duration_s: float = option(
        "Length of the load: 90, 30s, 10m, 1h30m",
        default=60,
        flag="--duration",
        type=Timespan(),
        metavar="TIME",
        default_text="60s, or 10s for a point of --find-capacity",
    )
    warm_up_s: float = option(
        "Time to leave out of the metrics: 5, 30s, 1m",
        default=0,
        flag="--warm-up",
        type=WarmUp(0),
        metavar="TIME",
    )
    mix: str | None = option("Tasks and how often each comes: run=3,whoami=1", metavar="TASK=N,…")
    workflow: tuple[str, ...] = option(
        "Run only this workflow (repeatable; --model adds models)", default=(), metavar="SLUG"
    )
    model: tuple[str, ...] = option(
        "Run only this model (repeatable; --workflow adds workflows)", default=(), metavar="NAME"
    )
    inputs: Path | None = option("Inputs of runs: a .jsonl or .csv file with a line for each", metavar="FILE")
    inputs_order: str = option(
        "--inputs: lines in turn, or in an order drawn by the seed",
        default="in-turn",
        type=click.Choice(ORDERS),
    )
    stages: str | None = option(
        "Levels over time, in straight lines: 30s:50/s,hold=2m:50/s (or users), or a .txt file",
        type=Stages(),
        metavar="STAGES",
    )
    shape: str = option("Shape of the rate or the users", default="constant", type=click.Choice(KINDS))
    base: float | None = option(
        "Level at which a ramp or a spike starts", type=FiniteRange(0, MOST_PER_S), metavar="N"
    )
    steps: int = option("Steps of --shape steps", default=5, type=click.IntRange(1, MOST_STEPS), metavar="N")
    spacing: str = option("Spacing of tasks at a rate", default="constant", type=click.Choice(SPACINGS))
    think: str | None = option(
        "Seconds between tasks of a user (closed model): 0.5, or 0.5-2 by chance",
        type=ThinkTime(),
        metavar="S",
        default_text="the scenario's",
    )
    seed: int = option("Repeat the run that printed this seed", default_factory=draw_seed, metavar="N")
    pin: bool = option("Keep each process that sends on a processor core of its own", default=False)
    record: Path | None = option("Keep a run record in this folder of runs", metavar="DIR", in_click=False)
    objectives: Path | None = option(
        "File with objectives, or shipped for those of the harness",
        type=ObjectivesFile(),
        metavar="FILE",
        default_text="shipped for the target sandbox, else what the contract states",
    )
    objective: tuple[str, ...] = option(
        "Add an objective: 'runWorkflow p95 < 300ms', 'error_rate < 1%' (repeatable)",
        default=(),
        metavar="TEXT",
    )
    abort_on: tuple[str, ...] = option(
        "Abort when this objective is missed for 10 s, or sure to be: '* p99 < 5s' (repeatable)",
        default=(),
        metavar="TEXT",
    )
    accuracy: float = option(
        "Say which figures the generator's own delay may have moved by more than this: 0.05, or 5%",
        default=0.05,
        default_text="5%",
        type=ShareType(),
        metavar="SHARE",
    )
    credits: float | None = option(
        "Most credits to spend", type=FiniteRange(0), metavar="N", default_text="the profile's limit"
    )
    verified_share: float = option(
        "Check this share of the answers against the contract; without a number, all",
        default=0,
        default_text="a sample",
        flag="--verify",
        type=FiniteRange(0, 1, min_open=True),
        bare_value=1.0,
        metavar="RATIO",
    )
    plan_only: bool = option("Print the plan and its cost, and send nothing", default=False)
    yes: bool = option("Allow load on another machine", default=False)
    yes_production: bool = option("Allow a profile with production = true", default=False)
    progress_descriptor: int | None = option("A pipe", in_click=False, is_hidden=True)
    started_by: str = option("The command that leads", default="", in_click=False, is_hidden=True)
    command_pid: int | None = option("Its process", in_click=False, is_hidden=True)
    name_token: str = option(
        "In names of workflows", default_factory=_fresh_token, in_click=False, is_hidden=True
    )

    @cached_property
    def load_shape(self) -> Shape:
        if self.stages is not None:
            return parse_stages(self.stages)[0]
        level = float(self.rate or self.users)
        return Shape.of(self.shape, level, float(self.duration_s), base=self.base, steps=self.steps)

    @property
    def think_s(self) -> tuple[float, float] | None:
        """Shortest and longest pause between tasks of a user; None for the scenario's own."""
        if self.think is None:
            return None
        shortest, _, longest = self.think.partition("-")
        return float(shortest), float(longest or shortest)

    @property
    def schedule(self) -> ArrivalSchedule | None:
        if self.rate is None:
            return None
        return ArrivalSchedule(shape=self.load_shape, spacing=self.spacing, seed=self.seed)


def add_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("knouds-harness")
    add_runner_options(LoadOptions, group.add_argument)


def read_options(parsed: Namespace) -> LoadOptions:
    """Read our options from Locust's parsed command line.

    Drawn values, and those of Locust's own options, are written back into ours: only ours reach workers.
    """
    parsed.duration = parsed.duration or parsed.run_time
    staged, is_rate = parse_stages(parsed.stages) if parsed.stages else (None, False)
    if staged:
        _refuse_beside_stages(parsed, staged, is_rate=is_rate)
    rate = staged.peak if staged and is_rate else parsed.rate
    usual_users = 1000 if rate else math.ceil(staged.peak) if staged else 10
    parsed.users_in_all = getattr(parsed, "users_in_all", None) or parsed.num_users or usual_users
    read = replace(options_from(LoadOptions, parsed), users=int(parsed.users_in_all), rate=rate)
    if staged:
        read = replace(read, duration_s=staged.duration_s)
    if rate and rate > MOST_PER_S:
        raise UsageError(f"--stages {read.stages}: one run has at most {MOST_PER_S:,} tasks per second")
    if read.users > MOST_USERS:
        raise UsageError(f"--users {read.users}: one run has at most {MOST_USERS:,} users")
    parsed.seed, parsed.duration, parsed.name_token = read.seed, read.duration_s, read.name_token
    if read.warm_up_s >= read.duration_s:
        raise UsageError(
            f"--warm-up {read.warm_up_s:g} leaves nothing of {read.duration_s:g} s\n"
            "  Ask for a longer --duration."
        )
    _refuse_what_has_no_effect(read)
    try:
        _ = read.load_shape
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"--shape {read.shape}: {error}") from error
    return read


def _refuse_beside_stages(parsed: Namespace, staged: Shape, *, is_rate: bool) -> None:
    given = {
        "--rate": parsed.rate,
        "--shape": parsed.shape != LoadOptions.shape,
        "--duration": parsed.duration and parsed.duration != staged.duration_s,  # the master sends it
        "--users": parsed.num_users and not is_rate,
    }
    names = [name for name, is_given in given.items() if is_given]
    if names:
        raise UsageError(
            f"{' and '.join(names)} beside --stages: the stages say that already\n  Leave it out."
        )


def _refuse_what_has_no_effect(read: LoadOptions) -> None:
    """Refuse options without effect: an ignored option would mislead readers of the command."""
    shape = read.shape
    useless = {
        "--base without --shape ramp or spike": read.base is not None and shape not in {"ramp", "spike"},
        "--steps without --shape steps": read.steps != LoadOptions.steps and shape != "steps",
        "--inputs-order without --inputs": read.inputs_order != ORDERS[0] and read.inputs is None,
        "--think with --rate": read.think is not None and read.rate is not None,
        "--spacing without --rate": read.spacing != LoadOptions.spacing and read.rate is None,
    }
    for options, have_no_effect in useless.items():
        if have_no_effect:
            raise UsageError(f"{options} has no effect\n  Leave it out.")
