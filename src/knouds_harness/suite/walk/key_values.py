"""What a key may do, as a dimension: the keys of a profile, and those that a control plane mints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from knouds_harness.contract.operations import RUN_OPERATIONS, Action, Operation
from knouds_harness.exchange.created_workflows import fresh_name
from knouds_harness.exchange.evidence import Call, effectless_call
from knouds_harness.judging.checks import capabilities
from knouds_harness.suite.walk.dimensions import CAPABILITIES, Draft, Value, run_call
from knouds_harness.targets.needs import CONTROL
from knouds_harness.targets.needs.rate_limits import free_workflow
from knouds_harness.targets.needs.runs import own_workflows, usable_models
from knouds_harness.targets.needs.workflows import BOUND_WORKFLOW_KEY_AND_AUTHOR, lesser_key
from knouds_harness.targets.resources import Persona

if TYPE_CHECKING:
    from knouds_harness.suite.walk.walk import Walk

Held = Callable[[Call], set[str]]
"""Returns the capabilities of a key that is minted for a call."""
_OUTCOMES: Final = {
    ("getWorkflow", "workflow:*"): "wildcard",
    ("getWorkflow", "execution:*"): "wildcard-of-executions",
    ("getWorkflow", "bound"): "bound",
    ("listWorkflows", "workflow:write"): "may-only-write",
    ("listWorkflows", "*"): "admin",
    ("runWorkflow", "bound"): "bound-to-another",
}
"""What ``record`` keeps of keys that hold one capability: the outcome by operation and form."""


def recorded_outcomes(operation: Operation) -> list[str]:
    """Return the outcomes that the keys of a profile may show."""
    return [outcome for (operation_id, _), outcome in _OUTCOMES.items() if operation_id == operation.id]


def lacking_value(operation: Operation) -> Value:
    """Return the value of a key that an operation must refuse, of the account that has the resource."""
    need = lesser_key(operation)
    return Value(
        dimension=CAPABILITIES,
        name="lacking",
        check=capabilities.denied,
        needs=(need,),
        outcome="lacks-capability",
        statuses=(403,),
        hides_names=True,
        change=lambda walk, draft: draft_by(walk, walk.tester.need(need), draft=draft),
    )


def key_values(walk: Walk) -> Iterator[Value]:
    """Yield each active key of the profile, each with what it may run, and keys that are minted."""
    for persona in walk.personas:
        for name in _names(walk, persona):
            yield key_value(
                persona.name, partial(_itself, persona), name, outcome=_outcome(walk, persona, name)
            )
    target = walk.tester.target
    for says, held in _minted(walk) if CONTROL.find(target) is not None else ():
        yield key_value(says, partial(_mint, held))
    if walk.operation.id == "runWorkflow" and BOUND_WORKFLOW_KEY_AND_AUTHOR.missing(target) is None:
        yield from _neighbours(walk)


def key_value(
    says: str, key: Callable[[Walk], Persona], name: str | None = None, *, outcome: str = ""
) -> Value:
    """Return the value of a key; ``name`` is what it asks for, by default what all ask for."""
    return Value(
        dimension=CAPABILITIES,
        name=f"{says} on {name}" if name else says,
        outcome=outcome,
        change=lambda walk, draft: draft_by(walk, key(walk), name, draft=draft),
    )


def _outcome(walk: Walk, persona: Persona, name: str | None) -> str:
    """Return the recorded outcome that the answer to a key is; empty if it is none."""
    forms = ["bound" if form.count(":") == 2 else form for form in persona.capabilities]
    outcome = _OUTCOMES.get((walk.operation.id, forms[0]), "") if len(forms) == 1 else ""
    is_bound_to_it = f"workflow:{name}:run" in persona.capabilities
    return "" if outcome == "bound-to-another" and is_bound_to_it else outcome


def _names(walk: Walk, persona: Persona) -> list[str] | list[None]:
    """Return what a bound key is tried on: all that its account may run; to be read, what it is bound to."""
    if not any(form.count(":") == 2 for form in persona.capabilities):
        return [None]
    if walk.operation.id == "runModel":
        return [model.name for model in usable_models(walk.tester.target)]
    own = [workflow.slug for workflow in own_workflows(walk.tester.target, persona.user)]
    if walk.operation.id == "runWorkflow":
        return own
    bound = [slug for slug in own if f"workflow:{slug}:run" in persona.capabilities]
    return bound if bound and walk.operation.id in ("getWorkflow", "getWorkflowSchema") else [None]


def _neighbours(walk: Walk) -> Iterator[Value]:
    """Yield a bound key on workflows whose names begin or end like that of its own, or have it inside."""
    bound, workflow, author = walk.tester.need(BOUND_WORKFLOW_KEY_AND_AUTHOR)
    words = workflow.slug.replace("-", " ")

    def on(name: str, walk: Walk, draft: Draft) -> Draft | None:
        return draft_by(walk, bound, walk.test_data.make_workflow(author, name=name.strip()), draft=draft)

    for name in (f"{words} {fresh_name('')}", fresh_name(words), fresh_name(f"{words} more")):
        yield Value(dimension=CAPABILITIES, name=f"{bound.name} on a neighbour", change=partial(on, name))


def _minted(walk: Walk) -> Iterator[tuple[str, Held]]:
    operation, operations = walk.operation, walk.tester.document.operations
    every = {form for each in operations for form in each.alternatives if "{" not in form}
    if not operation.alternatives:
        yield "every capability", lambda _: every
        return
    for alternative in operation.alternatives:
        yield f"only {alternative}", partial(_filled, alternative)
    yield "all but these", lambda call: every - {*operation.required_capabilities(call.path_values)}
    if operation.id in RUN_OPERATIONS:
        of_run = operation.alternatives[-1]
        for says, near in _NEAR.items():
            yield says, partial(_filled, of_run, near=near)
    elif operation.path_parameters == ("slug",):
        yield "bound to it", partial(_filled, "workflow:{slug}:run")


_NEAR: Final[Mapping[str, Callable[[str], str]]] = {
    "bound to a longer name": "{}-2".format,
    "bound to a name with more in front": "a-{}".format,
    "bound to a name with another end": lambda name: f"{name[:-1]}x",
    "bound to a name without its end": lambda name: name[:-1],
    "bound to a name without its start": lambda name: name[1:],
}


def _filled(form: str, call: Call, near: Callable[[str], str] = str) -> set[str]:
    return {form.format(**{parameter: near(name) for parameter, name in call.path_values.items()})}


def _itself(persona: Persona, _: Walk) -> Persona:
    return persona


def _mint(held: Held, walk: Walk) -> Persona:
    call = walk.test_data.call_on_existing(walk.operation)
    return walk.tester.minted(held(call), account=walk.test_data.account_of(walk.operation))


def draft_by(walk: Walk, persona: Persona, name: str | None = None, *, draft: Draft) -> Draft | None:
    """Return a request by a key, valid but for what the key may do.

    The resource exists, so that only the capability can be the reason for a refusal. If the key is admitted,
    it writes only to scratch workflows, and a run that would cost credits has inputs that are not an object.
    """
    operation, account, polled = walk.operation, walk.account, ""
    if draft.is_async:
        key, resource = walk.tester.need(run_call(operation, is_async=True))
        account, polled = key.user, resource.name
        name = name or polled
        if persona.user != account:
            return None
    call = effectless_call(operation) if account is None else walk.test_data.call_on_existing(operation)
    if name is not None:
        call = call.having(path_values=dict.fromkeys(operation.path_parameters, name))
    is_admitted = operation.admits(persona.capabilities, call.path_values)
    if draft.is_async and not is_admitted and name != polled:
        return None  # it may be refused for that
    if is_admitted:
        call = _free(walk, persona, call) if persona.user == account else _effectless(operation, call)
    return replace(draft, persona=persona, call=call)


def _free(walk: Walk, persona: Persona, call: Call) -> Call:
    """Return a call that costs its owner nothing, and that a server which reads the body first accepts."""
    operation = walk.operation
    if operation.action is Action.RUN:
        free = free_workflow(walk.tester.target, persona)
        path_values = {"slug": free.slug} if free and operation.id == "runWorkflow" else {}
        if free and path_values and operation.admits(persona.capabilities, path_values):
            return call.having(path_values=path_values, json={"inputs": dict(free.inputs)})
        return call.having(json={"inputs": []})
    if operation.id == "updateWorkflow":
        return call.having(json={"description": "sent by the harness"})
    if operation.id == "deleteWorkflow":
        return call.having(path_values={"slug": walk.test_data.make_workflow()})
    return call


def _effectless(operation: Operation, call: Call) -> Call:
    if operation.action is Action.RUN:
        return call.having(json={"inputs": []})
    return call if operation.action is Action.READ else effectless_call(operation)
