"""Assigns each task of a load run to the accounts that can do it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import LIMIT_BY_TIER, UNLIMITED, WITHOUT_KEYS
from knouds_harness.errors import GuardStop, UsageError
from knouds_harness.load.workload.accounts import (
    RUNS,
    WITHOUT_KEY,
    AccountKeys,
    InputLine,
    Runnable,
    RunRequest,
)
from knouds_harness.targets.needs import Need, forbidden_actions
from knouds_harness.targets.needs.keys import listed
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Persona

Task = Callable[[Any], object]
"""A function that takes a user, or a Locust TaskSet."""

_NO_ACCOUNT: Final = "an active key of an account that may hold keys (pro and above), not an administrator's"


@runtime_checkable
class HasTasks(Protocol):
    """What is read of a ``ScenarioUser``'s class."""

    tasks: list[Any]
    rate: ClassVar[float | None]
    needs: ClassVar[Collection[str]]
    crosses_limit: ClassVar[bool]


@runtime_checkable
class SharedTask(Protocol):
    """A task that declares what it needs, so that any scenario can use it."""

    needs: tuple[Need[Any], ...]

    def __call__(self, user: Any, /) -> object:  # noqa: ANN401 - of any scenario
        """Run the task once."""


def scenarios_in(user_classes: Iterable[Any]) -> list[type[HasTasks]]:
    return [each for each in user_classes if isinstance(each, HasTasks)]  # type: ignore[misc] # as users are


def rates_of(user_classes: Iterable[Any]) -> dict[str, float]:
    """Return the rates that scenarios have of their own, by the name of their class."""
    return {each.__name__: each.rate for each in scenarios_in(user_classes) if each.rate is not None}


def takes(*needs: Need[Any]) -> Callable[[Task], Task]:
    """Declare what a task needs of one account; any of its keys may meet a need.

    For a task without this, the scenario's ``needs`` count.
    """

    def say(task: Task) -> Task:
        task.needs = needs  # type: ignore[attr-defined]  # as Locust's own decorators do
        return task

    return say


@dataclass(frozen=True, kw_only=True)
class TaskResources:
    """A task of a scenario, its share of all tasks, and the accounts that do it."""

    task: Task
    needs: tuple[Need[Any], ...]
    share: float
    accounts: tuple[AccountKeys, ...]


@dataclass(frozen=True, kw_only=True)
class TaskAccount:
    """An account that does a task with ``persona``, and with ``others`` what that key may not do."""

    account: AccountKeys
    persona: Persona
    sender_headers: tuple[tuple[str, str], ...]
    others: Mapping[str, Persona]


class Workload:
    """The accounts of a profile that load can be sent with."""

    def __init__(
        self,
        target: Target,
        *,
        prices: Mapping[str, float],
        lines: Sequence[InputLine] | None = None,
        runs_each: bool = False,
    ) -> None:
        """``prices`` are those of workflows, by slug, for which the profile has none: others are not run.

        With ``lines`` or ``runs_each``, everything that can be run is run, by any account that can.
        """
        self.target = target
        self.runs_each = runs_each or lines is not None
        self._lines = lines
        self._prices = prices
        lines_by_what: dict[Runnable, list[InputLine]] = {}
        for line in lines or ():
            lines_by_what.setdefault(line.what, []).append(line)
        keys_by_user: dict[str, list[Persona]] = {}
        for key in filter(_is_usable, target.personas.values()):
            keys_by_user.setdefault(key.user, []).append(key)
        self._without_key = AccountKeys(target, [WITHOUT_KEY], prices=prices)
        self.accounts = tuple(
            AccountKeys(
                target,
                sorted(keys, key=lambda each: -len(each.capabilities)),
                prices=prices,
                lines=None if lines is None else {what: tuple(each) for what, each in lines_by_what.items()},
            )
            for keys in keys_by_user.values()
        )

    def on(self, target: Target) -> Workload:
        """Return the workload of another profile, at the same prices."""
        return Workload(target, prices=self._prices, lines=self._lines, runs_each=self.runs_each)

    def run_requests(self, scenarios: Iterable[type[HasTasks]]) -> list[RunRequest]:
        """Return all that the tasks of these scenarios can run, by any account; some of it may repeat."""
        return [
            found
            for part in self.parts(scenarios)
            for account in part.accounts
            for found in account.run_requests(*part.needs)
        ]

    def task_resources(self, scenario: type[HasTasks]) -> tuple[TaskResources, ...]:
        """Return the tasks of a scenario that can be done; raise ``_nothing_left`` if none can."""
        able = {
            task: (needs, accounts)
            for task, needs in _needs(scenario).items()
            if (accounts := self._able(scenario, needs))
        }
        if not able:
            raise self._nothing_left(scenario)
        weights = Counter(each for each in scenario.tasks if each in able)
        return tuple(
            TaskResources(task=task, needs=needs, share=weights[task] / weights.total(), accounts=accounts)
            for task, (needs, accounts) in able.items()
        )

    def parts(self, scenarios: Iterable[type[HasTasks]]) -> list[TaskResources]:
        return [part for each in scenarios for part in self.task_resources(each)]

    def accounts_of(self, scenarios: Iterable[type[HasTasks]]) -> list[AccountKeys]:
        return list(dict.fromkeys(account for part in self.parts(scenarios) for account in part.accounts))

    def account_tasks(
        self, scenarios: Iterable[type[HasTasks]]
    ) -> list[tuple[Task, str, tuple[str, ...], tuple[str, ...]]]:
        """Return what each account does in each task: its keys, and what it runs and reads."""
        return [
            (part.task, account.user, account.keys_of(part.needs), account.resources_of(part.needs))
            for part in self.parts(scenarios)
            for account in part.accounts
        ]

    def left_out(self, scenario: type[HasTasks]) -> list[str]:
        return [
            f"{task.__name__} is left out: {self._why_not(scenario, needs)}"
            for task, needs in _needs(scenario).items()
            if not self._able(scenario, needs)
        ]

    def turns(self, part: TaskResources) -> Iterator[TaskAccount]:
        """Yield endlessly the account that does the task next, by the accounts' shares and evenly spread."""
        found = [self._turn(each, part.needs) for each in part.accounts]
        return repeat(found[0]) if len(found) == 1 else _in_turn(found, shares(part.accounts))

    def _turn(self, account: AccountKeys, needs: tuple[Need[Any], ...]) -> TaskAccount:
        persona = account.key_of(needs)
        own_header = () if persona is WITHOUT_KEY else (("x-api-key", persona.secret.reveal()),)
        keys = {
            each.id: account.key_for(each.id, first=persona)
            for each in shipped_document().operations
            if not each.is_public and each.id not in RUNS  # a run request names its own key
        }
        return TaskAccount(
            account=account,
            persona=persona,
            sender_headers=(*self.target.http.revealed_headers, *own_header),
            others={each: key for each, key in keys.items() if key is not None and key is not persona},
        )

    def _able(self, scenario: type[HasTasks], needs: tuple[Need[Any], ...]) -> tuple[AccountKeys, ...]:
        """Return the accounts that do a task: only those without a rate limit, if there are any.

        If each workflow and model is to be run, also those that run what these cannot. To cross a limit, the
        account with the lowest one.
        """
        if forbidden_actions(self.target, needs):
            return ()
        able = [each for each in self._meant(scenario) if not each.lacks(needs)]
        if scenario.crosses_limit:
            return tuple(sorted(able, key=lambda each: LIMIT_BY_TIER[each.tier])[:1])
        if not able and not self._without_key.lacks(needs):
            return (self._without_key,)
        unlimited = [each for each in able if each.tier == UNLIMITED]
        run = {request.path for each in unlimited for request in each.run_requests(*needs)}

        def runs_more(account: AccountKeys) -> bool:
            return self.runs_each and any(each.path not in run for each in account.run_requests(*needs))

        return tuple(each for each in able if not unlimited or each in unlimited or runs_more(each))

    def _meant(self, scenario: type[HasTasks]) -> list[AccountKeys]:
        """Return the accounts that a scenario is for: to cross a limit, those that have one."""
        return [each for each in self.accounts if each.tier in LIMIT_BY_TIER or not scenario.crosses_limit]

    def _why_not(self, scenario: type[HasTasks], needs: tuple[Need[Any], ...]) -> str:
        if forbidden := forbidden_actions(self.target, needs):
            actions = " and ".join(f'"{each}"' for each in forbidden)
            return f"it needs {actions} in limits.allow"
        accounts = self._meant(scenario)
        if not accounts:
            limited = f"an account of the tier {' or '.join(LIMIT_BY_TIER)}"
            return f"it needs {limited if self.accounts else _NO_ACCOUNT}"
        nearest = min(accounts, key=lambda each: len(each.lacks(needs)))
        return f"{nearest.user} ({nearest.tier}) lacks {', '.join(nearest.lacks(needs))}"

    def _nothing_left(self, scenario: type[HasTasks]) -> Exception:
        needs = _needs(scenario)
        source, reasons = self.target.source, "; ".join(self.left_out(scenario)) or "it has no tasks"
        problem = f"{source}: nothing of {scenario.__name__} can be done: {reasons}\n"
        if needs and all(forbidden_actions(self.target, each) for each in needs.values()):
            return GuardStop(f"{problem}  Add it to limits.allow in {source} if that is meant.")
        return UsageError(
            f"{problem}  Add what is missing under [keys.NAME], [workflows.SLUG] or [models.NAME]."
        )


class UserTasks:
    """The tasks of one scenario's users in one process, and which account is next with each."""

    def __init__(self, scenario: type[HasTasks], workload: Workload) -> None:
        parts = workload.task_resources(scenario)
        self.turns = {each.task: workload.turns(each) for each in parts}
        self.tasks = [each for each in scenario.tasks if each in self.turns]
        self.own_tasks = frozenset(each.task for each in parts if not isinstance(each.task, SharedTask))


def shares(accounts: Sequence[AccountKeys]) -> tuple[float, ...]:
    """Return each account's share of a task, in proportion to its rate limit.

    A tier whose limit no source tells counts as the lowest known one, a tier without a limit as the highest.
    """
    limits = {**LIMIT_BY_TIER, UNLIMITED: max(LIMIT_BY_TIER.values())}
    weights = [limits.get(each.tier, min(LIMIT_BY_TIER.values())) for each in accounts]
    return tuple(weight / sum(weights) for weight in weights)


def _in_turn(found: Sequence[TaskAccount], parts: Sequence[float]) -> Iterator[TaskAccount]:
    owed = [0.0] * len(found)
    while True:
        owed = [each + share for each, share in zip(owed, parts, strict=True)]
        next_one = max(range(len(owed)), key=owed.__getitem__)
        owed[next_one] -= 1
        yield found[next_one]


def _needs(scenario: type[HasTasks]) -> dict[Task, tuple[Need[Any], ...]]:
    own = (_key_that_holds(*scenario.needs),)
    return {
        task: task.needs if isinstance(task, SharedTask) else own for task in dict.fromkeys(scenario.tasks)
    }


def _key_that_holds(*capabilities: str) -> Need[Persona]:
    """Return the need of tasks that declare none: their requests and actions are unknown."""
    return Need(
        says=f"a key that holds {listed(capabilities)}" if capabilities else "a key",
        fitting=lambda target: (key for key in target.personas.values() if key.holds(*capabilities)),
    )


def may_take(permission: Need[bool], scenarios: Iterable[type[HasTasks]]) -> bool:
    """Whether any task needs a permission, or does not declare its needs."""
    return any(
        not isinstance(task, SharedTask) or any(permission in need.whole() for need in task.needs)
        for scenario in scenarios
        for task in scenario.tasks
    )


def _is_usable(key: Persona) -> bool:
    """Whether load can be sent with the key; not if it is an administrator's, whom no limit holds."""
    return key.state == "active" and key.role != "admin" and key.tier not in WITHOUT_KEYS
