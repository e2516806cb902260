"""Needs for keys together with a workflow of their account, or a model, that they may run."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeVar

from knouds_harness.targets.needs import MAY_RUN, KeyAndResource, Need, permissions
from knouds_harness.targets.needs.keys import PRO_MODEL_KEY, key_of, listed, may_run_models, people
from knouds_harness.targets.profile import Model, Persona, Target, Workflow
from knouds_harness.targets.resources import Funds

R = TypeVar("R", bound=Workflow | Model)


def is_runnable(resource: Workflow | Model) -> bool:
    """Return whether runs of the resource succeed for any account that may run it."""
    return not (why_not_runnable(resource) or (isinstance(resource, Workflow) and resource.template))


def why_not_runnable(resource: Workflow | Model) -> str:
    """Return the line of the profile that makes even its own account's runs fail; empty without one."""
    if resource.fails:
        return "fails = true"
    if isinstance(resource, Model):
        if resource.disabled:
            return "disabled = true"
        if resource.needs_tier == "enterprise":
            return 'needs_tier = "enterprise"'
    return ""


def is_private(workflow: Workflow) -> bool:
    """Return whether runs of the workflow succeed, and only its account may see it."""
    return is_runnable(workflow) and not workflow.public


def may_run(persona: Persona, resource: Workflow | Model) -> bool:
    """Return whether a key may run a workflow of its account, or a model, by any form of capability."""
    is_open = resource.owner == persona.user if isinstance(resource, Workflow) else may_run_models(persona)
    bound = f"{resource.kind}:{resource.name}:run"
    return is_open and (persona.holds(f"{resource.kind}:run") or bound in persona.capabilities)


def is_run_by_any_key(target: Target, resource: Workflow | Model) -> bool:
    return any(key.state == "active" and may_run(key, resource) for key in target.personas.values())


def ends_paid_run(key: Persona, resource: Workflow | Model) -> Funds | None:
    """Return how a paid run of a key ends; None if the account has a number of credits that may suffice."""
    if isinstance(key.credits, str):
        return key.credits
    return "none" if key.credits < (resource.cost_credits or 0) else None


def has_known_cost(target: Target, resource: Workflow | Model) -> bool:
    """Return whether the profile has the maximum cost of a run, or a key that may ask the server for it."""
    if isinstance(resource, Model) or resource.cost_credits is not None:
        return resource.cost_credits is not None
    return key_of(target, resource.owner, "workflow:read") is not None


def cheapest_first(models: Iterable[Model]) -> list[Model]:
    return sorted(models, key=_cost_of)


def _cost_of(resource: Workflow | Model) -> float:
    return math.inf if resource.cost_credits is None else resource.cost_credits


def resources_of(target: Target, *, models_first: bool = False) -> list[Workflow | Model]:
    """Return the workflows of a profile in its order, and its models, the cheapest first."""
    workflows: list[Workflow | Model] = [*target.workflows.values()]
    models = cheapest_first(target.models.values())
    return [*models, *workflows] if models_first else [*workflows, *models]


class Trait(NamedTuple):
    """What a workflow or model has, in the words of the profile; ``succeeds`` if its runs can."""

    says: str
    holds: Callable[[Any], bool]
    succeeds: bool = True


POLLED: Final = Trait("polled = true", lambda each: each.polled)
UNPOLLED: Final = Trait("polled = false", lambda each: not each.polled)
FAILS: Final = Trait("fails = true", lambda each: each.fails, succeeds=False)
DISABLED: Final = Trait("disabled = true", lambda model: model.disabled, succeeds=False)
FOR_ENTERPRISE: Final = Trait(
    'needs_tier = "enterprise"',
    lambda model: model.needs_tier == "enterprise" and not model.disabled,
    succeeds=False,
)
IN_TIME: Final = Trait("deadline_s", lambda each: each.deadline_s is not None)
COUNTED: Final = Trait("image_count_input", lambda each: each.image_count_input is not None)
NO_GENERATOR: Final = Trait("has_generator = false", lambda workflow: not workflow.has_generator)


@dataclass(frozen=True, kw_only=True, eq=False)
class RunNeed(Need[KeyAndResource[R]]):
    kind: Any
    having: str = ""
    fits: Callable[[Any], bool] = field(repr=False)


def key_that_runs(
    kind: Any,  # noqa: ANN401 - a class, or a tuple of classes
    *capabilities: str,
    having: Sequence[Trait] = (),
    funds: Funds = "enough",
    tier: str | None = None,
    is_charged: bool = True,
    prefers_models: bool = False,
) -> RunNeed[Any]:
    """Make the need for a key that may run a workflow of its account, or a model.

    Paid runs of the account end as ``funds`` says. If the run ``is_charged``, its cost must be known.
    """
    succeeds = all(trait.succeeds for trait in having)

    def fits(resource: Workflow | Model) -> bool:
        is_meant = is_runnable(resource) if funds == "enough" else is_paid(resource)
        return (is_meant or not succeeds) and all(trait.holds(resource) for trait in having)

    def runs(target: Target) -> Iterator[KeyAndResource[Any]]:
        resources = resources_of(target, models_first=prefers_models)
        resources = [each for each in resources if isinstance(each, kind) and fits(each)]
        # An account with exactly these funds comes before one whose number of credits is too low.
        for key in sorted(people(target, *capabilities, funds=None), key=lambda each: each.credits != funds):
            for resource in resources:
                is_meant = tier in (None, key.tier) and ends_paid_run(key, resource) == funds
                if is_meant and may_run(key, resource):
                    yield KeyAndResource(key, resource)

    what, run = {
        Workflow: ("a workflow of its account", "workflow:run"),
        Model: ("a model", "model:run"),
    }.get(kind, ("a workflow or model", "workflow:run or model:run"))
    account = f" of a {tier} account" if tier else ""
    account += f' with credits = "{funds}"' if funds != "enough" else ""
    words = f"with {' and '.join(trait.says for trait in having)}" if having else ""
    need: RunNeed[Any] = RunNeed(
        says=f"a key{account} that holds {listed((*capabilities, run))}, for {what}{words and f' {words}'}",
        fitting=runs,
        also=(MAY_RUN, *permissions(capabilities)),
        kind=kind,
        having=words,
        fits=fits,
    )
    if not is_charged:
        return need
    cost = "cost_credits" if kind is Model else "a known cost (cost_credits, or workflow:read to ask)"
    return replace(
        need,
        says=f"{need.says} {'and' if having else 'with'} {cost}",
        fitting=lambda target: (each for each in runs(target) if has_known_cost(target, each.resource)),
        also=(need,),
    )


EITHER: Final = (Workflow, Model)
Runs = Need[KeyAndResource[Workflow | Model]]
WorkflowRuns = Need[KeyAndResource[Workflow]]
ModelRuns = Need[KeyAndResource[Model]]

ANY_RUN: RunNeed[Workflow | Model] = key_that_runs(EITHER)
CHEAPEST_RUN: Runs = key_that_runs(EITHER, prefers_models=True)
WORKFLOW_RUN: RunNeed[Workflow] = key_that_runs(Workflow)
READ_WORKFLOW_RUN: WorkflowRuns = key_that_runs(Workflow, "workflow:read")
EDITED_WORKFLOW_RUN: WorkflowRuns = key_that_runs(Workflow, "workflow:read", "workflow:write")
MODEL_RUN: RunNeed[Model] = key_that_runs(Model)
FAILING_RUN: Runs = key_that_runs(EITHER, having=(FAILS,))


def affordable(target: Target, key: Persona, resources: Iterable[R]) -> Iterator[R]:
    return (each for each in resources if may_run(key, each) and has_known_cost(target, each))


LAST_CREDITS: Runs = Need(
    says="a key with credits = a number, which holds workflow:run or model:run, for a workflow or model "
    "with cost_credits",
    fitting=lambda target: (
        KeyAndResource(key, resource)
        for key in people(target, funds=None)
        for resource in affordable(target, key, resources_of(target, models_first=True))
        if not isinstance(key.credits, str) and is_runnable(resource)
        if 0 < (resource.cost_credits or 0) <= key.credits
    ),
    also=(MAY_RUN,),
)


COUNTED_RUN: Runs = key_that_runs(EITHER, having=(COUNTED,))
COUNTED_WORKFLOW_RUN: WorkflowRuns = key_that_runs(Workflow, having=(COUNTED,))
COUNTED_MODEL_RUN: ModelRuns = key_that_runs(Model, having=(COUNTED,))
FREE_WORKFLOW_RUN: WorkflowRuns = key_that_runs(Workflow, "workflow:read", having=(NO_GENERATOR,))


def is_paid(resource: Workflow | Model) -> bool:
    return is_runnable(resource) and resource.cost_credits != 0 and getattr(resource, "has_generator", True)


BROKE_RUN: Runs = key_that_runs(EITHER, funds="none")
EXHAUSTED_RUN: Runs = key_that_runs(EITHER, funds="exhausted")
GRANTED_RUN: Runs = key_that_runs(EITHER, funds="granted")


def _async_run(kind: Any, *capabilities: str, having: Sequence[Trait] = ()) -> RunNeed[Any]:  # noqa: ANN401
    """Make the need for a key that submits an asynchronous run and reads its status."""
    capabilities = ("execution:read", *capabilities)
    return key_that_runs(kind, *capabilities, having=(*having, POLLED), prefers_models=True)


ASYNC_RUN: RunNeed[Workflow | Model] = _async_run(EITHER)
ASYNC_RUN_IN_TIME: Runs = _async_run(EITHER, having=(IN_TIME,))
FREE_ASYNC_RUN: WorkflowRuns = _async_run(Workflow, "workflow:read", having=(NO_GENERATOR,))
CANCELLED_RUN: RunNeed[Workflow | Model] = _async_run(EITHER, "execution:cancel")
ASYNC_MODEL_RUN: ModelRuns = _async_run(Model)
CANCELLED_MODEL_RUN: ModelRuns = _async_run(Model, "execution:cancel")
ASYNC_WORKFLOW_RUN: WorkflowRuns = _async_run(Workflow)
FAILING_ASYNC_RUN: RunNeed[Workflow | Model] = _async_run(EITHER, having=(FAILS,))
FAILING_MODEL_RUN: ModelRuns = _async_run(Model, having=(FAILS,))

# Runs that are refused before they cost anything, or whose cost becomes known in another way.
WORKFLOW_CALL: RunNeed[Workflow] = key_that_runs(Workflow, is_charged=False)
MODEL_CALL: RunNeed[Model] = key_that_runs(Model, is_charged=False)
ASYNC_CALL: RunNeed[Workflow | Model] = key_that_runs(EITHER, having=(POLLED,), is_charged=False)
ASYNC_WORKFLOW_CALL: WorkflowRuns = key_that_runs(Workflow, having=(POLLED,), is_charged=False)
ASYNC_MODEL_CALL: ModelRuns = key_that_runs(Model, having=(POLLED,), is_charged=False)
UNPOLLED_MODEL: ModelRuns = key_that_runs(Model, having=(UNPOLLED,))
DISABLED_MODEL: ModelRuns = key_that_runs(Model, having=(DISABLED,))
ENTERPRISE_MODEL: ModelRuns = key_that_runs(Model, having=(FOR_ENTERPRISE,), tier="business")
BUSINESS_MODEL_RUN: ModelRuns = key_that_runs(Model, tier="business")


def cheapest(need: RunNeed[R]) -> RunNeed[R]:
    """Narrow a need to the cheapest workflow, or to the cheapest model if there is no workflow."""

    def fitting(target: Target) -> list[KeyAndResource[R]]:
        found = [each for each in need.fitting(target) if each.resource.cost_credits is not None]
        workflows = [each for each in found if isinstance(each.resource, Workflow)]
        return sorted(workflows or found, key=lambda each: each.resource.cost_credits or 0)[:1]

    return replace(need, fitting=fitting)


CHEAPEST_CALL: RunNeed[Workflow | Model] = cheapest(key_that_runs(EITHER, is_charged=False))


def charged_first(need: RunNeed[R]) -> RunNeed[R]:
    """Prefer runs that cost something, as a free one shows no charge, and of these the cheapest."""

    def fitting(target: Target) -> list[KeyAndResource[R]]:
        return sorted(
            need.fitting(target), key=lambda each: (not is_paid(each.resource), _cost_of(each.resource))
        )

    return replace(need, fitting=fitting)


def charged(need: RunNeed[R]) -> RunNeed[R]:
    """Narrow a need to runs that cost something; the cheapest comes first."""

    def fitting(target: Target) -> list[KeyAndResource[R]]:
        return [each for each in charged_first(need).fitting(target) if is_paid(each.resource)]

    return replace(need, says=f"{need.says}, above 0", fitting=fitting, also=(need,))


def several_first(need: RunNeed[R]) -> RunNeed[R]:
    """Prefer runs of several images or seconds, which show a charge for one: an input is a number above 1."""

    def is_of_one(found: KeyAndResource[R]) -> bool:
        return not any(type(each) is int and each > 1 for each in found.resource.inputs.values())

    return replace(need, fitting=lambda target: sorted(need.fitting(target), key=is_of_one))


CHARGED_RUN: Runs = charged(ANY_RUN)
CHARGED_ASYNC_RUN: Runs = several_first(charged(ASYNC_RUN))
CHARGED_CANCELLED_RUN: Runs = charged(CANCELLED_RUN)


def own_workflows(target: Target, user: str) -> list[Workflow]:
    return [each for each in target.workflows.values() if each.owner == user and not each.fails]


def usable_models(target: Target) -> list[Model]:
    return [model for model in target.models.values() if is_runnable(model)]


PRO_MODEL_RUN: ModelRuns = Need(
    says="a model with cost_credits",
    fitting=lambda target: (
        KeyAndResource(key, model)
        for key in PRO_MODEL_KEY.fitting(target)
        for model in cheapest_first(usable_models(target))
        if model.cost_credits is not None
    ),
    also=(PRO_MODEL_KEY,),
)


def every(need: Need[KeyAndResource[R]]) -> Callable[[Target], list[R]]:
    """Return a function for the runs of a test that runs everything that the need's key may use."""

    def runs(target: Target) -> list[R]:
        found = need.met_by(target)
        return [each.resource for each in need.fitting(target) if found and each.key == found.key]

    return runs


def once(*needs: Need[Any]) -> Callable[[Target], list[Workflow | Model]]:
    """Return a function for the runs of a test that runs the resource of each need once."""

    def runs(target: Target) -> list[Workflow | Model]:
        found: list[Any] = [need.find(target) for need in needs if need.missing(target) is None]
        return [getattr(each, "own", each).resource for each in found]

    return runs
