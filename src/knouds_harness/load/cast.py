"""Who sends load, and what is run: chosen from a target's profile, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knouds_harness.contract.capabilities import meets
from knouds_harness.contract.tiers import UNLIMITED, WITHOUT_KEYS
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


def senders(target: Target, needs: Collection[str]) -> tuple[Persona, ...]:
    """The keys that load can be spread over, of people with credits, each holding all that is needed.

    Where accounts without a rate limit are among them, only those, as the others would be throttled.

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
    ]
    unlimited = [persona for persona in fitting if persona.tier == UNLIMITED]
    if not fitting:
        held = ", ".join(sorted(needs)) or "anything"
        raise UsageError(
            f"{target.source}: no active key of an account with credits holds {held}\n"
            "  Add one under [keys.NAME]: the scenario sends nothing without it."
        )
    return tuple(_one_per_account(unlimited or fitting))


def _one_per_account(personas: Sequence[Persona]) -> list[Persona]:
    """The ablest key of each: limits count users and not keys, so a second key adds nothing."""
    ablest: dict[str, Persona] = {}
    for persona in sorted(personas, key=lambda each: -len(each.capabilities)):
        ablest.setdefault(persona.user, persona)
    return list(ablest.values())


def workflow_errands(
    target: Target,
    owner: Persona,
    *,
    price: Callable[[Workflow], float | None],
    polled: bool | None = None,
) -> tuple[Errand, ...]:
    """The workflows of an account that can be run to a good end, and whose price is known.

    Args:
        target: Whose profile names them.
        owner: A key of the account.
        price: The most that one run costs; None where nobody says, and then it is left out.
        polled: Only those that can run asynchronously, or only those that cannot.
    """
    return tuple(
        Errand(
            operation="runWorkflow",
            path=f"/api/workflows/{each.slug}/run",
            inputs=each.inputs,
            cost_credits=cost,
            deadline_s=each.deadline_s,
        )
        for each in target.workflows.values()
        if each.owner == owner.user
        and not (each.fails or each.template)
        and polled in (None, each.polled)
        and (cost := price(each)) is not None
    )


def model_errands(target: Target, *, polled: bool | None = None) -> tuple[Errand, ...]:
    """The models that can be run to a good end, and whose price the profile knows."""
    return tuple(
        Errand(
            operation="runModel",
            path=f"/api/models/{each.name}/run",
            inputs=each.inputs,
            cost_credits=each.cost_credits,
            deadline_s=each.deadline_s,
        )
        for each in target.models.values()
        if _is_usable(each) and polled in (None, each.polled) and each.cost_credits is not None
    )


def _is_usable(model: Model) -> bool:
    return not (model.fails or model.disabled or model.needs_tier == UNLIMITED)
