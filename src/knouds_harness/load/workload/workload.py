"""Who does what in a load run: each task by the accounts that can do it, never guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

from knouds_harness.contract.capabilities import LIMIT_BY_TIER, UNLIMITED, WITHOUT_KEYS
from knouds_harness.contract.document import Document
from knouds_harness.errors import GuardStop, UsageError
from knouds_harness.load.workload.accounts import RUNS, AccountKeys, InputLine, Price, RunRequest
from knouds_harness.targets.needs.keys import listed
from knouds_harness.targets.needs.need import MAY_RUN, Need, forbidden_actions
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.profile import Target

Task = Callable[[Any], object]
"""A function of a user, or a TaskSet of Locust's."""

_NO_ACCOUNT: Final = "an active key of an account that may hold keys (pro and above), not an administrator's"


@runtime_checkable
class HasTasks(Protocol):
    """What the users of a scenario offer, as attributes of their class.

    Attributes:
        needs: Capabilities that a key has to hold for tasks that do not say what they take.
        crosses_limit: Whether it is to send more than a limit admits.
    """

    tasks: list[Any]
    needs: ClassVar[Collection[str]]
    crosses_limit: ClassVar[bool]


@runtime_checkable
class SharedTask(Protocol):
    """A task that says what it takes, so that any scenario can have it."""

    needs: tuple[Need[Any], ...]

    def __call__(self, user: Any, /) -> object:  # noqa: ANN401 - of any scenario
        """Do it once."""


def scenarios_in(user_classes: Iterable[Any]) -> list[type[HasTasks]]:
    return [each for each in user_classes if isinstance(each, HasTasks)]  # type: ignore[misc] # as users are


def takes(*needs: Need[Any]) -> Callable[[Task], Task]:
    """Say what a task needs of one account, any key of which may meet a need; else its scenario says."""

    def say(task: Task) -> Task:
        task.needs = needs  # type: ignore[attr-defined]  # as Locust's own decorators do
        return task

    return say


@dataclass(frozen=True, kw_only=True)
class TaskResources:
    """A task of a scenario, its share of all of them, and the accounts that do it."""

    task: Task
    needs: tuple[Need[Any], ...]
    share: float
    accounts: tuple[AccountKeys, ...]


@dataclass(frozen=True, kw_only=True)
class ActingAccount:
    """An account that does a task now: by this key, and by ``others`` for what that may not do."""

    account: AccountKeys
    persona: Persona
    sender_headers: tuple[tuple[str, str], ...]
    others: Mapping[str, Persona]


@dataclass(frozen=True, kw_only=True)
class AccountTask:
    """What one account does with a task: with which keys, what is run, which workflows are read."""

    task: Task
    user: str
    keys: tuple[str, ...]
    paths: tuple[str, ...]
    slugs: tuple[str, ...]


class Workload:
    """The accounts of a profile that load can be sent with; keys of ``receivers`` are preferred."""

    def __init__(
        self,
        target: Target,
        *,
        price: Price,
        document: Document,
        receivers: Sequence[Persona] = (),
        lines: Sequence[InputLine] | None = None,
        runs_each: bool = False,
    ) -> None:
        """With lines or ``runs_each``, whatever can be run is, by whichever account."""
        self.target = target
        self.runs_each = runs_each or lines is not None
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

    def on(self, target: Target, *, receivers: Sequence[Persona] = ()) -> Workload:
        """The accounts of another profile, or with other receivers, at the same prices."""
        return Workload(
            target,
            price=self._price,
            document=self._document,
            receivers=receivers,
            lines=self._lines,
            runs_each=self.runs_each,
        )

    def run_requests(self, scenarios: Iterable[type[HasTasks]]) -> list[RunRequest]:
        """All that the tasks of some scenarios can run, by any account; some of it more than once."""
        parts = [part for each in scenarios for part in self.task_resources(each)]
        return [
            found
            for part in parts
            for account in part.accounts
            for found in account.run_requests(*part.needs)
        ]

    def task_resources(self, scenario: type[HasTasks]) -> tuple[TaskResources, ...]:
        """The tasks of a scenario that can be done.

        Raises:
            UsageError: No task can: keys or resources are missing.
            GuardStop: None can, as the profile does not allow such actions.
        """
        able = {
            task: (needs, accounts)
            for task, needs in _needs(scenario).items()
            if (accounts := self._able(needs, crosses_limit=scenario.crosses_limit))
        }
        if not able:
            raise self._nothing_left(scenario)
        weights = Counter(each for each in scenario.tasks if each in able)
        return tuple(
            TaskResources(task=task, needs=needs, share=weights[task] / weights.total(), accounts=accounts)
            for task, (needs, accounts) in able.items()
        )

    def accounts_of(self, scenarios: Iterable[type[HasTasks]]) -> list[AccountKeys]:
        parts = [part for each in scenarios for part in self.task_resources(each)]
        return list(dict.fromkeys(account for part in parts for account in part.accounts))

    def account_tasks(self, scenarios: Iterable[type[HasTasks]]) -> list[AccountTask]:
        return [
            AccountTask(
                task=part.task,
                user=account.user,
                keys=account.keys_of(part.needs),
                paths=tuple(each.path for each in account.run_requests(*part.needs)),
                slugs=account.slugs_of(part.needs),
            )
            for scenario in scenarios
            for part in self.task_resources(scenario)
            for account in part.accounts
        ]

    def left_out(self, scenario: type[HasTasks]) -> list[str]:
        """The tasks that cannot be done, each with what it needs."""
        crosses_limit = scenario.crosses_limit
        return [
            f"{task.__name__} is left out: {self._why_not(needs, crosses_limit=crosses_limit)}"
            for task, needs in _needs(scenario).items()
            if not self._able(needs, crosses_limit=crosses_limit)
        ]

    def turns(self, part: TaskResources) -> Iterator[ActingAccount]:
        """Whose turn it is with a task, for ever: by their shares, and as evenly as these can be kept."""
        found = [self._turn(each, part.needs) for each in part.accounts]
        return repeat(found[0]) if len(found) == 1 else _in_turn(found, shares(part.accounts))

    def _turn(self, account: AccountKeys, needs: tuple[Need[Any], ...]) -> ActingAccount:
        persona = account.key_of(needs)
        keys = {
            each.id: account.key_for(each.id, first=persona)
            for each in self._document.operations
            if not each.is_public and each.id not in RUNS  # whose key the run request names
        }
        return ActingAccount(
            account=account,
            persona=persona,
            sender_headers=(*self.target.http.revealed_headers, ("x-api-key", persona.secret.reveal())),
            others={each: key for each, key in keys.items() if key is not None and key is not persona},
        )

    def _able(self, needs: tuple[Need[Any], ...], *, crosses_limit: bool) -> tuple[AccountKeys, ...]:
        """Who does a task: where there are accounts without a rate limit, only those.

        Where each workflow and model is to be run, so do those that run what these cannot.
        """
        if forbidden_actions(self.target, needs):
            return ()
        able = [
            each
            for each in self.accounts
            if not each.lacks(needs) and (each.tier in LIMIT_BY_TIER or not crosses_limit)
        ]
        if crosses_limit:
            return tuple(sorted(able, key=lambda each: LIMIT_BY_TIER[each.tier])[:1])
        unlimited = [each for each in able if each.tier == UNLIMITED]
        run = {request.path for each in unlimited for request in each.run_requests(*needs)}
        return tuple(
            each
            for each in able
            if each in unlimited
            or not unlimited
            or (self.runs_each and any(request.path not in run for request in each.run_requests(*needs)))
        )

    def _why_not(self, needs: tuple[Need[Any], ...], *, crosses_limit: bool) -> str:
        if forbidden := forbidden_actions(self.target, needs):
            actions = " and ".join(f'"{each}"' for each in forbidden)
            return f"it needs {actions} in limits.allow"
        accounts = [each for each in self.accounts if each.tier in LIMIT_BY_TIER or not crosses_limit]
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
    """What the users of one scenario do in one process, and whose turn it is."""

    def __init__(self, scenario: type[HasTasks], workload: Workload) -> None:
        parts = workload.task_resources(scenario)
        self.turns = {each.task: workload.turns(each) for each in parts}
        self.tasks = [each for each in scenario.tasks if each in self.turns]
        self.own_tasks = frozenset(each.task for each in parts if not isinstance(each.task, SharedTask))


def shares(accounts: Sequence[AccountKeys]) -> tuple[float, ...]:
    """Which part of a task each takes: as much as its account's limit admits of what all admit.

    A tier whose limit no source tells counts as the lowest that is told, one without a limit as the highest.
    """
    limits = {**LIMIT_BY_TIER, UNLIMITED: max(LIMIT_BY_TIER.values())}
    weights = [limits.get(each.tier, min(LIMIT_BY_TIER.values())) for each in accounts]
    return tuple(weight / sum(weights) for weight in weights)


def _in_turn(found: Sequence[ActingAccount], parts: Sequence[float]) -> Iterator[ActingAccount]:
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
    """What a scenario says of tasks whose requests are not known, nor which actions these are."""
    return Need(
        says=f"a key that holds {listed(capabilities)}" if capabilities else "a key",
        fitting=lambda target: (key for key in target.personas.values() if key.holds(*capabilities)),
    )


def has_runs(scenario: type[HasTasks]) -> bool:
    return may_take(scenario, MAY_RUN)


def may_take(scenario: type[HasTasks], permission: Need[bool]) -> bool:
    """Whether any task needs a permission, or does not say what it does."""
    return any(
        not isinstance(task, SharedTask) or any(permission in need.whole() for need in task.needs)
        for task in scenario.tasks
    )


def _is_usable(key: Persona) -> bool:
    """Whether load can be sent with it: not as an administrator, whom no limit holds."""
    return key.state == "active" and key.role != "admin" and key.tier not in WITHOUT_KEYS
