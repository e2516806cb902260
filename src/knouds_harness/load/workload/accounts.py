"""What the keys of one account can do together: the operations that they may use, and what they can run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from knouds_harness.contract.document import Document
from knouds_harness.contract.tiers import WITHOUT_MODELS
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Workflow

Price = Callable[[Workflow | Model], float | None]
"""The most that one run costs, in credits; None where nobody says."""

RUN_WORKFLOW: Final = "runWorkflow"
RUN_MODEL: Final = "runModel"
RUNS: Final = (RUN_WORKFLOW, RUN_MODEL)
_ALL: Final = 10**6
_KINDS: Final = {RUN_WORKFLOW: "workflow", RUN_MODEL: "model"}


@dataclass(frozen=True, kw_only=True, slots=True)
class InputLine:
    """One line of ``--inputs``: a run, and what it is run with.

    Attributes:
        number: In the file, from 1.
        operation: ``runWorkflow`` or ``runModel``.
        name: The workflow's slug, or the model's name.
        inputs: Values by field name.
        cost_credits: The most that it costs; None if as much as any run of it.
    """

    number: int
    operation: str
    name: str
    inputs: Mapping[str, Any]
    cost_credits: float | None


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Something that can be run.

    Attributes:
        operation: ``runWorkflow`` or ``runModel``.
        path: Without the query.
        inputs: What to run it with.
        cost_credits: The most that one run costs.
        deadline_s: How long an asynchronous run may stay in flight; None if nobody says.
        persona: Whose key runs it.
        likely_credits: What one run costs on average, as far as lines of ``--inputs`` differ.
        price_credits: What a line without a price of its own costs; None where each has one.
        lines: Of ``--inputs`` that say what to run it with, in place of ``inputs``.
    """

    operation: str
    path: str
    inputs: Mapping[str, Any]
    cost_credits: float
    deadline_s: float | None
    persona: Persona
    likely_credits: float = 0.0
    price_credits: float | None = None
    lines: tuple[InputLine, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)  # looked up with each task, so told apart by identity
class TaskNeed:
    """What a task takes of one account; several keys of the account may share it.

    Attributes:
        operations: What it sends besides runs, by operationId.
        has_workflow: Whether it reads a workflow that the account owns.
        runs: Which of ``runWorkflow`` and ``runModel`` will do; it runs what there is, with even chances.
        is_polled: Whether it runs only what can run asynchronously.
        is_cheapest: Whether it runs one thing alone: the cheapest of the first kind that there is.
        capabilities: What one key has to hold by itself.
    """

    operations: tuple[str, ...] = ()
    has_workflow: bool = False
    runs: tuple[str, ...] = ()
    is_polled: bool = False
    is_cheapest: bool = False
    capabilities: tuple[str, ...] = ()


class AccountKeys:
    """The active keys of one account.

    Attributes:
        keys: The ablest first.
        user: The account's name in the profile.
        tier: Its tier id.
        own_slugs: The workflows that it owns.
    """

    def __init__(
        self,
        target: Target,
        keys: Sequence[Persona],
        *,
        price: Price,
        document: Document,
        lines: Mapping[tuple[str, str], tuple[InputLine, ...]] | None = None,
    ) -> None:
        """Look nothing up yet.

        Args:
            target: Whose profile names workflows and models.
            keys: Of the account, in the order in which they are to be preferred; one at least.
            price: What runs cost; what has no price is not run.
            document: Says which capability an operation needs.
            lines: Of ``--inputs``, by operation and name: nothing else is run; None to run what there is.
        """
        self.keys = tuple(keys)
        self.user, self.tier = keys[0].user, keys[0].tier
        self.own_slugs = [each.slug for each in target.workflows.values() if each.owner == self.user]
        self._target = target
        self._price = price
        self._lines = lines
        self._operations = document.operation_by_id
        self._run_requests: dict[TaskNeed, tuple[RunRequest, ...]] = {}
        self._keys: dict[tuple[str, Persona | None], Persona | None] = {}

    def key_for(self, operation: str, *, first: Persona | None = None) -> Persona | None:
        """The key that sends an operation which is no run: the first that may; None where none may."""
        asked = operation, first
        if asked not in self._keys:
            keys = self.keys if first is None else (first, *self.keys)
            admits = self._operations[operation].admits
            self._keys[asked] = next((key for key in keys if admits(key.capabilities, {})), None)
        return self._keys[asked]

    def key_of(self, need: TaskNeed) -> Persona:
        """The key that a task acts as: the first that may do the most of it."""
        run_requests = self.run_requests(need)

        def able(key: Persona) -> int:
            may_send = (self._operations[each].admits(key.capabilities, {}) for each in need.operations)
            runs = sum(each.persona is key for each in run_requests)
            return _ALL * key.holds(*need.capabilities) + sum(may_send) + runs

        return max(self.keys, key=able)

    def keys_of(self, need: TaskNeed) -> tuple[str, ...]:
        """Names of the keys that a task is done with."""
        acting = self.key_of(need)
        senders = (self.key_for(each, first=acting) for each in need.operations)
        used = [*(each.persona for each in self.run_requests(need)), *filter(None, senders)] or [acting]
        return tuple(dict.fromkeys(each.name for each in used))

    def run_requests(self, need: TaskNeed) -> tuple[RunRequest, ...]:
        """What a task can run, at a known price."""
        if need not in self._run_requests:
            found = [
                RunRequest(
                    operation=kind,
                    path=self._operations[kind].url_path(each.path_values),
                    inputs=each.inputs,
                    cost_credits=max(costs),
                    deadline_s=each.deadline_s,
                    persona=key,
                    likely_credits=fmean(costs),
                    price_credits=self._price(each),
                    lines=self._lines_of(kind, each),
                )
                for kind in need.runs
                for each in self._runnable(kind, need)
                if (key := self._runner(kind, each)) and (costs := self._costs(kind, each))
            ]
            if need.is_cheapest:
                found = [each for each in found if each.operation == found[0].operation]
                found = sorted(found, key=lambda each: each.cost_credits)[:1]
            self._run_requests[need] = tuple(found)
        return self._run_requests[need]

    def runs_with(self, key: Persona) -> bool:
        """Whether a key of the account may run any workflow or model."""
        return any(_runs_some(key, noun) for noun in _KINDS.values())

    def lacks(self, need: TaskNeed) -> list[str]:
        """What is missing for a task, in words; empty where it can be done."""
        missing = [
            f"a key with {' or '.join(self._operations[each].alternatives)}"
            for each in need.operations
            if self.key_for(each) is None
        ]
        if need.capabilities and not any(key.holds(*need.capabilities) for key in self.keys):
            missing.append(f"a key that holds {', '.join(need.capabilities)}")
        if need.has_workflow and not self.own_slugs:
            missing.append("a workflow")
        if need.runs and not self.run_requests(need):
            kinds = [kind for kind in need.runs if self._may_have(kind)] or need.runs
            missing.append(", or ".join(" and ".join(self._lacks_of_run(each, need)) for each in kinds))
        return list(dict.fromkeys(missing))

    def _lacks_of_run(self, kind: str, need: TaskNeed) -> Iterator[str]:
        """Why nothing of a kind can be run."""
        noun = _KINDS[kind]
        runnable = list(self._runnable(kind, need))
        runners = [each for each in runnable if self._runner(kind, each)]
        if not self._may_have(kind):
            yield "the tier business or enterprise"
        elif not runnable:
            which = "with polled = true" if need.is_polled else "that runs"
            yield f"a {noun} {which}{'' if self._lines is None else ' in --inputs'}"
        if runners:
            names = " or ".join(each.name for each in runners)
            yield f"cost_credits of the {noun} {names}, as nobody says its price"
        elif not any(_runs_some(key, noun) for key in self.keys):
            yield f"a key with {noun}:run"
        elif not any(key.credits == "enough" for key in self.keys):
            yield "credits"
        elif runnable:
            yield f"a key with {noun}:run or {noun}:{runnable[0].name}:run"

    def _lines_of(self, kind: str, resource: Workflow | Model) -> tuple[InputLine, ...]:
        return self._lines.get((kind, resource.name), ()) if self._lines else ()

    def _costs(self, kind: str, resource: Workflow | Model) -> list[float]:
        """What each of its lines costs, or a run where there are none; empty where nobody says."""
        price = self._price(resource)
        lines = self._lines_of(kind, resource)
        costs = [price if each.cost_credits is None else each.cost_credits for each in lines] or [price]
        told = [each for each in costs if each is not None]
        return told if len(told) == len(costs) else []

    def _may_have(self, kind: str) -> bool:
        return kind != RUN_MODEL or self.tier not in WITHOUT_MODELS

    def _runnable(self, kind: str, need: TaskNeed) -> Iterator[Workflow | Model]:
        """What can be run to a good end, and is asked for, whoever may and whatever it costs."""
        for each in self._at_hand(kind, need):
            if self._lines is None or self._lines_of(kind, each):
                yield each

    def _at_hand(self, kind: str, need: TaskNeed) -> Iterator[Workflow | Model]:
        if kind == RUN_WORKFLOW:
            workflows = (each for each in self._target.workflows.values() if each.owner == self.user)
            yield from (each for each in workflows if not each.fails and (each.polled or not need.is_polled))
        elif self._may_have(kind):
            for each in self._target.models.values():
                is_reached = each.needs_tier in {"business", self.tier}
                if is_reached and not (each.fails or each.disabled) and (each.polled or not need.is_polled):
                    yield each

    def _runner(self, kind: str, resource: Workflow | Model) -> Persona | None:
        operation, values = self._operations[kind], resource.path_values
        paying = (key for key in self.keys if key.credits == "enough")
        return next((key for key in paying if operation.admits(key.capabilities, values)), None)


def _runs_some(key: Persona, noun: str) -> bool:
    """Whether it may run any workflow or model, or one of them that the profile need not know."""
    bound = (each for each in key.capabilities if each.startswith(f"{noun}:") and each.endswith(":run"))
    return key.holds(f"{noun}:run") or any(bound)
