"""What a check needs from a target's profile, and how it is found there.

A need that a profile does not meet makes the check's facts *untested*; nothing is ever guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from knouds_harness.contract.capabilities import meets
from knouds_harness.contract.operations import Action
from knouds_harness.target.address import host_of, is_loopback
from knouds_harness.target.profile import Control, Model, Persona, Target, Webhook, Workflow

T_co = TypeVar("T_co", covariant=True)

_TIERS_WITHOUT_KEYS = ("free", "creator")
_ALL_ACTIONS = (
    "workflow:read",
    "workflow:write",
    "workflow:run",
    "model:run",
    "execution:read",
    "execution:cancel",
)


@dataclass(frozen=True, kw_only=True)
class Need(Generic[T_co]):
    """Something that a profile may offer.

    Attributes:
        says: What is missing, in words, where ``find`` returns None.
        find: Looks it up in the profile.
    """

    says: str
    find: Callable[[Target], T_co | None] = field(repr=False)


def _key(says: str, fits: Callable[[Persona], bool], *, state: str = "active") -> Need[Persona]:
    def find(target: Target) -> Persona | None:
        fitting = [key for key in target.personas.values() if key.state == state and fits(key)]
        return max(fitting, key=lambda key: _preference(key, target), default=None)

    return Need(says=says, find=find)


def _preference(persona: Persona, target: Target) -> tuple[bool, int, bool, int]:
    """People before administrators, then the account of which the profile offers the most.

    Whatever stands beside a key, such as the keys of its account that may do less, shows only where that
    account is chosen. Then no rate limit, then the key that may do the most.
    """
    keys = sum(key.user == persona.user for key in target.personas.values())
    workflows = sum(workflow.owner == persona.user for workflow in target.workflows.values())
    return (
        persona.role != "admin",
        keys + workflows,
        persona.tier == "enterprise",
        len(persona.capabilities),
    )


def _does_everything(persona: Persona) -> bool:
    return (
        _does_all_but_models(persona) and persona.tier != "pro" and meets(persona.capabilities, "model:run")
    )


def _does_all_but_models(persona: Persona) -> bool:
    return (
        persona.credits == "enough"
        and persona.role != "admin"
        and persona.tier not in _TIERS_WITHOUT_KEYS
        and all(meets(persona.capabilities, each) for each in _ALL_ACTIONS if each != "model:run")
    )


ANY_KEY = _key("an active key", lambda key: key.tier not in _TIERS_WITHOUT_KEYS)
FULL_KEY = _key("an active key that holds every capability, of an account with credits", _does_everything)
REVOKED_KEY = _key('a key with state = "revoked"', lambda _: True, state="revoked")
LEGACY_KEY = _key('a key with state = "legacy"', lambda _: True, state="legacy")
UNAPPROVED_KEY = _key('a key with state = "unapproved"', lambda _: True, state="unapproved")
BROKE_KEY = _key('a key with credits = "none"', lambda key: key.credits == "none")
EXHAUSTED_KEY = _key('a key with credits = "exhausted"', lambda key: key.credits == "exhausted")
GRANTED_KEY = _key('a key with credits = "granted"', lambda key: key.credits == "granted")
PRO_MODEL_KEY = _key(
    "a model:run key of a pro account",
    lambda key: key.tier == "pro" and meets(key.capabilities, "model:run"),
)
ADMIN_KEY = _key(
    "an administrator's key that holds workflow:read and workflow:write",
    lambda key: (
        key.role == "admin"
        and meets(key.capabilities, "workflow:read")
        and meets(key.capabilities, "workflow:write")
    ),
)
ADMIN_RUNNER_KEY = _key(
    "an administrator's key that holds model:run",
    lambda key: key.role == "admin" and meets(key.capabilities, "model:run"),
)
FREE_KEY = _key(
    "a workflow:write key of a free account",
    lambda key: key.tier == "free" and key.role != "admin" and meets(key.capabilities, "workflow:write"),
)
LIMITED_KEY = _key(
    "a workflow:run key of a pro account",
    lambda key: key.tier == "pro" and key.credits == "enough" and meets(key.capabilities, "workflow:run"),
)
BUSINESS_KEY = _key(
    "a model:run key of a business account",
    lambda key: key.tier == "business" and key.credits == "enough" and meets(key.capabilities, "model:run"),
)
ENTERPRISE_KEY = _key(
    "a key of an enterprise account that holds workflow:run, workflow:read and workflow:write",
    lambda key: (
        key.tier == "enterprise"
        and key.role != "admin"
        and key.credits == "enough"
        and all(meets(key.capabilities, f"workflow:{verb}") for verb in ("run", "read", "write"))
    ),
)


def _second_limited(target: Target) -> Persona | None:
    first = LIMITED_KEY.find(target)
    others = [
        key
        for key in target.personas.values()
        if first and key.state == "active" and key.user == first.user and key.name != first.name
    ]
    return next((key for key in others if meets(key.capabilities, "workflow:run")), None)


SECOND_LIMITED_KEY = Need(says="a second workflow:run key of the pro account", find=_second_limited)


def _stranger(does: Callable[[Persona], bool]) -> Callable[[Target], Persona | None]:
    def find(target: Target) -> Persona | None:
        full = FULL_KEY.find(target)
        others = [
            key
            for key in target.personas.values()
            if full and key.state == "active" and key.user != full.user and does(key)
        ]
        return max(others, key=_does_everything, default=None)

    return find


STRANGER_KEY = Need(
    says="a second account whose key holds every capability but model:run",
    find=_stranger(_does_all_but_models),
)
STRANGER_MODEL_KEY = Need(
    says="a second account whose key holds every capability", find=_stranger(_does_everything)
)


def _workflow(
    says: str, fits: Callable[[Workflow], bool], *, owned_by: Need[Persona] | None = FULL_KEY
) -> Need[Workflow]:
    def find(target: Target) -> Workflow | None:
        owner = owned_by.find(target) if owned_by else None
        return next(
            (
                workflow
                for workflow in target.workflows.values()
                if fits(workflow) and (owned_by is None or (owner and workflow.owner == owner.user))
            ),
            None,
        )

    return Need(says=says, find=find)


def _is_runnable(workflow: Workflow) -> bool:
    return not workflow.fails and not workflow.template


OWN_WORKFLOW = _workflow("a workflow of the full key's account", _is_runnable)
OWN_PRIVATE_WORKFLOW = _workflow(
    "a private workflow of the full key's account",
    lambda workflow: _is_runnable(workflow) and not workflow.public,
)
OWN_POLLED_WORKFLOW = _workflow(
    "a workflow of the full key's account with polled = true",
    lambda workflow: _is_runnable(workflow) and workflow.polled,
)
COUNTED_WORKFLOW = _workflow(
    "a workflow of the full key's account with image_count_input",
    lambda workflow: _is_runnable(workflow) and workflow.image_count_input is not None,
)
WITHOUT_GENERATOR_WORKFLOW = _workflow(
    "a workflow of the full key's account with has_generator = false",
    lambda workflow: _is_runnable(workflow) and not workflow.has_generator,
)
PUBLIC_WORKFLOW = _workflow("a workflow with public = true", lambda workflow: workflow.public, owned_by=None)
FAILING_WORKFLOW = _workflow("a workflow with fails = true", lambda workflow: workflow.fails)
OWN_FILED_WORKFLOW = _workflow(
    "a workflow of the full key's account with in_folder = true", lambda workflow: workflow.in_folder
)
BROKE_WORKFLOW = _workflow("a workflow of the account without credits", _is_runnable, owned_by=BROKE_KEY)
BROKE_POLLED_WORKFLOW = _workflow(
    "a workflow with polled = true of the account without credits",
    lambda workflow: _is_runnable(workflow) and workflow.polled,
    owned_by=BROKE_KEY,
)
EXHAUSTED_WORKFLOW = _workflow(
    "a workflow of the account with a used-up grant", _is_runnable, owned_by=EXHAUSTED_KEY
)
GRANTED_WORKFLOW = _workflow(
    "a workflow of the account with a trial grant", _is_runnable, owned_by=GRANTED_KEY
)
LIMITED_WORKFLOW = _workflow("a workflow of the pro account", _is_runnable, owned_by=LIMITED_KEY)
BUSINESS_WORKFLOW = _workflow("a workflow of the business account", _is_runnable, owned_by=BUSINESS_KEY)


def _foreign_template(target: Target) -> Workflow | None:
    reader = FULL_KEY.find(target)
    return next(
        (
            each
            for each in target.workflows.values()
            if each.template and reader and each.owner != reader.user
        ),
        None,
    )


FOREIGN_TEMPLATE = Need(says="a workflow with template = true of another account", find=_foreign_template)


def _model(says: str, fits: Callable[[Model], bool]) -> Need[Model]:
    """The cheapest model that fits, as far as the profile knows prices."""

    def find(target: Target) -> Model | None:
        return min(
            (model for model in target.models.values() if fits(model)),
            key=lambda model: math.inf if model.cost_credits is None else model.cost_credits,
            default=None,
        )

    return Need(says=says, find=find)


def _is_usable(model: Model) -> bool:
    return not (model.disabled or model.fails or model.needs_tier == "enterprise")


USABLE_MODEL = _model("a model that runs", _is_usable)
POLLED_MODEL = _model("a model with polled = true", lambda model: _is_usable(model) and model.polled)
FAILING_POLLED_MODEL = _model(
    "a model with fails = true and polled = true", lambda model: model.fails and model.polled
)
UNPOLLED_MODEL = _model("a model with polled = false", lambda model: _is_usable(model) and not model.polled)
COUNTED_MODEL = _model(
    "a model with image_count_input", lambda model: _is_usable(model) and model.image_count_input is not None
)
COUNTED_IMAGES: Need[Workflow | Model] = Need(
    says="a workflow or model with image_count_input",
    find=lambda target: COUNTED_WORKFLOW.find(target) or COUNTED_MODEL.find(target),
)
DISABLED_MODEL = _model("a model with disabled = true", lambda model: model.disabled)
ENTERPRISE_MODEL = _model(
    'a model with needs_tier = "enterprise"', lambda model: model.needs_tier == "enterprise"
)


def may(action: Action) -> Need[bool]:
    """The profile's permission for one kind of action."""
    return Need(
        says=f'"{action}" in limits.allow',
        find=lambda target: True if action in target.limits.allow else None,
    )


MAY_RUN = may(Action.RUN)
MAY_WRITE = may(Action.WRITE)
MAY_CANCEL = may(Action.CANCEL)

CONTROL: Need[Control] = Need(
    says="a control plane that mints keys (the sandbox has one)", find=lambda t: t.control
)


def mints_webhooks(target: Target) -> bool:
    """Whether keys can be made whose deliveries reach a receiver here, at any port."""
    return target.control is not None and is_loopback(host_of(target.base_url))


def _receiver(target: Target) -> Control | Webhook | None:
    if mints_webhooks(target):
        return target.control
    return target.webhook if target.webhook and target.webhook.listen else None


REACHABLE_RECEIVER: Need[Control | Webhook] = Need(
    says="[webhook] whose url leads to this machine, and listen where it does not say so itself "
    "(or a control plane on this machine, as the sandbox has)",
    find=_receiver,
)


def _webhook_key(says: str, *, receives: bool) -> Need[Persona]:
    """A key with the profile's webhook, of the full key's account; where keys are made, any can be had."""

    def fits(key: Persona, owner: Persona, model: Model) -> bool:
        return (
            key.webhook
            and key.state == "active"
            and key.user == owner.user
            and meets(key.capabilities, "webhook:receive") == receives
            and (meets(key.capabilities, "model:run") or f"model:{model.name}:run" in key.capabilities)
        )

    def find(target: Target) -> Persona | None:
        owner, model = FULL_KEY.find(target), POLLED_MODEL.find(target)
        if mints_webhooks(target) or owner is None or model is None:
            return owner
        return next((key for key in target.personas.values() if fits(key, owner, model)), None)

    return Need(says=says, find=find)


RECEIVING_KEY = _webhook_key(
    "a key with webhook = true of the full key's account, which holds webhook:receive and model:run",
    receives=True,
)
DEAF_KEY = _webhook_key(
    "a key with webhook = true of the full key's account, which holds model:run and no webhook:receive",
    receives=False,
)


def free_workflow(target: Target, owner: Persona) -> Workflow | None:
    """A workflow of this account whose runs cost nothing, as far as the profile says."""
    own = (w for w in target.workflows.values() if w.owner == owner.user and _is_runnable(w))
    return next((w for w in own if w.cost_credits == 0 or not w.has_generator), None)


def may_make_workflows(target: Target, owner: Persona) -> bool:
    """Whether this key may make a workflow, and see what its runs cost."""
    can = all(meets(owner.capabilities, capability) for capability in ("workflow:write", "workflow:read"))
    return can and MAY_WRITE.find(target) is not None


def limited_runs(times: int) -> Callable[[Target], list[Workflow]]:
    """What so many runs of the pro account spend: nothing where a workflow is free, or can be made so."""

    def runs(target: Target) -> list[Workflow]:
        key, workflow = LIMITED_KEY.find(target), LIMITED_WORKFLOW.find(target)
        if key is None or free_workflow(target, key) or may_make_workflows(target, key):
            return []
        return [workflow] * times if workflow else []

    return runs


def _fillable_window(target: Target) -> bool | None:
    limits, key = target.limits, LIMITED_KEY.find(target)
    if key is None or (CONTROL.find(target) is None and limits.fill_rate_windows is False):
        return None
    is_free = bool(free_workflow(target, key)) or may_make_workflows(target, key)
    is_agreed = bool(limits.fill_rate_windows) and LIMITED_WORKFLOW.find(target) is not None
    return is_free or is_agreed or None


FILLABLE_WINDOW = Need(
    says="100 runs of a pro account that cost nothing, or limits.fill_rate_windows = true",
    find=_fillable_window,
)


def own_workflows(target: Target) -> list[Workflow]:
    """The workflows of the full key's account that can be run to a good end."""
    owner = FULL_KEY.find(target)
    return [w for w in target.workflows.values() if owner and w.owner == owner.user and not w.fails]


def usable_models(target: Target) -> list[Model]:
    """The models that can be run to a good end by an account of any tier that may run models."""
    return [model for model in target.models.values() if _is_usable(model)]


def once(*needs: Need[Workflow] | Need[Model]) -> Callable[[Target], list[Workflow | Model]]:
    """What a test spends that runs each of these once."""

    def runs(target: Target) -> list[Workflow | Model]:
        return [found for need in needs if (found := need.find(target)) is not None]

    return runs
