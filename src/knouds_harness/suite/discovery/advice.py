"""Advice on what to add to a profile, and how many more facts a check would verify then."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from knouds_harness.contract.operations import Action
from knouds_harness.suite.discovery.provable_facts import proofs_by_fact, provable_facts
from knouds_harness.targets.needs.keys import usable_keys
from knouds_harness.targets.personas import Persona, Secret
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Webhook, Workflow

_MOST_STEPS: Final = 5
_PRO_CAPABILITIES: Final = frozenset(
    {
        "workflow:run",
        "workflow:read",
        "workflow:write",
        "execution:read",
        "execution:cancel",
        "webhook:receive",
    }
)
_WORKFLOWS: Final[Mapping[str, Mapping[str, Any]]] = {
    "a workflow of {user}": {},
    "polled = true to a workflow of {user} that can run asynchronously, or such a workflow": {"polled": True},
    "a workflow of {user} with fails = true, whose provider always fails": {"fails": True, "polled": True},
    "a workflow of {user} with public = true": {"public": True},
    "a workflow of {user} with in_folder = true": {"in_folder": True},
    "a workflow of {user} with has_generator = false": {"has_generator": False},
    "a workflow of {user} with has_request_input = false": {"has_request_input": False},
    "a workflow of {user} with image_count_input": {"image_count_input": "count"},
}
_MODELS: Final[Mapping[str, Mapping[str, Any]]] = {
    "a model with polled = true and cost_credits": {"polled": True},
    "a model with cost_credits that is not polled": {},
    "a model with disabled = true and cost_credits": {"disabled": True},
    'a model with needs_tier = "enterprise" and cost_credits': {"needs_tier": "enterprise"},
    "a model with fails = true, polled = true and cost_credits": {"fails": True, "polled": True},
}


@dataclass(frozen=True, kw_only=True)
class NextStep:
    """One thing to add to a profile, and the facts that it would make provable."""

    says: str
    facts: frozenset[str]


def next_steps(target: Target) -> tuple[NextStep, ...]:
    """Return what to add to a profile so that a check verifies more, the most useful first."""
    unknown = proofs_by_fact().keys() - provable_facts(target)
    steps: dict[frozenset[str], NextStep] = {}
    for says, extended in _extensions(target):
        gained = provable_facts(extended, among=unknown)
        if gained:
            steps.setdefault(gained, NextStep(says=says, facts=gained))  # the least demanding comes first
    return tuple(sorted(steps.values(), key=lambda step: -len(step.facts)))


def advice(target: Target) -> list[str]:
    """Return the first next steps as lines, such as ``add a webhook: +9 facts``, and how many more exist."""
    steps = next_steps(target)
    lines = [
        f"add {step.says}: +{len(step.facts)} {'fact' if len(step.facts) == 1 else 'facts'}"
        for step in steps[:_MOST_STEPS]
    ]
    return [*lines, f"… and {len(steps) - _MOST_STEPS} more"] if len(steps) > _MOST_STEPS else lines


def advice_lines(steps: Sequence[str]) -> list[str]:
    return ["To verify more:", *(f"  {each}" for each in steps)] if steps else []


def _extensions(target: Target) -> Iterator[tuple[str, Target]]:
    yield from _permissions(target)
    keys = usable_keys(target)
    if not keys:
        yield "a key that works", _with_keys(target, _key("added", "you", _PRO_CAPABILITIES, "pro"))
        return
    usual = keys[0]
    yield from _keys_of_account(target, usual)
    yield from _other_accounts(target)
    for says, members in _WORKFLOWS.items():
        workflow = Workflow(slug="added", owner=usual.user, cost_credits=1, deadline_s=60, **members)
        yield says.format(user=usual.user), _with_workflow(target, workflow)
    for says, members in _MODELS.items():
        model = Model(name="added", cost_credits=1, deadline_s=60, **members)
        yield says, replace(target, models={**target.models, model.name: model})
    yield from _webhook(target, usual)


def _permissions(target: Target) -> Iterator[tuple[str, Target]]:
    left = [
        action for action in (Action.WRITE, Action.RUN, Action.CANCEL) if action not in target.limits.allow
    ]
    for number in range(1, len(left) + 1):
        allowed = left[:number]
        words = ", ".join(f'"{each}"' for each in allowed)
        yield (
            f"{words} to limits.allow{' and credits to limits.credits' if Action.RUN in allowed else ''}",
            replace(target, limits=replace(target.limits, allow=target.limits.allow | set(allowed))),
        )


def _keys_of_account(target: Target, usual: Persona) -> Iterator[tuple[str, Target]]:
    user, tier = usual.user, usual.tier

    def another(says: str, *capabilities: str, **members: Any) -> tuple[str, Target]:  # noqa: ANN401
        return f"a key of {user} {says}", _with_keys(
            target, _key("added", user, capabilities, tier, **members)
        )

    yield another("that holds all that its tier grants", *_PRO_CAPABILITIES)
    yield another("that holds no capability")
    yield another("that holds execution:read alone", "execution:read")
    yield another("that holds execution:* alone", "execution:*")
    yield another("that holds workflow:run, besides another one", "workflow:run")
    yield another("that was revoked", *_PRO_CAPABILITIES, state="revoked")
    yield another("that was made before May 2026", *_PRO_CAPABILITIES, state="legacy")
    own = next((each for each in target.workflows.values() if each.owner == user), None)
    if own is not None:
        bound = f"workflow:{own.slug}:run"
        yield another(f"that holds {bound} alone", bound)


def _other_accounts(target: Target) -> Iterator[tuple[str, Target]]:
    def account(
        says: str,
        *more: str,
        tier: str = "pro",
        has_workflow: bool = False,
        **members: Any,  # noqa: ANN401
    ) -> tuple[str, Target]:
        key = _key("added", "another account", {*_PRO_CAPABILITIES, *more}, tier, **members)
        extended = _with_keys(target, key)
        if has_workflow:
            workflow = Workflow(slug="added-to-another", owner=key.user, cost_credits=1)
            extended = _with_workflow(extended, workflow)
        return says, extended

    yield account("a key of a second account, and a private workflow of it", has_workflow=True)
    yield account("a key of a business account that holds model:run", "model:run", tier="business")
    yield account("an administrator's key that holds *", "*", role="admin")
    yield account(
        "a key of an account without credits, and a workflow of it", has_workflow=True, credits="none"
    )
    yield account(
        "a key of an account whose trial grant is used up, and a workflow of it",
        has_workflow=True,
        credits="exhausted",
    )
    yield account(
        "a key of an account with a trial grant, and a workflow of it", has_workflow=True, credits="granted"
    )
    yield account("a key of an account not yet approved", state="unapproved")


def _webhook(target: Target, usual: Persona) -> Iterator[tuple[str, Target]]:
    webhook = target.webhook or Webhook(url="http://127.0.0.1:1/", secret=Secret("", "webhook"))
    receiving = _key(
        "receiving", usual.user, usual.capabilities | {"webhook:receive"}, usual.tier, webhook=True
    )
    deaf = _key(
        "not-receiving", usual.user, usual.capabilities - {"webhook:receive"}, usual.tier, webhook=True
    )
    yield (
        "[webhook] and webhook = true to two keys that may run, of which one holds webhook:receive",
        _with_keys(replace(target, webhook=webhook), receiving, deaf),
    )


def _key(name: str, user: str, capabilities: Any, tier: str, **members: Any) -> Persona:  # noqa: ANN401
    return Persona(
        name=name,
        secret=Secret("", f"key:{name}"),
        user=user,
        tier=tier,
        capabilities=frozenset(capabilities),
        **members,
    )


def _with_keys(target: Target, *keys: Persona) -> Target:
    return replace(target, personas={**target.personas, **{key.name: key for key in keys}})


def _with_workflow(target: Target, workflow: Workflow) -> Target:
    return replace(target, workflows={**target.workflows, workflow.slug: workflow})
