"""Who does what in a load run: each task by the accounts that can do it, never guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, ClassVar, Final, Protocol, TypeGuard, runtime_checkable

from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import Action
from knouds_harness.contract.tiers import LIMIT_BY_TIER, UNLIMITED, WITHOUT_KEYS
from knouds_harness.errors import GuardStop, UsageError
from knouds_harness.load.workload.accounts import RUNS, AccountKeys, InputLine, Price, RunRequest, TaskNeed
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.profile import Target

Task = Callable[[Any], object]
"""A function of a user, or a TaskSet of Locust's."""

_NO_ACCOUNT: Final = (
    "an active key of an account that may hold keys (pro and above), and is no administrator's"
)


@runtime_checkable
class Scenario(Protocol):
    """What the users of a scenario offer, as attributes of their class.

    Attributes:
        tasks: Each as often as its weight says.
        needs: Capabilities that a key has to hold for tasks that do not say what they take.
        crosses_limit: Whether it is to send more than a limit admits.
    """

    tasks: list[Any]
    needs: ClassVar[Collection[str]]
    crosses_limit: ClassVar[bool]


@runtime_checkable
class SharedTask(Protocol):
    """A task that says what it takes, so that any scenario can have it."""

    need: TaskNeed

    def __call__(self, user: Any, /) -> object:  # noqa: ANN401 - of any scenario
        """Do it once."""


def scenarios_in(user_classes: Iterable[type]) -> list[type[Scenario]]:
    """The scenarios among the user classes of a Locust file."""
    return [each for each in user_classes if _is_scenario(each)]


def _is_scenario(user_class: type) -> TypeGuard[type[Scenario]]:
    return isinstance(user_class, Scenario)  # the class has the attributes, as its users have


def takes(need: TaskNeed) -> Callable[[Task], Task]:
    """Say what a task takes; without it, what its scenario's ``needs`` say."""

    def say(task: Task) -> Task:
        task.need = need  # type: ignore[attr-defined]  # as Locust's own decorators do
        return task

    return say


@dataclass(frozen=True, kw_only=True)
class TaskResources:
    """A task, and who does it.

    Attributes:
        task: One of the scenario's.
        need: What it takes.
        share: Of all tasks of the scenario.
        accounts: Those that do it, each by what its rate limit admits.
    """

    task: Task
    need: TaskNeed
    share: float
    accounts: tuple[AccountKeys, ...]


@dataclass(frozen=True, kw_only=True)
class ActingAccount:
    """An account that does a task now.

    Attributes:
        account: Whose keys are used.
        persona: The key that it acts as.
        key_headers: Of each request: this key, and those of the profile's ``[http]``.
        others: Keys for operations that this one may not use, by operationId.
    """

    account: AccountKeys
    persona: Persona
    key_headers: tuple[tuple[str, str], ...]
    others: Mapping[str, Persona]


@dataclass(frozen=True, kw_only=True)
class AccountTask:
    """What one account does with a task.

    Attributes:
        task: One of a scenario's.
        user: The account.
        keys: Names of those that are used for it.
        paths: What is run.
        slugs: Workflows that are read.
    """

    task: Task
    user: str
    keys: tuple[str, ...]
    paths: tuple[str, ...]
    slugs: tuple[str, ...]


class Workload:
    """The accounts of a profile that load can be sent with."""

    def __init__(
        self,
        target: Target,
        *,
        price: Price,
        document: Document,
        receivers: Sequence[Persona] = (),
        lines: Sequence[InputLine] | None = None,
    ) -> None:
        """Look nothing up yet.

        Args:
            target: Whose profile names keys, workflows and models.
            price: What runs cost; what has no price is not run.
            document: Says which capability an operation needs.
            receivers: Keys to prefer to others of their accounts, as their executions are delivered here.
            lines: Of ``--inputs``: nothing else is run; None to run what the profile names.
        """
        self.target = target
        self._lines = lines
        self._price = price
        self._document = document
        lines_by_name: dict[tuple[str, str], list[InputLine]] = {}
        for line in lines or ():
            lines_by_name.setdefault((line.operation, line.name), []).append(line)
        keys_by_user: dict[str, list[Persona]] = {}
        for key in filter(_is_usable, dict.fromkeys((*target.personas.values(), *receivers))):
            keys_by_user.setdefault(key.user, []).append(key)
        self.accounts = tuple(
            AccountKeys(
                target,
                sorted(keys, key=lambda each: (each not in receivers, -len(each.capabilities))),
                price=price,
                document=document,
                lines=None if lines is None else {name: tuple(each) for name, each in lines_by_name.items()},
            )
            for keys in keys_by_user.values()
        )

    def with_receivers(self, receivers: Sequence[Persona]) -> Workload:
        """The same, with keys to prefer to others of their accounts."""
        return Workload(
            self.target,
            price=self._price,
            document=self._document,
            receivers=receivers,
            lines=self._lines,
        )

    def on(self, target: Target) -> Workload:
        """The accounts of another profile, at the same prices."""
        return Workload(target, price=self._price, document=self._document, lines=self._lines)

    def run_requests(self, scenarios: Iterable[type[Scenario]]) -> list[RunRequest]:
        """All that the tasks of some scenarios can run, by any account; some of it more than once.

        Raises:
            HarnessError: One of the scenarios has nothing that can be done.
        """
        parts = [part for each in scenarios for part in self.task_resources(each)]
        return [
            found for part in parts for account in part.accounts for found in account.run_requests(part.need)
        ]

    def task_resources(self, scenario: type[Scenario]) -> tuple[TaskResources, ...]:
        """The tasks of a scenario that can be done.

        Raises:
            UsageError: None can, for want of keys or resources.
            GuardStop: None can, as the profile does not allow such actions.
        """
        able = {
            task: (need, accounts)
            for task, need in _needs(scenario).items()
            if (accounts := self._able(need, crosses_limit=scenario.crosses_limit))
        }
        if not able:
            raise self._nothing_left(scenario)
        weights = Counter(each for each in scenario.tasks if each in able)
        return tuple(
            TaskResources(task=task, need=need, share=weights[task] / weights.total(), accounts=accounts)
            for task, (need, accounts) in able.items()
        )

    def accounts_of(self, scenarios: Iterable[type[Scenario]]) -> list[AccountKeys]:
        """Those that do any task of some scenarios.

        Raises:
            HarnessError: One of the scenarios has nothing that can be done.
        """
        parts = [part for each in scenarios for part in self.task_resources(each)]
        return list(dict.fromkeys(account for part in parts for account in part.accounts))

    def account_tasks(self, scenarios: Iterable[type[Scenario]]) -> list[AccountTask]:
        """What the load of some scenarios rests on.

        Raises:
            HarnessError: One of the scenarios has nothing that can be done.
        """
        return [
            AccountTask(
                task=part.task,
                user=account.user,
                keys=account.keys_of(part.need),
                paths=tuple(each.path for each in account.run_requests(part.need)),
                slugs=tuple(account.own_slugs if part.need.has_workflow else ()),
            )
            for scenario in scenarios
            for part in self.task_resources(scenario)
            for account in part.accounts
        ]

    def left_out(self, scenario: type[Scenario]) -> list[str]:
        """The tasks that cannot be done, each with what it needs."""
        crosses_limit = scenario.crosses_limit
        return [
            f"{task.__name__} is left out: {self._why_not(need, crosses_limit=crosses_limit)}"
            for task, need in _needs(scenario).items()
            if not self._able(need, crosses_limit=crosses_limit)
        ]

    def turns(self, part: TaskResources) -> Iterator[ActingAccount]:
        """Whose turn it is with a task, for ever: by their shares, and as evenly as these can be kept."""
        found = [self._turn(each, part.need) for each in part.accounts]
        return repeat(found[0]) if len(found) == 1 else _in_turn(found, shares(part.accounts))

    def _turn(self, account: AccountKeys, need: TaskNeed) -> ActingAccount:
        persona = account.key_of(need)
        keys = {
            each.id: account.key_for(each.id, first=persona)
            for each in self._document.operations
            if not each.is_public and each.id not in RUNS  # whose key the run request names
        }
        return ActingAccount(
            account=account,
            persona=persona,
            key_headers=(*self.target.http.revealed_headers, ("x-api-key", persona.secret.reveal())),
            others={each: key for each, key in keys.items() if key is not None and key is not persona},
        )

    def _able(self, need: TaskNeed, *, crosses_limit: bool) -> tuple[AccountKeys, ...]:
        """Who does a task: where there are accounts without a rate limit, only those."""
        if self._forbidden(need):
            return ()
        able = [
            each
            for each in self.accounts
            if not each.lacks(need) and (each.tier in LIMIT_BY_TIER or not crosses_limit)
        ]
        if crosses_limit:
            return tuple(sorted(able, key=lambda each: LIMIT_BY_TIER[each.tier])[:1])
        return tuple([each for each in able if each.tier == UNLIMITED] or able)

    def _forbidden(self, need: TaskNeed) -> list[Action]:
        """Actions that a task takes and the profile does not allow."""
        operations = self._document.operation_by_id
        taken = {operations[each].action for each in (*need.operations, *need.runs)}
        return sorted(taken - self.target.limits.allow)

    def _why_not(self, need: TaskNeed, *, crosses_limit: bool) -> str:
        if forbidden := self._forbidden(need):
            actions = " and ".join(f'"{each}"' for each in forbidden)
            return f"it needs {actions} in limits.allow"
        accounts = [each for each in self.accounts if each.tier in LIMIT_BY_TIER or not crosses_limit]
        if not accounts:
            limited = f"an account of the tier {' or '.join(LIMIT_BY_TIER)}"
            return f"it needs {limited if self.accounts else _NO_ACCOUNT}"
        nearest = min(accounts, key=lambda each: len(each.lacks(need)))
        return f"{nearest.user} ({nearest.tier}) lacks {', '.join(nearest.lacks(need))}"

    def _nothing_left(self, scenario: type[Scenario]) -> Exception:
        needs = _needs(scenario)
        source, reasons = self.target.source, "; ".join(self.left_out(scenario)) or "it has no tasks"
        problem = f"{source}: nothing of {scenario.__name__} can be done: {reasons}\n"
        if needs and all(self._forbidden(need) for need in needs.values()):
            return GuardStop(f"{problem}  Add it to limits.allow in {source} if that is meant.")
        return UsageError(
            f"{problem}  Add what is missing under [keys.NAME], [workflows.SLUG] or [models.NAME]."
        )


class UserTasks:
    """What the users of one scenario do in one process, and whose turn it is.

    Attributes:
        tasks: Those that can be done, each as often as its weight says.
        own_tasks: Those among them that do not say what they take.
        turns: For each task the accounts that do it, for ever.
    """

    def __init__(self, scenario: type[Scenario], workload: Workload) -> None:
        """Begin with the first account of each task.

        Raises:
            HarnessError: Nothing can be done.
        """
        parts = workload.task_resources(scenario)
        self.turns = {each.task: workload.turns(each) for each in parts}
        self.tasks = [each for each in scenario.tasks if each in self.turns]
        self.own_tasks = frozenset(each.task for each in parts if not isinstance(each.task, SharedTask))


def shares(accounts: Sequence[AccountKeys]) -> tuple[float, ...]:
    """Which part of a task each takes: as much as its account's limit admits of what all admit.

    A tier whose limit no source tells counts as the lowest that is told.
    """
    if all(each.tier == UNLIMITED for each in accounts):
        return (1 / len(accounts),) * len(accounts)
    weights = [LIMIT_BY_TIER.get(each.tier, min(LIMIT_BY_TIER.values())) for each in accounts]
    return tuple(weight / sum(weights) for weight in weights)


def _in_turn(found: Sequence[ActingAccount], parts: Sequence[float]) -> Iterator[ActingAccount]:
    owed = [0.0] * len(found)
    while True:
        owed = [each + share for each, share in zip(owed, parts, strict=True)]
        next_one = max(range(len(owed)), key=owed.__getitem__)
        owed[next_one] -= 1
        yield found[next_one]


def _needs(scenario: type[Scenario]) -> dict[Task, TaskNeed]:
    """What each task of a scenario takes."""
    own = TaskNeed(capabilities=tuple(scenario.needs))
    return {
        task: task.need if isinstance(task, SharedTask) else own for task in dict.fromkeys(scenario.tasks)
    }


def may_run(scenario: type[Scenario]) -> bool:
    """Whether any task runs something, or does not say what it does."""
    return any(not isinstance(task, SharedTask) or task.need.runs for task in scenario.tasks)


def may_create(scenario: type[Scenario]) -> bool:
    """Whether any task creates workflows, or does not say what it does."""
    return any(
        not isinstance(task, SharedTask) or "createWorkflow" in task.need.operations
        for task in scenario.tasks
    )


def _is_usable(key: Persona) -> bool:
    """Whether load can be sent with it: not as an administrator, whom no limit holds."""
    return key.state == "active" and key.role != "admin" and key.tier not in WITHOUT_KEYS
