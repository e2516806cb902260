"""Checks before any load: whether it is allowed, whether the target answers, and what runs cost."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from knouds_harness.contract.operations import Action
from knouds_harness.errors import GuardStop, HarnessError, ProfileContradicted, UnknownName, UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.pricing import Pricing
from knouds_harness.exchange.profile_check import check_profile, first_contact
from knouds_harness.exchange.usage import Marks
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.workload.input_lines import InputFile
from knouds_harness.load.workload.workload import HasTasks, Workload, may_take, scenarios_in
from knouds_harness.printable import printable
from knouds_harness.runs.unsettled import settle_earlier
from knouds_harness.targets.guards import Guard, check_load
from knouds_harness.targets.needs import MAY_RUN
from knouds_harness.targets.needs.runs import why_not_runnable
from knouds_harness.targets.profile import Target


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What was learnt of a target before the load.

    Attributes:
        prices: The most that a run costs, by slug, if the server was asked for it.
        spent_credits: What learning it was charged, or may have been.
        marks: The usage rows of each account that are older than the load.
    """

    prices: Mapping[str, float] = field(default_factory=dict)
    spent_credits: float = 0.0
    marks: Marks = field(default_factory=dict)


NOT_LOOKED: Final = Preflight()


@dataclass(frozen=True, kw_only=True)
class LoadSetup:
    """What a load run is made from, in every process of it; without a target there is no workload."""

    options: LoadOptions
    target: Target | None = None
    workload: Workload | None = None
    inputs: InputFile | None = None
    ahead: Preflight = NOT_LOOKED


def check_plan(target: Target, options: LoadOptions, *, host: str | None) -> None:
    """Refuse load that the profile does not allow."""
    if host and host.rstrip("/") != target.base_url:
        raise UsageError(
            f"--host {host}: the profile {target.source} is for {target.base_url}\n  Leave --host out."
        )
    if target.http.via is not None:
        raise UsageError(
            f"{target.source}: http.proxy: load goes through no proxy, as its results would be the proxy's\n"
            "  Run load where the target can be reached directly, with a profile without the proxy."
        )
    check_load(
        target,
        starts_per_s=options.load_shape.peak if options.rate else 0.0,
        in_flight=options.users,
        yes=options.yes,
    )


def running_only(target: Target, workflows: Sequence[str], models: Sequence[str]) -> Target:
    """Return the profile with only these workflows and models, or unchanged if none is named."""
    if not (workflows or models):
        return target
    for kind, names, known in (("workflow", workflows, target.workflows), ("model", models, target.models)):
        for name in names:
            if name not in known:
                raise UsageError(
                    f"--{kind}: {UnknownName(kind, name, known)}\n  Or add it to {target.source}."
                )
            if reason := why_not_runnable(known[name]):
                raise UsageError(
                    f"--{kind} {name}: {target.source} says {reason}, so no run succeeds\n"
                    f"  Name another {kind}."
                )
    return replace(
        target,
        workflows={slug: target.workflows[slug] for slug in workflows},
        models={name: target.models[name] for name in models},
    )


def run_preflight(
    target: Target,
    rehearsal: Workload,
    user_classes: Iterable[Any],
    *,
    yes_production: bool,
    runs_folder: Path | None = None,
) -> Preflight:
    """Check that the target answers and is as its profile says, and ask it for missing prices.

    Raises:
        GuardStop: It is production without ``--yes-production``, or charged for what it should refuse.
        TargetUnreachable: It gives no usable answer.
        ProfileContradicted: A key or resource that the load needs is not as the profile says.
    """
    guard = Guard(target, yes_production=yes_production)
    with Client(target=target, guard=guard) as client:
        first_contact(client)
        if runs_folder:
            sys.stderr.writelines(f"{printable(line)}\n" for line in settle_earlier(runs_folder, client))
        scenarios = scenarios_in(user_classes)
        marks = _check(rehearsal, scenarios, guard)
        prices = _asked_prices(client, target)
    if guard.budget.overcharge is not None:
        raise GuardStop(guard.budget.overcharge)
    listed = {user: None if rows is None else [*rows] for user, rows in marks.items()}
    return Preflight(prices=prices, spent_credits=guard.budget.spent_credits, marks=listed)


def sandbox_prices(target: Target) -> Mapping[str, float]:
    """Return the prices of the built-in sandbox: a plan may ask it, but no other target."""
    with Client(target=target, guard=Guard(target)) as client:
        return _asked_prices(client, target)


def _asked_prices(client: Client, target: Target) -> Mapping[str, float]:
    pricing = Pricing(client)
    prices = {slug: pricing.worst_case(each) for slug, each in target.workflows.items() if not each.fails}
    return {slug: price for slug, price in prices.items() if price is not None}


def _check(workload: Workload, scenarios: Sequence[type[HasTasks]], guard: Guard) -> Marks:
    """Compare the keys and resources that the load needs with what the target answers.

    A contradiction matters only if the tasks would be others with what the target has.
    """
    tasks, target, limits = workload.account_tasks(scenarios), workload.target, workload.target.limits
    keys = {key for _, _, keys, _ in tasks for key in keys}
    used = {each for *_, found in tasks for each in found}
    target = replace(  # only what the load rests on
        target,
        personas={name: each for name, each in target.personas.items() if name in keys},
        workflows={slug: each for slug, each in target.workflows.items() if slug in used},
        models={name: each for name, each in target.models.items() if name in used},
    )
    if any(each.crosses_limit for each in scenarios):  # even a refused run may count in a window
        target = replace(target, limits=replace(limits, allow=limits.allow - {Action.RUN}))
    with Client(target=target, guard=guard, reads_usage=True) as client:
        if may_take(MAY_RUN, scenarios):
            client.watch_charges(each.user for each in target.personas.values())
        found = check_profile(client)
    with suppress(HarnessError):  # raised if no task is left
        asked, given = (
            workload.on(replace(each, limits=limits)).account_tasks(scenarios)
            for each in (target, found.target)
        )
        if given == asked:
            return client.charges_shown.marks
    problem = f"{target.source}: the target is not what its profile says, so no load was sent"
    raise ProfileContradicted("\n  ".join([problem, *(each.says for each in found.contradictions)]))
