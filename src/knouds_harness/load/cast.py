"""Who sends load, and what is run: chosen from a target's profile, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knouds_harness.contract.capabilities import meets
from knouds_harness.contract.tiers import LIMIT_BY_TIER, UNLIMITED, WITHOUT_KEYS
from knouds_harness.errors import UsageError
from knouds_harness.target.personas import Persona
from knouds_harness.target.profile import Target
from knouds_harness.target.resources import Model, Workflow


@dataclass(frozen=True, kw_only=True)
class Errand:
    """Something that can be run.

    Attributes:
        operation: ``runWorkflow`` or ``runModel``.
        path: Without the query.
        inputs: What to run it with.
        cost_credits: The most that one run costs.
        deadline_s: How long an asynchronous run may stay in flight; None if nobody says.
    """

    operation: str
    path: str
    inputs: Mapping[str, Any]
    cost_credits: float
    deadline_s: float | None


def senders(target: Target, needs: Collection[str], *, with_limit: bool = False) -> tuple[Persona, ...]:
    """The keys that load can be spread over, of people with credits, each holding all that is needed.

    Where accounts without a rate limit are among them, only those, as the others would be throttled.

    Args:
        target: Whose profile names them.
        needs: Capabilities that each has to hold.
        with_limit: Instead, one key of the account whose limit is documented and lowest.

    Raises:
        UsageError: The profile has none.
    """
    fitting = [
        persona
        for persona in target.personas.values()
        if persona.state == "active"
        and persona.role != "admin"
        and persona.credits == "enough"
        and persona.tier not in WITHOUT_KEYS
        and all(meets(persona.capabilities, need) for need in needs)
        and (persona.tier in LIMIT_BY_TIER or not with_limit)
    ]
    if not fitting:
        held = ", ".join(sorted(needs)) or "anything"
        of_tier = f" of the tier {' or '.join(LIMIT_BY_TIER)}" if with_limit else ""
        raise UsageError(
            f"{target.source}: no active key of an account with credits{of_tier} holds {held}\n"
            "  Add one under [keys.NAME]: the scenario sends nothing without it."
        )
    if with_limit:
        return (min(_one_per_account(fitting), key=lambda each: LIMIT_BY_TIER[each.tier]),)
    unlimited = [persona for persona in fitting if persona.tier == UNLIMITED]
    return tuple(_one_per_account(unlimited or fitting))


def shares(personas: Sequence[Persona]) -> tuple[float, ...]:
    """Which part of the load each takes: as much as its account's limit admits of what all admit.

    A tier whose limit no source tells counts as the lowest that is told.
    """
    if all(persona.tier == UNLIMITED for persona in personas):
        return (1 / len(personas),) * len(personas)
    weights = [LIMIT_BY_TIER.get(persona.tier, min(LIMIT_BY_TIER.values())) for persona in personas]
    return tuple(weight / sum(weights) for weight in weights)


def turns(personas: Sequence[Persona]) -> Iterator[Persona]:
    """Whose turn it is, for ever: by their shares, and as evenly as these can be kept."""
    owed = [0.0] * len(personas)
    while True:
        owed = [each + share for each, share in zip(owed, shares(personas), strict=True)]
        next_one = max(range(len(owed)), key=owed.__getitem__)
        owed[next_one] -= 1
        yield personas[next_one]


def _one_per_account(personas: Sequence[Persona]) -> list[Persona]:
    """The ablest key of each: limits count users and not keys, so a second key adds nothing."""
    ablest: dict[str, Persona] = {}
    for persona in sorted(personas, key=lambda each: -len(each.capabilities)):
        ablest.setdefault(persona.user, persona)
    return list(ablest.values())


class Part:
    """What one of the senders can run."""

    def __init__(self, target: Target, sender: Persona, *, price: Callable[[Workflow], float | None]) -> None:
        """Look nothing up yet.

        Args:
            target: Whose profile names workflows and models.
            sender: Who runs them.
            price: The most that one run of a workflow costs; None where nobody says, and then it is left out.
        """
        self._target = target
        self._sender = sender
        self._price = price
        self._workflows: dict[bool | None, tuple[Errand, ...]] = {}
        self._models: dict[bool | None, tuple[Errand, ...]] = {}

    def workflows(self, *, polled: bool | None = None) -> tuple[Errand, ...]:
        """The workflows of its account that can be run to a good end, and whose price is known.

        Args:
            polled: Only those that can run asynchronously, or only those that cannot.
        """
        if polled not in self._workflows:
            self._workflows[polled] = tuple(
                Errand(
                    operation="runWorkflow",
                    path=f"/api/workflows/{each.slug}/run",
                    inputs=each.inputs,
                    cost_credits=cost,
                    deadline_s=each.deadline_s,
                )
                for each in runnable(self._target, self._sender)
                if polled in (None, each.polled) and (cost := self._price(each)) is not None
            )
        return self._workflows[polled]

    def models(self, *, polled: bool | None = None) -> tuple[Errand, ...]:
        """The models that can be run to a good end, and whose price the profile knows."""
        if polled not in self._models:
            self._models[polled] = tuple(
                Errand(
                    operation="runModel",
                    path=f"/api/models/{each.name}/run",
                    inputs=each.inputs,
                    cost_credits=each.cost_credits,
                    deadline_s=each.deadline_s,
                )
                for each in self._target.models.values()
                if _is_usable(each) and polled in (None, each.polled) and each.cost_credits is not None
            )
        return self._models[polled]


def runnable(target: Target, owner: Persona) -> tuple[Workflow, ...]:
    """The workflows of an account that can be run to a good end, whatever they cost."""
    return tuple(
        each
        for each in target.workflows.values()
        if each.owner == owner.user and not (each.fails or each.template)
    )


def _is_usable(model: Model) -> bool:
    return not (model.fails or model.disabled or model.needs_tier == UNLIMITED)
