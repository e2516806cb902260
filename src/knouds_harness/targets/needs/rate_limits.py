"""Needs for keys of accounts with a rate limit, and for filling their windows."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from knouds_harness.targets.needs import MAY_RUN, MAY_WRITE, KeyAndResource, Need, TwoKeys
from knouds_harness.targets.needs.keys import AUTHOR_WHO_RUNS, PRO_MODEL_KEY, people, usable_keys
from knouds_harness.targets.needs.runs import BUSINESS_MODEL_RUN, FREE_WORKFLOW_RUN, affordable, is_runnable
from knouds_harness.targets.profile import Model, Persona, Target, Workflow


def free_workflow(target: Target, owner: Persona) -> Workflow | None:
    own = (w for w in target.workflows.values() if w.owner == owner.user and is_runnable(w))
    return next((w for w in own if w.cost_credits == 0 or not w.has_generator), None)


def may_make_workflows(target: Target, owner: Persona) -> bool:
    return owner.holds("workflow:write", "workflow:read") and MAY_WRITE.missing(target) is None


def own_workflow_run(target: Target, persona: Persona) -> Workflow | None:
    return next(affordable(target, persona, filter(is_runnable, target.workflows.values())), None)


_AND_A_RUN: Final = (
    "and a workflow of its account (or, to make one, workflow:read, workflow:write and "
    '"write" in limits.allow)'
)


def _limited_key(tier: str) -> Need[Persona]:
    def fitting(target: Target) -> Iterator[Persona]:
        for key in people(target, "workflow:run"):
            can_run = own_workflow_run(target, key) or may_make_workflows(target, key)
            if key.tier == tier and can_run:
                yield key

    says = f"a key of a {tier} account that holds workflow:run, {_AND_A_RUN}"
    return Need(says=says, fitting=fitting, also=(MAY_RUN,))


LIMITED_KEY = _limited_key("pro")
BUSINESS_KEY = _limited_key("business")
ENTERPRISE_AUTHOR: Need[Persona] = Need(
    says="a key of an enterprise account that holds workflow:read, workflow:write and workflow:run",
    fitting=lambda target: (
        key
        for key in people(target, "workflow:read", "workflow:write", "workflow:run")
        if key.tier == "enterprise"
    ),
    also=(MAY_RUN, MAY_WRITE),
)
BUSINESS_KEY_FOR_BOTH: Need[KeyAndResource[Model]] = Need(
    says="a key of a business account that holds workflow:run and model:run, for a model with cost_credits",
    fitting=lambda target: (
        each for each in BUSINESS_MODEL_RUN.fitting(target) if each.key in list(BUSINESS_KEY.fitting(target))
    ),
    also=(BUSINESS_KEY,),
)


def key_beside(target: Target, persona: Persona, capability: str) -> Persona | None:
    keys = (key for key in usable_keys(target) if key.user == persona.user and key.name != persona.name)
    return next((key for key in keys if key.holds(capability)), None)


TWO_LIMITED_KEYS: Need[TwoKeys] = Need(
    says="a second key of the pro account that holds workflow:run",
    fitting=lambda target: (
        TwoKeys(first, second)
        for first in LIMITED_KEY.fitting(target)
        if (second := key_beside(target, first, "workflow:run"))
    ),
    also=(LIMITED_KEY,),
)


def _pairs(first_of: Need[Persona], *second_of: Need[Persona]) -> Callable[[Target], Iterator[TwoKeys]]:
    """Return a ``fitting`` for pairs of keys of different accounts."""
    return lambda target: (
        TwoKeys(first, second)
        for first in first_of.fitting(target)
        for need in second_of
        for second in need.fitting(target)
        if second.user != first.user
    )


LIMITED_KEY_AND_STRANGER: Need[TwoKeys] = Need(
    says=f"a key of a second account, pro or business, that holds workflow:run, {_AND_A_RUN}",
    fitting=_pairs(LIMITED_KEY, BUSINESS_KEY, LIMITED_KEY),
    also=(LIMITED_KEY,),
)
TWO_BUSINESS_ACCOUNTS: Need[TwoKeys] = Need(
    says=f"keys of two business accounts that hold workflow:run, {_AND_A_RUN}",
    fitting=_pairs(BUSINESS_KEY, BUSINESS_KEY),
    also=(BUSINESS_KEY,),
)


BESIDE_FILLABLE: Need[Persona] = Need(
    says=LIMITED_KEY_AND_STRANGER.says,
    fitting=lambda target: (
        pair.second
        for pair in LIMITED_KEY_AND_STRANGER.fitting(target)
        if (found := FILLABLE_WINDOW.find(target)) and pair.second.user != found.user
    ),
)
PRO_MODEL_KEY_BESIDE: Need[Persona] = Need(
    says="a key of the same pro account that holds model:run",
    fitting=lambda target: (
        key
        for key in PRO_MODEL_KEY.fitting(target)
        if any(key.user == each.user for each in FILLABLE_WINDOW.fitting(target))
    ),
)


def _free_runners(target: Target) -> Iterator[Persona]:
    yield from (found.key for found in FREE_WORKFLOW_RUN.fitting(target))
    if MAY_WRITE.missing(target) is None:
        yield from AUTHOR_WHO_RUNS.fitting(target)


FREE_RUNNER: Need[Persona] = Need(
    says="a key that holds workflow:run, and a workflow of its account with has_generator = false "
    "(or workflow:read and workflow:write to make one)",
    fitting=_free_runners,
    also=(MAY_RUN,),
)


def limited_runs(
    times: int, need: Need[Any] = LIMITED_KEY, *, whose: str = ""
) -> Callable[[Target], list[Workflow]]:
    """Return a function for the paid runs of a limited account: ``times``, or none if a free run will do.

    ``whose`` names the key's attribute in what meets the need, if that is more than a key.
    """

    def runs(target: Target) -> list[Workflow]:
        found = need.find(target)
        key: Persona | None = getattr(found, whose) if found and whose else found
        if key is None or free_workflow(target, key) or may_make_workflows(target, key):
            return []
        workflow = own_workflow_run(target, key)
        return [workflow] * times if workflow else []

    return runs


def _fillable(target: Target) -> Iterator[Persona]:
    for key in LIMITED_KEY.fitting(target):
        is_free = bool(free_workflow(target, key)) or may_make_workflows(target, key)
        is_forbidden = target.control is None and target.limits.fill_rate_windows is False
        if not is_forbidden and (is_free or target.limits.fill_rate_windows):
            yield key


FILLABLE_WINDOW: Need[Persona] = Need(
    says="100 free runs of a pro account, or limits.fill_rate_windows = true",
    fitting=_fillable,
    also=(LIMITED_KEY,),
)
