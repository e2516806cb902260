"""What a load run is going to be, said before it begins: who sends how much, and what it costs.

Nothing is sent for it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean
from typing import Any, Final

from knouds_harness.contract.tiers import LIMIT_BY_TIER, UNLIMITED, WINDOW_S
from knouds_harness.errors import UsageError
from knouds_harness.load.cast import Part, runnable, shares
from knouds_harness.load.journeys import RUNS
from knouds_harness.load.options import Options
from knouds_harness.load.shapes import Shape
from knouds_harness.target.personas import Persona
from knouds_harness.target.profile import Target, Workflow

_GRID: Final = 500
_THINKS: Final = 200
_LARGEST_SURPRISE: Final = 5  # standard deviations of a Poisson number
_WITHOUT_MODELS: Final = frozenset({"pro"})
_JOURNEYS: Final = "knouds_harness.load.journeys"


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What is asked of one account.

    Attributes:
        persona: Its key.
        share: Of all tasks.
        runs_by_route: How many runs of each limited operation a task is, on average.
        cost_credits: What a task costs on average.
        dearest_credits: What a task costs at most.
    """

    persona: Persona
    share: float
    runs_by_route: Mapping[str, float]
    cost_credits: float
    dearest_credits: float


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """How many tasks there are; in the closed model, if every answer came at once.

    Attributes:
        total: Expected.
        most: In the whole run, as far as chance allows.
        in_window: The most that are expected in one window of the rate limit.
    """

    total: float
    most: float
    in_window: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run is going to be.

    Attributes:
        lines: All of it, for people.
        warnings: What is not going to work out.
    """

    lines: tuple[str, ...]
    warnings: tuple[str, ...]


def forecast(
    target: Target,
    options: Options,
    user_classes: Sequence[Any],
    *,
    price: Callable[[Workflow], float | None],
    is_asked: bool,
) -> Forecast:
    """Plan a run.

    Args:
        target: Where load is to go.
        options: What is asked for.
        user_classes: Of the Locust file; what others than a scenario's send is not known.
        price: The most that one run of a workflow costs; None where nobody says.
        is_asked: Whether the server was asked for the prices that the profile does not say.

    Raises:
        UsageError: No key can send the load, or one of them has nothing to run.
    """
    scenarios = [each for each in user_classes if hasattr(each, "senders")]
    tasks = _tasks(options, scenarios)
    demands = [
        each
        for user_class in scenarios
        for each in _demands(target, user_class, scenarios, price, is_asked=is_asked)
    ]
    crosses = any(each.crosses_limit for each in scenarios)
    unpriced = {
        workflow.slug
        for each in demands
        if "runWorkflow" in each.runs_by_route and not is_asked
        for workflow in runnable(target, each.persona)
        if price(workflow) is None
    }
    costs = _costs(target, options, tasks, demands, crosses=crosses, is_partial=bool(unpriced))
    lines = [
        f"load    {_load(options, tasks)}",
        f"keys    {', '.join(_sender(each) for each in demands) or 'none that is known'}",
        *(f"limits  {line}" for line in _limits(demands, tasks)),
        *(f"costs   {line}" for line in costs),
    ]
    if unpriced:
        names = ", ".join(sorted(unpriced))
        lines.append(f"costs   as a run begins, the server is asked what {names} cost")
    warnings = [
        *_unknown(user_classes, scenarios),
        *([] if crosses or tasks is None else _misfits(demands, tasks)),
        *(_too_few(demands, tasks) if crosses and tasks else ()),
        *(_too_dear(target, options, tasks, demands) if tasks and not crosses else ()),
    ]
    return Forecast(lines=tuple(lines), warnings=tuple(warnings))


# What is asked of whom


def _demands(
    target: Target,
    user_class: Any,  # noqa: ANN401 - a ScenarioUser, whose module imports this one's
    scenarios: Sequence[Any],
    price: Callable[[Workflow], float | None],
    *,
    is_asked: bool,
) -> Iterator[Demand]:
    part_of_all = user_class.weight / sum(each.weight for each in scenarios)
    task_weights = Counter(user_class.tasks)
    personas = user_class.senders(target)
    for persona, share in zip(personas, shares(personas), strict=True):
        part = Part(target, persona, price=price if is_asked else lambda workflow: price(workflow) or 0.0)
        runs_by_route: dict[str, float] = {}
        cost_credits = dearest_credits = 0.0
        for task, weight in task_weights.items():
            if task not in RUNS:
                continue
            errands = RUNS[task](part)
            if not errands:
                raise UsageError(
                    f"{target.source}: {task.__name__} finds nothing that {persona.user} can run at a known "
                    "price\n  Add a workflow of that account, or a model with cost_credits."
                )
            each_time = weight / task_weights.total() / len(errands)
            for errand in errands:
                runs_by_route[errand.operation] = runs_by_route.get(errand.operation, 0.0) + each_time
                cost_credits += each_time * errand.cost_credits
                dearest_credits = max(dearest_credits, errand.cost_credits)
        yield Demand(
            persona=persona,
            share=share * part_of_all,
            runs_by_route=runs_by_route,
            cost_credits=cost_credits,
            dearest_credits=dearest_credits,
        )


def _tasks(options: Options, scenarios: Sequence[Any]) -> Tasks | None:
    """None where think times are nothing that can be asked for."""
    course = options.course
    if options.rate is None:
        think_s = _think_s(scenarios)
        if not think_s:
            return None
        users = course
        per_user = 1 / think_s
        return Tasks(
            total=users.total * per_user + options.users,
            most=math.inf,
            in_window=most_in(users, WINDOW_S) * per_user + options.users,
        )
    by_chance = _LARGEST_SURPRISE * math.sqrt(course.total) if options.spacing == "poisson" else 0.0
    return Tasks(
        total=course.total,
        most=math.ceil(course.total + by_chance),
        in_window=most_in(course, WINDOW_S),
    )


def _think_s(scenarios: Sequence[Any]) -> float | None:
    """How long users think on average; None where that depends on more than chance."""
    try:
        return fmean(each.wait_time(None) for each in scenarios for _ in range(_THINKS))
    except (AttributeError, TypeError, ValueError):
        return None


def most_in(course: Shape, window_s: float) -> float:
    """The largest area under a course within so many seconds, wherever these begin."""
    breaks_s = list(accumulate((stage.duration_s for stage in course.stages), initial=0.0))
    starts_s = [course.duration_s * number / _GRID for number in range(_GRID)]
    starts_s += [each - back_s for each in breaks_s for back_s in (0.0, window_s)]
    return max(course.area(start_s, start_s + window_s) for start_s in starts_s)


# What comes of it


def _misfits(demands: Sequence[Demand], tasks: Tasks) -> Iterator[str]:
    for route in sorted({route for each in demands for route in each.runs_by_route}):
        over = [
            each
            for each in demands
            if each.persona.tier in LIMIT_BY_TIER
            and _in_window(each, route, tasks) > LIMIT_BY_TIER[each.persona.tier]
        ]
        if not over:
            continue
        needed = sum(_in_window(each, route, tasks) for each in demands)
        admitted = sum(LIMIT_BY_TIER.get(each.persona.tier, 0) for each in demands)
        tiers = [
            f"{math.ceil(needed / limit):,} {tier}"
            for tier, limit in LIMIT_BY_TIER.items()
            if not (route == "runModel" and tier in _WITHOUT_MODELS)
        ]
        yield (
            f"{route}: up to {math.ceil(needed):,} runs in {WINDOW_S} s, and the accounts at hand admit "
            f"{admitted:,}; the rest will be throttled. It takes {', '.join(tiers)} or 1 {UNLIMITED} keys, "
            "each of another account: limits count accounts."
        )


def _too_few(demands: Sequence[Demand], tasks: Tasks) -> Iterator[str]:
    for each in demands:
        limit = LIMIT_BY_TIER.get(each.persona.tier, math.inf)
        for route in each.runs_by_route:
            runs = _in_window(each, route, tasks)
            if runs <= limit:
                yield (
                    f"{route}: at most {runs:,.0f} runs in {WINDOW_S} s do not cross the limit of {limit:,}; "
                    "ask for a higher --rate, or a longer --duration."
                )


def _too_dear(target: Target, options: Options, tasks: Tasks, demands: Sequence[Demand]) -> Iterator[str]:
    cost, budget = _expected_credits(tasks, demands), _budget(target, options)
    if cost > budget:
        yield (
            f"It costs about {cost:,.0f} credits, and {budget:,.0f} may be spent ({_budget_name(options)}): "
            "it will end early."
        )


def _unknown(user_classes: Sequence[Any], scenarios: Sequence[Any]) -> Iterator[str]:
    unknown = [each.__name__ for each in user_classes if each not in scenarios]
    unknown += [
        task.__name__
        for each in scenarios
        for task in dict.fromkeys(each.tasks)
        if getattr(task, "__module__", "") != _JOURNEYS
    ]
    if unknown:
        yield f"What {', '.join(unknown)} runs is not in this plan, which knows the harness's own journeys."


def _in_window(demand: Demand, route: str, tasks: Tasks) -> float:
    return tasks.in_window * demand.share * demand.runs_by_route.get(route, 0.0)


def _expected_credits(tasks: Tasks, demands: Sequence[Demand]) -> float:
    return tasks.total * sum(each.share * each.cost_credits for each in demands)


def _budget(target: Target, options: Options) -> float:
    return target.limits.credits if options.credits is None else options.credits


def _budget_name(options: Options) -> str:
    return "limits.credits" if options.credits is None else "--credits"


# In words


def _load(options: Options, tasks: Tasks | None) -> str:
    duration = f"{options.course.duration_s:g} s"
    if options.rate is not None:
        total = tasks.total if tasks else 0.0
        return (
            f"open model, {duration}, about {total:,.0f} tasks, at most {options.course_peak:g} per second "
            f"and {options.users:,} in flight"
        )
    upper = f", at most about {tasks.total:,.0f} tasks (if answers came at once)" if tasks else ""
    return f"closed model, {duration}, {options.users:,} users{upper}"


def _sender(demand: Demand) -> str:
    return f"{demand.persona.name} ({demand.persona.user}, {demand.persona.tier}): {demand.share:.0%}"


def _limits(demands: Sequence[Demand], tasks: Tasks | None) -> Iterator[str]:
    for each in demands:
        if not each.runs_by_route:
            continue
        user, tier = each.persona.user, each.persona.tier
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
    options: Options,
    tasks: Tasks | None,
    demands: Sequence[Demand],
    *,
    crosses: bool,
    is_partial: bool,
) -> Iterator[str]:
    dearest_credits = max((each.dearest_credits for each in demands), default=0.0)
    if not any(each.runs_by_route for each in demands):
        yield "nothing"
        return
    budget = _budget(target, options)
    most = tasks.most if tasks and not is_partial else math.inf
    expected = tasks.total if tasks else math.inf
    if crosses and not is_partial:  # what is refused is free
        windows = math.ceil(options.course.duration_s / WINDOW_S) + 1
        admitted = windows * sum(LIMIT_BY_TIER.get(each.persona.tier, 0) for each in demands)
        most, expected = min(most, admitted), min(expected, admitted)
    mean = sum(each.share * each.cost_credits for each in demands)
    is_told = math.isfinite(expected) and not is_partial
    about = f"about {min(budget, expected * mean):,.0f} credits, " if is_told else ""
    dearest = most * dearest_credits if dearest_credits or not is_partial else math.inf
    yield f"{about}at most {min(budget, dearest):,.0f} credits; {_budget_name(options)} is {budget:,.0f}"
