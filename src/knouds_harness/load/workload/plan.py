"""The plan of a load run, made before it begins: who sends how much, and what it costs.

Planning sends nothing.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import fmean
from typing import Any, Final

from knouds_harness.contract.operations import LIMIT_BY_TIER, UNLIMITED, WINDOW_S, WITHOUT_MODELS
from knouds_harness.load.arrivals.schedule import Shape
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.workload.accounts import RUN_WORKFLOW, AccountKeys, Runnable
from knouds_harness.load.workload.input_lines import InputFile
from knouds_harness.load.workload.workload import SharedTask, Workload, rates_of, scenarios_in, shares
from knouds_harness.printable import first_few
from knouds_harness.targets.needs import Need
from knouds_harness.targets.needs.runs import RunNeed, is_run_by_any_key, resources_of, why_not_runnable
from knouds_harness.targets.profile import Target

_GRID: Final = 500
_MOST_NAMED: Final = 4
_THINKS: Final = 200
_LARGEST_SURPRISE: Final = 5  # standard deviations of a Poisson number


@dataclass(kw_only=True)
class AccountLoad:
    """The part of the load that one account sends: its share of all tasks, and of each task what it runs.

    ``runs_by_route``, ``cost_credits`` and ``unpriced_runs`` are per task of the whole load.
    """

    account: AccountKeys
    keys: list[str] = field(default_factory=list)
    share: float = 0.0
    runs_by_route: dict[str, float] = field(default_factory=dict)
    cost_credits: float = 0.0
    highest_price_credits: float = 0.0
    unpriced_runs: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """The number of tasks: expected, at most, and in one window; closed model: if responses came at once."""

    total: float
    most: float
    in_window: float


def forecast(
    workload: Workload,
    options: LoadOptions,
    user_classes: Sequence[Any],
    *,
    is_asked: bool,
    inputs: InputFile | None = None,
) -> tuple[list[str], list[str], list[str]]:
    """Plan a run: lines for people, warnings of what it leaves out, and of what will not work.

    ``is_asked`` means that the server was asked for prices that the profile lacks.
    """
    target = workload.target
    scenarios = scenarios_in(user_classes)
    tasks = _tasks(options, scenarios)
    unpriced = set() if is_asked else _unpriced(workload, scenarios)
    demands = _demands(workload, scenarios, unpriced)
    crosses = any(each.crosses_limit for each in scenarios)
    costs = _costs(target, options, tasks, demands, crosses=crosses)
    lines = [
        f"load    {_load(options, tasks)}",
        *(f"        {name} {rate:g} per second" for name, rate in rates_of(scenarios).items()),
        f"keys    {', '.join(_sender(each) for each in demands) or 'none that is known'}",
        *([f"inputs  {_inputs(inputs, options, tasks, demands)}"] if inputs else []),
        *(f"limits  {line}" for line in _limits(demands, tasks)),
        *(f"costs   {line}" for line in costs),
    ]
    if unpriced:
        names = ", ".join(sorted(name for _, name in unpriced))
        lines.append(f"costs   as a run begins, the server is asked what {names} cost")
    left_out = [
        *(sentence for each in scenarios for sentence in workload.left_out(each)),
        *([] if inputs or crosses else _not_run(workload, scenarios)),
        *_unknown(user_classes, scenarios),
    ]
    expected = [
        *([] if crosses or tasks is None else _misfits(demands, tasks)),
        *(_too_few(demands, tasks) if crosses and tasks else ()),
        *(_too_dear(target, tasks, demands) if tasks and not crosses else ()),
    ]
    return lines, left_out, expected


def _not_run(workload: Workload, scenarios: Sequence[Any]) -> Iterator[str]:
    """Name the workflows and models that are not run although tasks run that kind, in one sentence."""
    target = workload.target
    needs = [need for each in scenarios for part in workload.task_resources(each) for need in part.needs]
    run_needs = [need for need in needs if isinstance(need, RunNeed)]
    run = {each.what for each in workload.run_requests(scenarios)}
    names_by_reason: dict[str, list[str]] = {}
    for each in resources_of(target):
        if (each.run_operation, each.name) in run or not any(
            isinstance(each, need.kind) for need in run_needs
        ):
            continue
        reason = why_not_runnable(each)
        if not reason and not is_run_by_any_key(target, each):
            reason = "no key may run it"
        if reason or workload.runs_each:
            reason = reason or "no credits, or not what the tasks need"
            names_by_reason.setdefault(reason, []).append(each.name)
    if names_by_reason:
        parts = [f"{first_few(names, _MOST_NAMED)} ({reason})" for reason, names in names_by_reason.items()]
        yield f"not run: {'; '.join(parts)}"


# The part of each account


def _demands(
    workload: Workload, scenarios: Sequence[Any], unpriced: Collection[Runnable]
) -> list[AccountLoad]:
    by_user: dict[str, AccountLoad] = {}
    weights = [each.weight if each.rate is None else each.rate for each in scenarios]
    for scenario, weight in zip(scenarios, weights, strict=True):
        of_all = weight / sum(weights)
        for part in workload.task_resources(scenario):
            for account, share in zip(part.accounts, shares(part.accounts), strict=True):
                demand = by_user.setdefault(account.user, AccountLoad(account=account))
                _add(demand, part.needs, share * part.share * of_all, unpriced)
    return sorted(by_user.values(), key=lambda each: -each.share)


def _add(
    demand: AccountLoad, needs: Sequence[Need[Any]], share: float, unpriced: Collection[Runnable]
) -> None:
    account = demand.account
    run_requests = account.run_requests(*needs)
    demand.keys += [key for key in account.keys_of(needs) if key not in demand.keys]
    demand.share += share
    weights = [len(each.lines) or 1 for each in run_requests]
    for run_request, weight in zip(run_requests, weights, strict=True):
        runs, part = demand.runs_by_route, share * weight / sum(weights)
        runs[run_request.operation] = runs.get(run_request.operation, 0.0) + part
        demand.cost_credits += part * run_request.likely_credits
        demand.unpriced_runs += part * (run_request.what in unpriced)
        demand.highest_price_credits = max(demand.highest_price_credits, run_request.cost_credits)


def _unpriced(workload: Workload, scenarios: Sequence[Any]) -> set[Runnable]:
    """Return the workflows whose price is to be asked for: models without one are not run."""
    return {
        each.what
        for each in workload.run_requests(scenarios)
        if each.operation == RUN_WORKFLOW and workload.target.workflows[each.name].cost_credits is None
        if not each.lines or any(line.cost_credits is None for line in each.lines)
    }


def _tasks(options: LoadOptions, scenarios: Sequence[Any]) -> Tasks | None:
    """None if a ``wait_time`` cannot be evaluated."""
    shape = options.load_shape
    if options.rate is None:
        think_s = _think_s(scenarios)
        if not think_s:
            return None
        users = shape
        per_user = 1 / think_s
        total = users.total * per_user + options.users
        return Tasks(
            total=total,
            most=math.ceil(total + _LARGEST_SURPRISE * math.sqrt(total)),
            in_window=most_in(users, WINDOW_S) * per_user + options.users,
        )
    by_chance = _LARGEST_SURPRISE * math.sqrt(shape.total) if options.spacing == "poisson" else 0.0
    return Tasks(
        total=shape.total, most=math.ceil(shape.total + by_chance), in_window=most_in(shape, WINDOW_S)
    )


def _think_s(scenarios: Sequence[Any]) -> float | None:
    """Return the mean think time; None if ``wait_time`` needs a user to be evaluated."""
    try:
        return fmean(each.wait_time(None) for each in scenarios for _ in range(_THINKS))
    except (AttributeError, TypeError, ValueError):
        return None


def most_in(shape: Shape, window_s: float) -> float:
    """Return the largest area under a shape in any window of this length."""
    breaks_s = list(accumulate((stage.duration_s for stage in shape.stages), initial=0.0))
    starts_s = [shape.duration_s * number / _GRID for number in range(_GRID)]
    starts_s += [each - back_s for each in breaks_s for back_s in (0.0, window_s)]
    return max(shape.area(start_s, start_s + window_s) for start_s in starts_s)


# Warnings


def _misfits(demands: Sequence[AccountLoad], tasks: Tasks) -> Iterator[str]:
    for route in sorted({route for each in demands for route in each.runs_by_route}):
        over = [
            each
            for each in demands
            if each.account.tier in LIMIT_BY_TIER
            and _in_window(each, route, tasks) > LIMIT_BY_TIER[each.account.tier]
        ]
        if not over:
            continue
        needed = sum(_in_window(each, route, tasks) for each in demands)
        admitted = sum(LIMIT_BY_TIER.get(each.account.tier, 0) for each in demands)
        tiers = [
            f"{math.ceil(needed / limit):,} {tier}"
            for tier, limit in LIMIT_BY_TIER.items()
            if not (route == "runModel" and tier in WITHOUT_MODELS)
        ]
        yield (
            f"{route}: up to {math.ceil(needed):,} runs in {WINDOW_S} s, and your accounts admit "
            f"{admitted:,}; the rest will be throttled. It takes {', '.join(tiers)} or 1 {UNLIMITED} keys, "
            "each of another account: limits are per account."
        )


def _too_few(demands: Sequence[AccountLoad], tasks: Tasks) -> Iterator[str]:
    for each in demands:
        limit = LIMIT_BY_TIER.get(each.account.tier, math.inf)
        for route in each.runs_by_route:
            runs = _in_window(each, route, tasks)
            if runs <= limit:
                yield (
                    f"{route}: at most {runs:,.0f} runs in {WINDOW_S} s do not cross the limit of {limit:,}; "
                    "ask for a higher --rate, or a longer --duration."
                )


def _too_dear(target: Target, tasks: Tasks, demands: Sequence[AccountLoad]) -> Iterator[str]:
    cost, budget = _expected_credits(tasks, demands), target.limits.credits
    if cost > budget:
        yield (
            f"It costs about {cost:,.0f} credits, and {budget:,.0f} may be spent "
            f"({target.limits.credits_by}): it will end early."
        )


def _unknown(user_classes: Sequence[Any], scenarios: Sequence[Any]) -> Iterator[str]:
    unknown = [each.__name__ for each in user_classes if each not in scenarios]
    unknown += [
        task.__name__
        for each in scenarios
        for task in dict.fromkeys(each.tasks)
        if not isinstance(task, SharedTask)
    ]
    if unknown:
        yield f"This plan does not include what {', '.join(unknown)} runs: it knows only the harness's tasks."


def _in_window(demand: AccountLoad, route: str, tasks: Tasks) -> float:
    return tasks.in_window * demand.runs_by_route.get(route, 0.0)


def _expected_credits(tasks: Tasks, demands: Sequence[AccountLoad]) -> float:
    return tasks.total * sum(each.cost_credits for each in demands)


# Lines for people


def _load(options: LoadOptions, tasks: Tasks | None) -> str:
    duration = f"{options.load_shape.duration_s:g} s"
    if options.rate is not None:
        total = tasks.total if tasks else 0.0
        return (
            f"open model, {duration}, about {total:,.0f} tasks, at most {options.peak_level:g} per second "
            f"and {options.users:,} in flight"
        )
    upper = f", at most about {tasks.total:,.0f} tasks (if answers came at once)" if tasks else ""
    return f"closed model, {duration}, {options.users:,} users{upper}"


def _sender(demand: AccountLoad) -> str:
    if not demand.keys:
        return f"none is needed: {demand.share:.0%}"
    keys = " and ".join(demand.keys)
    return f"{keys} ({demand.account.user}, {demand.account.tier}): {demand.share:.0%}"


def _inputs(
    inputs: InputFile, options: LoadOptions, tasks: Tasks | None, demands: Sequence[AccountLoad]
) -> str:
    """Describe the file, and how often each line is used: caches may answer repeated lines."""
    described = inputs.described(options.inputs_order)
    if tasks is None:
        return described
    runs = tasks.total * sum(sum(each.runs_by_route.values()) for each in demands)
    return f"{described}: about {runs:,.0f} runs, each line {runs / len(inputs.lines):,.1f} times"


def _limits(demands: Sequence[AccountLoad], tasks: Tasks | None) -> Iterator[str]:
    for each in demands:
        if not each.runs_by_route:
            continue
        user, tier = each.account.user, each.account.tier
        if tier == UNLIMITED:
            yield f"{user}: none"
            continue
        runs = ", ".join(
            f"{route} up to {math.ceil(_in_window(each, route, tasks)):,}" if tasks else route
            for route in sorted(each.runs_by_route)
        )
        limit = (
            f"of {LIMIT_BY_TIER[tier]:,}"
            if tier in LIMIT_BY_TIER
            else f"(no source tells the limit of {tier})"
        )
        yield f"{user}: {runs} {limit} in {WINDOW_S} s"


def _costs(
    target: Target,
    options: LoadOptions,
    tasks: Tasks | None,
    demands: Sequence[AccountLoad],
    *,
    crosses: bool,
) -> Iterator[str]:
    """Yield the likely and the highest cost; the latter is the budget if nothing else bounds it."""
    if not any(each.runs_by_route for each in demands):
        yield "nothing"
        return
    budget = target.limits.credits
    expected, most = (tasks.total, tasks.most) if tasks else (math.inf, math.inf)
    if crosses:  # refused runs are free
        windows = math.ceil(options.load_shape.duration_s / WINDOW_S) + 1
        admitted = windows * sum(LIMIT_BY_TIER.get(each.account.tier, 0) for each in demands)
        expected, most = min(expected, admitted), min(most, admitted)
    mean, unpriced = (
        sum(counts)
        for counts in zip(*((each.cost_credits, each.unpriced_runs) for each in demands), strict=True)
    )
    likely = "what is likely depends on how long users think"
    if math.isfinite(expected):
        likely = f"likely about {min(budget, expected * mean):,.0f} credits"
        likely += f", plus {expected * unpriced:,.0f} runs whose price is unknown" if unpriced else ""
    dearest = max(each.highest_price_credits for each in demands)
    highest = budget if unpriced or not math.isfinite(most) else min(budget, most * dearest)
    yield f"{likely}, at most {highest:,.0f} credits; {target.limits.credits_by} is {budget:,.0f}"
