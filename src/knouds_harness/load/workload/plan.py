"""The plan of a load run, made before it begins: who sends how much, and what it costs.

Planning sends nothing.
"""

import math
from collections.abc import Iterator, Sequence
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

_GRID: Final = 500
_MOST_NAMED: Final = 4
_THINKS: Final = 200


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

    @property
    def sender(self) -> str:
        if not self.keys:
            return f"none is needed: {self.share:.0%}"
        return f"{' and '.join(self.keys)} ({self.account.user}, {self.account.tier}): {self.share:.0%}"


class Plan:
    """What a run will send.

    Attributes:
        tasks: How many are expected (closed model: if responses came at once); None if a ``wait_time``
            cannot be evaluated.
        in_window: How many of them in one window at most.
        accounts: What each sends, most first.
        unpriced: The workflows whose price is to be asked for: models without one are not run.
    """

    def __init__(
        self,
        workload: Workload,
        options: LoadOptions,
        user_classes: Sequence[Any],
        *,
        is_asked: bool,
        inputs: InputFile | None = None,
    ) -> None:
        """``is_asked`` means that the server was asked for prices that the profile lacks."""
        self.workload, self.options, self.inputs = workload, options, inputs
        self.user_classes = user_classes
        self.scenarios: Sequence[Any] = scenarios_in(user_classes)
        self.limits = workload.target.limits
        self.crosses = any(each.crosses_limit for each in self.scenarios)
        self._think_s = _think_s(self.scenarios) if options.rate is None else None
        self.tasks = self._tasks_in(options.load_shape.total)
        self.in_window = self._tasks_in(most_in(options.load_shape, WINDOW_S))
        self.unpriced = set() if is_asked else self._unpriced()
        self.accounts = self._accounts()

    def _tasks_in(self, area: float) -> float | None:
        if self.options.rate is not None:
            return area
        return area / self._think_s + self.options.users if self._think_s else None

    def _unpriced(self) -> set[Runnable]:
        workflows = self.workload.target.workflows
        return {
            each.what
            for each in self.workload.run_requests(self.scenarios)
            if each.operation == RUN_WORKFLOW and workflows[each.name].cost_credits is None
            if not each.lines or any(line.cost_credits is None for line in each.lines)
        }

    def _accounts(self) -> list[AccountLoad]:
        by_user: dict[str, AccountLoad] = {}
        weights = [each.weight if each.rate is None else each.rate for each in self.scenarios]
        for scenario, weight in zip(self.scenarios, weights, strict=True):
            of_all = weight / sum(weights)
            for part in self.workload.task_resources(scenario):
                for account, share in zip(part.accounts, shares(part.accounts), strict=True):
                    load = by_user.setdefault(account.user, AccountLoad(account=account))
                    self._add(load, part.needs, share * part.share * of_all)
        return sorted(by_user.values(), key=lambda each: -each.share)

    def _add(self, load: AccountLoad, needs: Sequence[Need[Any]], share: float) -> None:
        run_requests = load.account.run_requests(*needs)
        load.keys += [key for key in load.account.keys_of(needs) if key not in load.keys]
        load.share += share
        weights = [len(each.lines) or 1 for each in run_requests]
        for run_request, weight in zip(run_requests, weights, strict=True):
            runs, part = load.runs_by_route, share * weight / sum(weights)
            runs[run_request.operation] = runs.get(run_request.operation, 0.0) + part
            load.cost_credits += part * run_request.likely_credits
            load.unpriced_runs += part * (run_request.what in self.unpriced)
            load.highest_price_credits = max(load.highest_price_credits, run_request.cost_credits)

    def _in_window(self, load: AccountLoad, route: str) -> float:
        return (self.in_window or 0.0) * load.runs_by_route.get(route, 0.0)

    def lines(self) -> Iterator[str]:
        """Yield the plan for people."""
        yield f"load    {self._load()}"
        yield from (f"        {name} {rate:g} per second" for name, rate in rates_of(self.scenarios).items())
        yield f"keys    {', '.join(each.sender for each in self.accounts) or 'none that is known'}"
        if self.inputs:
            yield f"inputs  {self._used(self.inputs)}"
        yield from (f"limits  {self._limit(each)}" for each in self.accounts if each.runs_by_route)
        yield f"costs   {self._costs()}"
        if self.unpriced:
            names = ", ".join(sorted(name for _, name in self.unpriced))
            yield f"costs   as a run begins, the server is asked what {names} cost"

    def _load(self) -> str:
        options, duration = self.options, f"{self.options.load_shape.duration_s:g} s"
        total = self.tasks or 0.0
        if options.rate is not None:
            most = f"at most {options.load_shape.peak:g} per second and {options.users:,} in flight"
            return f"open model, {duration}, about {total:,.0f} tasks, {most}"
        upper = f", at most about {total:,.0f} tasks (if answers came at once)" if self.tasks else ""
        return f"closed model, {duration}, {options.users:,} users{upper}"

    def _used(self, inputs: InputFile) -> str:
        """Describe the file, and how often each line is used: caches may answer repeated lines."""
        described = inputs.described(self.options.inputs_order)
        if self.tasks is None:
            return described
        runs = self.tasks * sum(sum(each.runs_by_route.values()) for each in self.accounts)
        return f"{described}: about {runs:,.0f} runs, each line {runs / len(inputs.lines):,.1f} times"

    def _limit(self, load: AccountLoad) -> str:
        user, tier = load.account.user, load.account.tier
        if tier == UNLIMITED:
            return f"{user}: none"
        runs = ", ".join(
            f"{route} up to {math.ceil(self._in_window(load, route)):,}" if self.tasks else route
            for route in sorted(load.runs_by_route)
        )
        known = LIMIT_BY_TIER.get(tier)
        limit = f"of {known:,}" if known else f"(no source tells the limit of {tier})"
        return f"{user}: {runs} {limit} in {WINDOW_S} s"

    def _costs(self) -> str:
        """Say the likely and the highest cost; the latter is the budget if nothing else bounds it."""
        if not any(each.runs_by_route for each in self.accounts):
            return "nothing"
        budget = self.limits.credits
        expected = self.tasks or math.inf
        is_by_chance = self.options.rate is None or self.options.spacing == "poisson"
        most = math.inf if is_by_chance else math.ceil(expected)
        if self.crosses:  # refused runs are free
            windows = math.ceil(self.options.load_shape.duration_s / WINDOW_S) + 1
            admitted = windows * sum(LIMIT_BY_TIER.get(each.account.tier, 0) for each in self.accounts)
            expected, most = min(expected, admitted), min(most, admitted)
        unpriced = sum(each.unpriced_runs for each in self.accounts)
        likely = "what is likely depends on how long users think"
        if math.isfinite(expected):
            mean = sum(each.cost_credits for each in self.accounts)
            likely = f"likely about {min(budget, expected * mean):,.0f} credits"
            likely += f", plus {expected * unpriced:,.0f} runs whose price is unknown" if unpriced else ""
        dearest = max(each.highest_price_credits for each in self.accounts)
        highest = budget if unpriced or not math.isfinite(most) else min(budget, most * dearest)
        return f"{likely}, at most {highest:,.0f} credits; {self.limits.credits_by} is {budget:,.0f}"

    def left_out(self) -> Iterator[str]:
        """Yield warnings of what the run leaves out, and of what the plan does."""
        for each in self.scenarios:
            yield from self.workload.left_out(each)
        if not (self.inputs or self.crosses):
            yield from self._not_run()
        yield from self._unknown()

    def _not_run(self) -> Iterator[str]:
        """Name workflows and models that are not run although tasks run that kind, in one sentence."""
        target = self.workload.target
        parts = self.workload.parts(self.scenarios)
        kinds = tuple(need.kind for part in parts for need in part.needs if isinstance(need, RunNeed))
        run = {each.what for each in self.workload.run_requests(self.scenarios)}
        named = []
        for each in resources_of(target):
            if (each.run_operation, each.name) in run or not isinstance(each, kinds):
                continue
            reason = why_not_runnable(each)
            if not reason and not is_run_by_any_key(target, each):
                reason = "no key may run it"
            if reason or self.workload.runs_each:
                named.append(f"{each.name} ({reason or 'no credits, or not what the tasks need'})")
        if named:
            yield f"not run: {first_few(named, _MOST_NAMED)}"

    def _unknown(self) -> Iterator[str]:
        unknown = [each.__name__ for each in self.user_classes if each not in self.scenarios]
        tasks = (task for each in self.scenarios for task in dict.fromkeys(each.tasks))
        unknown += [task.__name__ for task in tasks if not isinstance(task, SharedTask)]
        if unknown:
            names = ", ".join(unknown)
            yield f"This plan does not include what {names} runs: it knows only the harness's tasks."

    def expected(self) -> Iterator[str]:
        """Yield warnings of what will not work."""
        if self.tasks is None:
            return
        if self.crosses:
            yield from self._too_few()
            return
        yield from self._misfits()
        cost = self.tasks * sum(each.cost_credits for each in self.accounts)
        budget = self.limits.credits
        if cost > budget:
            yield (
                f"It costs about {cost:,.0f} credits, and {budget:,.0f} may be spent "
                f"({self.limits.credits_by}): it will end early."
            )

    def _misfits(self) -> Iterator[str]:
        limits = [LIMIT_BY_TIER.get(each.account.tier, math.inf) for each in self.accounts]
        for route in sorted({route for each in self.accounts for route in each.runs_by_route}):
            runs = [self._in_window(each, route) for each in self.accounts]
            if not any(count > limit for count, limit in zip(runs, limits, strict=True)):
                continue
            needed, admitted = sum(runs), sum(each for each in limits if math.isfinite(each))
            tiers = [
                f"{math.ceil(needed / limit):,} {tier}"
                for tier, limit in LIMIT_BY_TIER.items()
                if not (route == "runModel" and tier in WITHOUT_MODELS)
            ]
            yield (
                f"{route}: up to {math.ceil(needed):,} runs in {WINDOW_S} s, and your accounts admit "
                f"{admitted:,}; the rest will be throttled. It takes {', '.join(tiers)} or 1 {UNLIMITED} "
                "keys, each of another account: limits are per account."
            )

    def _too_few(self) -> Iterator[str]:
        for each in self.accounts:
            limit = LIMIT_BY_TIER.get(each.account.tier, math.inf)
            for route in each.runs_by_route:
                runs = self._in_window(each, route)
                if runs <= limit:
                    yield (
                        f"{route}: at most {runs:,.0f} runs in {WINDOW_S} s do not cross the limit of "
                        f"{limit:,}; ask for a higher --rate, or a longer --duration."
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
