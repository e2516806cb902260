"""The least profile that shows a fact: one that offers everything, without all that can go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from knouds_harness.conformance.needs.reach import Proof, proofs_by_fact
from knouds_harness.contract.operations import Action
from knouds_harness.contract.tiers import UNLIMITED
from knouds_harness.targets.builtin import SANDBOX
from knouds_harness.targets.personas import Persona, Secret
from knouds_harness.targets.profile import Target, load_target
from knouds_harness.targets.resources import Model, Webhook, Workflow

Cut = Callable[[Target], Target]
"""Leaves one thing of a profile out, or makes it an ordinary one."""

ORDINARY_KEY: Final[Mapping[str, Any]] = {"tier": "pro", "credits": "enough", "webhook": False}
"""What a key is that nothing is asked of."""
ORDINARY_WORKFLOW: Final[Mapping[str, Any]] = {
    "cost_credits": None,
    "deadline_s": None,
    "fails": False,
    "has_generator": True,
    "has_request_input": True,
    "image_count_input": None,
    "in_folder": False,
    "polled": False,
    "public": False,
    "template": False,
}
ORDINARY_MODEL: Final[Mapping[str, Any]] = {
    "cost_credits": None,
    "deadline_s": None,
    "disabled": False,
    "fails": False,
    "image_count_input": None,
    "needs_tier": "business",
    "polled": False,
}
_WEIGHT_OF_TIER: Final = {"pro": 0, "business": 3, "enterprise": 6}


@dataclass(frozen=True, kw_only=True)
class LeastProfile:
    """The least that shows a fact.

    Attributes:
        target: The profile.
        proof: What the tests that show the fact with it need.
    """

    target: Target
    proof: Proof

    def is_exact(self, key: Persona) -> bool:
        """Whether a key has to hold just that: with more capabilities it would not do."""
        wider = key.capabilities | {"workflow:read", "workflow:write", "workflow:run", "execution:read"}
        return not _is_met(_with_key(self.target, key.name, capabilities=wider), self.proof)

    def is_of_tier(self, key: Persona) -> bool:
        """Whether the account's tier matters: with one that may do more it would not do."""
        return not _is_met(_with_key(self.target, key.name, tier=UNLIMITED), self.proof)

    def deciding(self, thing: Workflow | Model) -> dict[str, Any]:
        """What is not ordinary about a workflow or model, and what is and has to be."""
        is_workflow = isinstance(thing, Workflow)
        ordinary = ORDINARY_WORKFLOW if is_workflow else ORDINARY_MODEL
        changed = _workflow_as_ordinary if is_workflow else _model_as_ordinary
        needed = {
            detail: False
            for detail in ("polled", "public")
            if ordinary.get(detail) is getattr(thing, detail, None) is False
            and not _is_met(changed(thing.name, detail, ordinary=True)(self.target), self.proof)
        }
        return particular(thing, ordinary) | needed


def least_profiles(everything: Target) -> dict[str, LeastProfile]:
    """The least of a profile that still shows a fact, for each fact that the whole of it shows.

    Args:
        everything: A profile that offers what any test needs.
    """
    cut_down = cache(lambda proof: _cut_down(everything, proof))
    found: dict[str, LeastProfile] = {}
    for fact, proofs in proofs_by_fact().items():
        least = [
            LeastProfile(target=target, proof=proof)
            for proof in proofs
            if (target := cut_down(proof)) is not None
        ]
        if least:
            found[fact] = min(least, key=lambda each: _weight(each.target))
    return found


def one_thing_less(target: Target) -> Iterator[tuple[str, Target]]:
    """A profile without one thing that it offers, for each of them; with the word for it."""
    for action in sorted(target.limits.allow - {Action.READ}):
        yield f'"{action}"', _without_action(action)(target)
    for name, key in target.personas.items():
        yield "key", _without_key(name)(target)
        for capability in sorted(key.capabilities):
            yield capability, _without_capability(name, capability)(target)
    for slug in target.workflows:
        yield "workflow", _without_workflow(slug)(target)
    for name in target.models:
        yield "model", _without_model(name)(target)


def _cut_down(target: Target, proof: Proof) -> Target | None:
    if not _is_met(target, proof):
        return None
    for cuts in (_planes, _actions, _accounts, _keys, _resources, _capabilities, _details):
        for cut in cuts(target):
            smaller = cut(target)
            if _is_met(smaller, proof):
                target = smaller
    return target


def _is_met(target: Target, proof: Proof) -> bool:
    return all(need.missing(target) is None for need in proof)


def _weight(target: Target) -> float:
    """How much a profile asks of who writes it; a control plane only the sandbox has."""
    keys = target.personas.values()
    return (
        1000 * (target.control is not None)
        + 100 * (target.webhook is not None)
        + 50 * sum(key.role == "admin" or key.state != "active" or key.credits != "enough" for key in keys)
        + 10 * len({key.user for key in keys})
        + 5 * len(keys)
        + 3 * (len(target.workflows) + len(target.models) + len(target.limits.allow))
        + sum(_WEIGHT_OF_TIER.get(key.tier, 9) + len(key.capabilities) for key in keys)
        + 0.1 * sum(len(particular(each, ORDINARY_WORKFLOW)) for each in target.workflows.values())
        + 0.1 * sum(len(particular(each, ORDINARY_MODEL)) for each in target.models.values())
    )


def particular(thing: Persona | Workflow | Model, ordinary: Mapping[str, Any]) -> dict[str, Any]:
    """What is not ordinary about a key, workflow or model."""
    return {name: value for name, usual in ordinary.items() if (value := getattr(thing, name)) != usual}


# --- What can go, in this order.


def _planes(_: Target) -> Iterator[Cut]:
    yield lambda target: replace(target, control=None)
    yield lambda target: replace(target, webhook=None)


def _actions(target: Target) -> Iterator[Cut]:
    return (_without_action(action) for action in sorted(target.limits.allow - {Action.READ}))


def _without_action(action: Action) -> Cut:
    return lambda target: replace(target, limits=replace(target.limits, allow=target.limits.allow - {action}))


def _accounts(target: Target) -> Iterator[Cut]:
    """The one that offers the most goes first, and those of people on the least tier last."""

    def order(user: str) -> tuple[bool, int, int]:
        keys = [key for key in target.personas.values() if key.user == user]
        return (
            any(key.role == "admin" for key in keys),
            max((_WEIGHT_OF_TIER.get(key.tier, 9) for key in keys), default=9),
            len(keys),
        )

    users = {key.user for key in target.personas.values()} | {w.owner for w in target.workflows.values()}
    for user in sorted(sorted(users), key=order, reverse=True):
        yield lambda target, user=user: replace(  # type: ignore[misc]  # a lambda's default has no type
            target,
            personas={name: key for name, key in target.personas.items() if key.user != user},
            workflows={slug: each for slug, each in target.workflows.items() if each.owner != user},
        )


def _keys(target: Target) -> Iterator[Cut]:
    """Those that may do the least go last."""
    by_power = sorted(target.personas.values(), key=_power, reverse=True)
    return (_without_key(key.name) for key in by_power)


def _power(key: Persona) -> tuple[int, bool]:
    return len(key.capabilities), any(each.startswith("model:") for each in key.capabilities)


def _without_key(name: str) -> Cut:
    return lambda target: replace(
        target, personas={each: key for each, key in target.personas.items() if each != name}
    )


def _resources(target: Target) -> Iterator[Cut]:
    yield lambda target: replace(target, models={})
    yield lambda target: replace(target, workflows={})
    models, workflows = target.models, target.workflows
    yield from (_without_model(name) for name in _most_particular_first(models, ORDINARY_MODEL))
    yield from (_without_workflow(slug) for slug in _most_particular_first(workflows, ORDINARY_WORKFLOW))


def _most_particular_first(
    things: Mapping[str, Workflow] | Mapping[str, Model], ordinary: Mapping[str, Any]
) -> list[str]:
    return sorted(things, key=lambda name: -len(particular(things[name], ordinary)))


def _without_model(name: str) -> Cut:
    return lambda target: replace(
        target, models={each: model for each, model in target.models.items() if each != name}
    )


def _without_workflow(slug: str) -> Cut:
    return lambda target: replace(
        target, workflows={each: known for each, known in target.workflows.items() if each != slug}
    )


def _capabilities(target: Target) -> Iterator[Cut]:
    for name, key in target.personas.items():
        for capability in sorted(key.capabilities):
            yield _without_capability(name, capability)


def _without_capability(name: str, capability: str) -> Cut:
    return lambda target: _with_key(
        target, name, capabilities=target.personas[name].capabilities - {capability}
    )


def _details(target: Target) -> Iterator[Cut]:
    for name in target.personas:
        for detail, ordinary in ORDINARY_KEY.items():
            yield _key_as_ordinary(name, detail, ordinary)
    for slug in target.workflows:
        for detail, ordinary in ORDINARY_WORKFLOW.items():
            yield _workflow_as_ordinary(slug, detail, ordinary)
    for name in target.models:
        for detail, ordinary in ORDINARY_MODEL.items():
            yield _model_as_ordinary(name, detail, ordinary)


def _with_key(target: Target, name: str, **changes: Any) -> Target:  # noqa: ANN401 - each has its own type
    return replace(target, personas={**target.personas, name: replace(target.personas[name], **changes)})


def _key_as_ordinary(name: str, detail: str, ordinary: object) -> Cut:
    return lambda target: _with_key(target, name, **{detail: ordinary})


def _workflow_as_ordinary(slug: str, detail: str, ordinary: Any) -> Cut:  # noqa: ANN401
    return lambda target: replace(
        target,
        workflows={**target.workflows, slug: replace(target.workflows[slug], **{detail: ordinary})},
    )


def _model_as_ordinary(name: str, detail: str, ordinary: Any) -> Cut:  # noqa: ANN401
    return lambda target: replace(
        target, models={**target.models, name: replace(target.models[name], **{detail: ordinary})}
    )


# --- A profile that offers everything.


class _Placeholders(Mapping[str, str]):
    """Stands for the environment of a profile that is looked at and never used."""

    def __getitem__(self, name: str) -> str:
        return "http://127.0.0.1" if name.endswith("_URL") else f"knouds_live_{name.lower():0<32}"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def everything() -> Target:
    """The built-in profile, with a webhook of keys that may run a model; no server has to be there."""
    target = load_target(SANDBOX, environ=_Placeholders())
    webhook = Webhook(
        url="http://127.0.0.1:1/", secret=Secret("", "webhook"), listen=("127.0.0.1", 1), deadline_s=15.0
    )
    keys = {name: replace(target.personas[name], webhook=True) for name in ("full", "only-model-run")}
    return replace(target, webhook=webhook, personas={**target.personas, **keys})
