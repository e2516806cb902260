"""Needs for workflows, for keys that may read or write them, and for keys of other accounts."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeVar

from knouds_harness.contract.operations import Action, Operation
from knouds_harness.targets.needs import (
    MAY_RUN,
    MAY_WRITE,
    KeyAndResource,
    Need,
    ResourceAndStranger,
    permissions,
)
from knouds_harness.targets.needs.keys import ANY_KEY, AUTHOR, MODEL_ACCOUNT, listed, people, usable_keys
from knouds_harness.targets.needs.runs import (
    ASYNC_RUN,
    CHEAPEST_RUN,
    MODEL_RUN,
    NO_GENERATOR,
    Runs,
    Trait,
    WorkflowRuns,
    cheapest_first,
    has_known_cost,
    is_private,
    is_runnable,
    may_run,
    own_workflows,
    resources_of,
    usable_models,
)
from knouds_harness.targets.profile import Model, Persona, Target, Workflow

T = TypeVar("T")


def key_with_workflow(*capabilities: str, having: Trait | None = None) -> WorkflowRuns:
    fits = having.holds if having else is_runnable
    what = f"a workflow with {having.says}" if having else "a workflow"
    return Need(
        says=f"{what}, and a key of its account that holds {listed(capabilities)}",
        fitting=lambda target: (
            KeyAndResource(key, workflow)
            for key in people(target, *capabilities)
            for workflow in target.workflows.values()
            if workflow.owner == key.user and fits(workflow)
        ),
        also=permissions(capabilities),
    )


OWN_WORKFLOW = key_with_workflow("workflow:read")
EDITED_WORKFLOW = key_with_workflow("workflow:read", "workflow:write")
FILED_WORKFLOW = key_with_workflow(
    "workflow:read", "workflow:write", having=Trait("in_folder = true", lambda each: each.in_folder)
)
WITHOUT_GENERATOR = key_with_workflow("workflow:read", having=NO_GENERATOR)
WITHOUT_REQUEST_INPUT = key_with_workflow(
    "workflow:read", having=Trait("has_request_input = false", lambda each: not each.has_request_input)
)
PUBLIC_WORKFLOW: Need[Workflow] = Need(
    says="a workflow with public = true",
    fitting=lambda target: (each for each in target.workflows.values() if each.public),
)
PRIVATE_WORKFLOW: Need[Workflow] = Need(
    says="a private workflow", fitting=lambda target: filter(is_private, target.workflows.values())
)


ANY_WORKFLOW: Need[Workflow] = Need(
    says="a workflow of an account that has an active key",
    fitting=lambda target: (
        workflow
        for key in usable_keys(target)
        for workflow in target.workflows.values()
        if workflow.owner == key.user and is_runnable(workflow)
    ),
)
ANY_MODEL: Need[Model] = Need(
    says="a model",
    fitting=lambda target: cheapest_first(each for each in target.models.values() if is_runnable(each)),
)


@cache
def account_with_resource(operation: Operation) -> Need[str]:
    """Return the need for an account that has, can create or may use the resource of an operation."""
    parameters = operation.path_parameters
    if parameters == ("id",):
        return _user_of(ASYNC_RUN, lambda found: found.key.user)
    if parameters == ("internalName",):
        return _user_of(MODEL_ACCOUNT, lambda key: key.user, ANY_MODEL)
    if operation.id == "getPublicWorkflowSchema":
        return _user_of(PUBLIC_WORKFLOW, lambda workflow: workflow.owner)
    if parameters == ("slug",) and operation.action is Action.WRITE:
        return _user_of(AUTHOR, lambda key: key.user)
    return _SOME_WORKFLOW if parameters == ("slug",) else _user_of(ANY_KEY, lambda key: key.user)


def _user_of(need: Need[T], user: Callable[[T], str], *also: Need[object]) -> Need[str]:
    return Need(
        says=need.says, fitting=lambda target: map(user, need.fitting(target)), also=(*need.also, *also)
    )


def lesser_key(operation: Operation) -> Need[Persona]:
    """Return the need for a key that the operation must refuse, of the account with the resource."""
    account = account_with_resource(operation)
    required = [each for each in operation.alternatives if "{" not in each]

    def fitting(target: Target) -> Iterator[Persona]:
        user = account.find(target)
        for key in reversed(usable_keys(target)):  # what holds little shows most
            is_bound = any(form.count(":") == 2 for form in key.capabilities)
            if key.user == user and not is_bound and not key.holds(*required):
                yield key

    says = f"a key without {listed(required)}, of the account that has the resource"
    return Need(says=says, fitting=fitting, also=(account,))


def _with_some_workflow(target: Target) -> Iterator[str]:
    yield from (workflow.owner for workflow in ANY_WORKFLOW.fitting(target))
    if MAY_WRITE.missing(target) is None:
        yield from (key.user for key in AUTHOR.fitting(target))


_SOME_WORKFLOW: Need[str] = Need(
    says="a workflow, or a key that holds workflow:read and workflow:write to make one",
    fitting=_with_some_workflow,
)


def _bound(target: Target) -> Iterator[KeyAndResource[Workflow | Model]]:
    """Yield keys that may run a workflow or model only by the bound form, which names it."""
    for key in people(target):
        for resource in resources_of(target):
            if is_runnable(resource) and may_run(key, resource) and not key.holds(f"{resource.kind}:run"):
                yield KeyAndResource(key, resource)


BOUND_KEY: Runs = Need(
    says="a key that is bound to a workflow of its account, or to a model, such as workflow:<slug>:run",
    fitting=_bound,
    also=(MAY_RUN,),
)


def _bound_beside_another(target: Target) -> Iterator[KeyAndResource[Workflow | Model]]:
    for key, resource in _bound(target):
        others = own_workflows(target, key.user) if isinstance(resource, Workflow) else usable_models(target)
        if any(not may_run(key, each) for each in others):
            yield KeyAndResource(key, resource)


BOUND_KEY_BESIDE_ANOTHER: Runs = Need(
    says="another workflow of the bound key's account, or another model, that the key may not run",
    fitting=_bound_beside_another,
    also=(BOUND_KEY,),
)


BOUND_WORKFLOW_KEY_AND_AUTHOR: Need[tuple[Persona, Workflow, Persona]] = Need(
    says="a key bound to a workflow, and one of its account that holds workflow:read and workflow:write",
    fitting=lambda target: (
        (key, resource, author)
        for key, resource in _bound(target)
        for author in AUTHOR.fitting(target)
        if isinstance(resource, Workflow) and author.user == key.user
    ),
    also=(AUTHOR,),
)


def _foreign_workflow(
    *capabilities: str, what: str, fits: Callable[[Workflow], bool] = is_private, is_charged: bool = False
) -> WorkflowRuns:
    """Make the need for a key, the one that other tests use least, and a workflow of another account.

    If ``is_charged``, a run that is wrongly admitted may cost credits, so its cost must be known.
    """
    return Need(
        says=f"{what}, and a key of another account that holds {listed(capabilities)}",
        fitting=lambda target: (
            KeyAndResource(key, workflow)
            for key in reversed(people(target, *capabilities))
            for workflow in target.workflows.values()
            if workflow.owner != key.user and fits(workflow)
            if not is_charged or has_known_cost(target, workflow)
        ),
        also=permissions(capabilities),
    )


FOREIGN_WORKFLOW = _foreign_workflow("workflow:read", what="a private workflow")
FOREIGN_WORKFLOW_RUN = _foreign_workflow(
    "workflow:run",
    what="a private workflow at a known cost (cost_credits, or workflow:read to ask)",
    is_charged=True,
)
FOREIGN_TEMPLATE = _foreign_workflow(
    "workflow:read",
    "workflow:write",
    what="a workflow with template = true",
    fits=lambda workflow: workflow.template,
)


def and_stranger(need: Need[KeyAndResource[Any]], *capabilities: str) -> Need[ResourceAndStranger]:
    """Extend a need with a key of another account that holds these capabilities."""

    def fitting(target: Target) -> Iterator[ResourceAndStranger]:
        keys = people(target, *capabilities)
        for own in need.fitting(target):
            for stranger in reversed(keys):
                if stranger.user != own.key.user:
                    yield ResourceAndStranger(own, stranger)

    what = f"whose key holds {listed(capabilities)}" if capabilities else "with an active key"
    return Need(says=f"a second account {what}", fitting=fitting, also=(need, *permissions(capabilities)))


FILED_AND_STRANGER = and_stranger(FILED_WORKFLOW, "workflow:read", "workflow:write")
READ_BY_STRANGER = and_stranger(ASYNC_RUN, "execution:read")
CANCELLED_BY_STRANGER = and_stranger(ASYNC_RUN, "execution:cancel")


def _other_way_round(need: Need[ResourceAndStranger]) -> Need[ResourceAndStranger]:
    """Restrict a need to other accounts than the one that it finds first."""

    def fitting(target: Target) -> Iterator[ResourceAndStranger]:
        first = need.find(target)
        return (each for each in need.fitting(target) if first and each.own.key.user != first.own.key.user)

    return Need(says=need.says, fitting=fitting, also=need.also)


OTHER_READ_BY_STRANGER = _other_way_round(READ_BY_STRANGER)
OTHER_CANCELLED_BY_STRANGER = _other_way_round(CANCELLED_BY_STRANGER)
MODEL_RUN_AND_STRANGER = and_stranger(MODEL_RUN)
RUN_AND_STRANGER = and_stranger(CHEAPEST_RUN)
OTHER_RUN_AND_STRANGER = _other_way_round(RUN_AND_STRANGER)
