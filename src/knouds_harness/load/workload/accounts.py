"""What the keys of one account can do together: which operations they may use, and what they can run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Final

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import WITHOUT_MODELS
from knouds_harness.targets.needs import KeyAndResource, Need
from knouds_harness.targets.needs.runs import RunNeed
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Persona, Workflow
from knouds_harness.targets.secrets import NO_SECRET

Runnable = tuple[str, str]
"""The operation that runs a workflow or a model, and its name."""

RUN_WORKFLOW: Final = "runWorkflow"
RUN_MODEL: Final = "runModel"
RUNS: Final = (RUN_WORKFLOW, RUN_MODEL)
_EVERY_TIER: Final = "business"
"""The ``needs_tier`` of a model that every tier with models may run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InputLine:
    """One line of ``--inputs``; without ``cost_credits``, it costs as much as its workflow or model."""

    number: int
    operation: str
    name: str
    inputs: Mapping[str, Any]
    cost_credits: float | None

    @property
    def what(self) -> Runnable:
        return self.operation, self.name


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A workflow or model that can be run, and the key that runs it.

    Attributes:
        cost_credits: The most that one run costs.
        deadline_s: How long an asynchronous run may stay in flight; None if unknown.
        likely_credits: What one run costs on average over ``lines``.
        price_credits: What a line without a price of its own costs; None if each has one.
        lines: Lines of ``--inputs`` for it; they replace ``inputs``.
    """

    operation: str
    name: str
    path: str
    inputs: Mapping[str, Any]
    cost_credits: float
    deadline_s: float | None
    persona: Persona
    likely_credits: float = 0.0
    price_credits: float | None = None
    lines: tuple[InputLine, ...] = ()

    @property
    def what(self) -> Runnable:
        return self.operation, self.name


WITHOUT_KEY: Final = Persona(name="", secret=NO_SECRET, capabilities=frozenset(), user="", tier="")
"""Sends without a key what needs none, if no account can."""


class AccountKeys:
    """The active keys of one account, in the order in which they are preferred."""

    def __init__(
        self,
        target: Target,
        keys: Sequence[Persona],
        *,
        prices: Mapping[str, float],
        lines: Mapping[Runnable, tuple[InputLine, ...]] | None = None,
    ) -> None:
        self.keys = tuple(keys)
        self.user, self.tier = keys[0].user, keys[0].tier
        self._lines = lines
        self._operations = shipped_document().operation_by_id
        own = {
            slug: replace(each, cost_credits=prices.get(slug)) if each.cost_credits is None else each
            for slug, each in target.workflows.items()
            if each.owner == self.user
        }
        self.own_slugs = list(own)
        self._profile = replace(
            target,
            personas={str(number): key for number, key in enumerate(keys) if key is not WITHOUT_KEY},
            workflows=own,
        )
        self._runnable = replace(
            self._profile,
            workflows={
                slug: replace(each, template=False, cost_credits=max(self._costs(each), default=None))
                for slug, each in own.items()
                if lines is None or self._lines_of(each)
            },
            models={
                name: replace(each, needs_tier=_EVERY_TIER, cost_credits=max(self._costs(each), default=None))
                for name, each in target.models.items()
                if each.needs_tier in {_EVERY_TIER, self.tier} and (lines is None or self._lines_of(each))
            },
        )
        self._run_requests: dict[tuple[Need[Any], ...], tuple[RunRequest, ...]] = {}
        self._keys: dict[tuple[str, Persona | None], Persona | None] = {}

    def key_for(self, operation: str, *, first: Persona | None = None) -> Persona | None:
        """Return the first key that may send an operation other than a run; None if none may."""
        asked = operation, first
        if asked not in self._keys:
            keys = self.keys if first is None else (first, *self.keys)
            admits = self._operations[operation].admits
            self._keys[asked] = next((key for key in keys if admits(key.capabilities, {})), None)
        return self._keys[asked]

    def key_of(self, needs: Iterable[Need[Any]]) -> Persona:
        """Return the key that a task sends with: the first of those that meet most of its needs."""
        able = [key for need in needs for key in self._able(need)]
        return max(self.keys, key=able.count)

    def keys_of(self, needs: Sequence[Need[Any]]) -> tuple[str, ...]:
        acting = self.key_of(needs)
        used = [each.persona for each in self.run_requests(*needs)]
        for need in needs:
            able = [] if isinstance(need, RunNeed) else self._able(need)
            used += [acting] if acting in able else able[:1]
        return tuple(dict.fromkeys(each.name for each in used or [acting] if each is not WITHOUT_KEY))

    def resources_of(self, needs: Sequence[Need[Any]]) -> tuple[str, ...]:
        """Return the names of what a task runs, and of the workflows that it reads."""
        found = (each for need in needs for each in need.fitting(self._profile))
        read = (each.slug for each in found if isinstance(each, Workflow))
        return tuple(dict.fromkeys((*(each.name for each in self.run_requests(*needs)), *read)))

    def run_requests(self, *needs: Need[Any]) -> tuple[RunRequest, ...]:
        """Return what a task with these needs can run at a known price, each with the first key that may."""
        if needs not in self._run_requests:
            self._run_requests[needs] = tuple(
                self._run_request(each)
                for need in needs
                if isinstance(need, RunNeed)
                for each in self._runs(need)
                if each.resource.cost_credits is not None
            )
        return self._run_requests[needs]

    def lacks(self, needs: Iterable[Need[Any]]) -> list[str]:
        """Describe what is missing for a task; empty if it can be done."""
        missing = [self._lacks(need) for need in needs]
        return list(dict.fromkeys(each for each in missing if each))

    def _lacks(self, need: Need[Any]) -> str | None:
        if not isinstance(need, RunNeed):
            return need.missing(self._profile)
        if self.run_requests(need):
            return None
        if unpriced := [each.resource.name for each in self._runs(need)]:
            return f"cost_credits of {' or '.join(unpriced)}: the price is unknown"
        of_file = "" if self._lines is None else " of --inputs"
        has_no_models = issubclass(Model, need.kind) and self.tier in WITHOUT_MODELS
        tier = " (models take the tier business or enterprise)" if has_no_models else ""
        return f"{need.says}{of_file}, with credits{tier}"

    def _able(self, need: Need[Any]) -> list[Persona]:
        """Return the keys that meet a need, in the account's order; repeated for each run that one may do."""
        if isinstance(need, RunNeed):
            found = [each.persona for each in self.run_requests(need)]
        else:
            found = [each for each in need.fitting(self._profile) if isinstance(each, Persona)]
        return sorted(found, key=self.keys.index)

    def _runs(self, need: RunNeed[Any]) -> list[KeyAndResource[Any]]:
        """Return what can be run, each with the first key that may, even at an unknown price."""
        first: dict[int, KeyAndResource[Any]] = {}
        for found in sorted(need.fitting(self._runnable), key=lambda each: self.keys.index(each.key)):
            first.setdefault(id(found.resource), found)
        resources = [*self._runnable.workflows.values(), *self._runnable.models.values()]
        return [first[id(each)] for each in resources if id(each) in first]

    def _run_request(self, found: KeyAndResource[Any]) -> RunRequest:
        is_workflow = isinstance(found.resource, Workflow)
        resource = (self._profile.workflows if is_workflow else self._profile.models)[found.resource.name]
        costs = self._costs(resource)
        return RunRequest(
            operation=resource.run_operation,
            name=resource.name,
            path=self._operations[resource.run_operation].url_path(resource.path_values),
            inputs=resource.inputs,
            cost_credits=max(costs),
            deadline_s=resource.deadline_s,
            persona=found.key,
            likely_credits=fmean(costs),
            price_credits=resource.cost_credits,
            lines=self._lines_of(resource),
        )

    def _lines_of(self, resource: Workflow | Model) -> tuple[InputLine, ...]:
        return (self._lines or {}).get((resource.run_operation, resource.name), ())

    def _costs(self, resource: Workflow | Model) -> list[float]:
        """Return the cost of each of its lines, or of a run without lines; empty if a price is unknown."""
        price, lines = resource.cost_credits, self._lines_of(resource)
        costs = [price if each.cost_credits is None else each.cost_credits for each in lines] or [price]
        told = [each for each in costs if each is not None]
        return told if len(told) == len(costs) else []
