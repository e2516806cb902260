"""What capabilities of each form admit, and what they do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.checks import capabilities
from knouds_harness.judging.claim import Check
from knouds_harness.suite.outcomes.outcome import MAY_READ, ProvokedOutcome, Spends, nothing
from knouds_harness.suite.outcomes.resources import OutcomeResources
from knouds_harness.suite.support.call import Call
from knouds_harness.targets.needs.keys import ADMIN_KEY, usable_keys
from knouds_harness.targets.needs.need import MAY_RUN, KeyAndResource, Need
from knouds_harness.targets.needs.runs import is_runnable, own_workflows
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Workflow


def _holding_only(capability: str) -> Need[KeyAndResource[Workflow]]:
    """A key that holds this and nothing else, and a workflow of its account."""

    def fitting(target: Target) -> Iterator[KeyAndResource[Workflow]]:
        for key in usable_keys(target):
            for workflow in target.workflows.values():
                if key.capabilities == {capability} and workflow.owner == key.user and is_runnable(workflow):
                    yield KeyAndResource(key, workflow)

    return Need(says=f"a key that holds {capability} alone, and a workflow of its account", fitting=fitting)


@dataclass(frozen=True, kw_only=True)
class _Bound:
    """A key that is bound to one workflow, that workflow, and another one of the account."""

    key: Persona
    workflow: Workflow
    other: Workflow


def _bound(target: Target) -> Iterator[_Bound]:
    for key in usable_keys(target):
        own = own_workflows(target, key.user)
        for workflow in own:
            for other in own:
                if key.capabilities == {f"workflow:{workflow.slug}:run"} and other.slug != workflow.slug:
                    yield _Bound(key=key, workflow=workflow, other=other)


_BOUND: Final = Need(
    says="a key that holds workflow:<slug>:run alone, of one of two workflows of its account",
    fitting=_bound,
)


_BY_STATUS: Final[dict[int, Check[...]]] = {200: capabilities.admitted, 403: capabilities.denied}


def _reading(
    operation: str,
    outcome: str,
    says: str,
    need: Need[Any],
    *,
    status: int = 200,
) -> ProvokedOutcome:
    def provoke(resources: OutcomeResources) -> Exchange:
        found = resources.tester.need(need)
        if isinstance(found, Persona):
            return resources.tester.send(operation, found)
        path_values = {"slug": found.resource.slug} if operation == "getWorkflow" else {}
        return resources.tester.send(operation, found.key, Call(path_values=path_values))

    return ProvokedOutcome(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=(status,),
        code="CAPABILITY_DENIED" if status == 403 else None,
        needs=(MAY_READ, need),
        provoke=provoke,
        checks=(_BY_STATUS[status],),
    )


def _of_bound_key(
    outcome: str,
    says: str,
    provoke: Callable[[OutcomeResources, _Bound], Exchange],
    *,
    operation: str = "runWorkflow",
    status: int = 403,
    spends: Spends = nothing,
) -> ProvokedOutcome:
    return ProvokedOutcome(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=(status,),
        code="CAPABILITY_DENIED" if status == 403 else None,
        needs=(MAY_READ, MAY_RUN, _BOUND),
        provoke=lambda resources: provoke(resources, resources.tester.need(_BOUND)),
        checks=(_BY_STATUS[status],),
        spends=spends,
    )


def _run(resources: OutcomeResources, key: Persona, workflow: Workflow) -> Exchange:
    return resources.tester.send(*resources.subjects.running(workflow, key))


def _read_by_bound_key(resources: OutcomeResources, bound: _Bound) -> Exchange:
    return resources.tester.send("getWorkflow", bound.key, Call(path_values={"slug": bound.workflow.slug}))


def _spends_bound_run(target: Target) -> list[Workflow]:
    bound = _BOUND.find(target)
    return [bound.workflow] if bound else []


OUTCOMES: Final = (
    _reading(
        "getWorkflow",
        "wildcard",
        "A key that holds workflow:* reads a workflow.",
        _holding_only("workflow:*"),
    ),
    _reading(
        "getWorkflow",
        "wildcard-of-executions",
        "A key that holds execution:* reads a workflow.",
        _holding_only("execution:*"),
        status=403,
    ),
    _reading(
        "listWorkflows",
        "may-only-write",
        "A key that may only write lists workflows.",
        _holding_only("workflow:write"),
        status=403,
    ),
    _reading(
        "listWorkflows",
        "admin",
        "An administrator's key lists workflows.",
        ADMIN_KEY,
    ),
    _of_bound_key(
        "bound",
        "A key that is bound to a workflow runs it.",
        lambda resources, bound: _run(resources, bound.key, bound.workflow),
        status=200,
        spends=_spends_bound_run,
    ),
    _of_bound_key(
        "bound-to-another",
        "A key that is bound to a workflow runs another one.",
        lambda resources, bound: resources.subjects.run(bound.other, bound.key, is_refused=True),
    ),
    _of_bound_key(
        "bound",
        "A key that is bound to running a workflow reads it.",
        _read_by_bound_key,
        operation="getWorkflow",
    ),
)
