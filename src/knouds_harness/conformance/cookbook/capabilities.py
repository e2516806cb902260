"""What capabilities of each form admit, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from knouds_harness.conformance.checks import capabilities
from knouds_harness.conformance.claims import Check
from knouds_harness.conformance.needs import ADMIN_KEY, FULL_KEY, MAY_RUN, OWN_WORKFLOW, Need
from knouds_harness.conformance.probe import Call
from knouds_harness.conformance.recipes import MAY_READ, Recipe, Spends, nothing
from knouds_harness.conformance.stage import Stage
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.target.personas import Persona
from knouds_harness.target.profile import Target
from knouds_harness.target.resources import Workflow


def _holding_only(capability: str) -> Need[Persona]:
    """A key of the full key's account that holds this and nothing else."""

    def find(target: Target) -> Persona | None:
        owner = FULL_KEY.find(target)
        return next(
            (
                key
                for key in target.personas.values()
                if owner
                and key.user == owner.user
                and key.state == "active"
                and key.capabilities == {capability}
            ),
            None,
        )

    return Need(says=f"a key of the full key's account that holds {capability} alone", find=find)


@dataclass(frozen=True, kw_only=True)
class _Bound:
    """A key that is bound to one workflow, that workflow, and another one of the account."""

    key: Persona
    workflow: Workflow
    other: Workflow


def _bound(target: Target) -> _Bound | None:
    owner = FULL_KEY.find(target)
    own = [
        each for each in target.workflows.values() if owner and each.owner == owner.user and not each.fails
    ]
    for workflow in own:
        key = _holding_only(f"workflow:{workflow.slug}:run").find(target)
        other = next((each for each in own if each.slug != workflow.slug), None)
        if key is not None and other is not None:
            return _Bound(key=key, workflow=workflow, other=other)
    return None


_BOUND: Final = Need(
    says="a key that holds workflow:<slug>:run alone, of one of two workflows of the full key's account",
    find=_bound,
)


_BY_STATUS: Final[dict[int, Check[...]]] = {200: capabilities.admitted, 403: capabilities.denied}


def _reading(operation: str, outcome: str, says: str, key: Need[Persona], *, status: int = 200) -> Recipe:
    def provoke(stage: Stage) -> Exchange:
        path_values = {"slug": stage.probe.need(OWN_WORKFLOW).slug} if operation == "getWorkflow" else {}
        return stage.send(operation, key, Call(path_values=path_values))

    return Recipe(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=(status,),
        code="CAPABILITY_DENIED" if status == 403 else None,
        needs=(MAY_READ, FULL_KEY, OWN_WORKFLOW, key),
        provoke=provoke,
        checks=(_BY_STATUS[status],),
    )


def _of_bound_key(
    outcome: str,
    says: str,
    provoke: Callable[[Stage, _Bound], Exchange],
    *,
    operation: str = "runWorkflow",
    status: int = 403,
    spends: Spends = nothing,
) -> Recipe:
    return Recipe(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=(status,),
        code="CAPABILITY_DENIED" if status == 403 else None,
        needs=(MAY_READ, MAY_RUN, FULL_KEY, _BOUND),
        provoke=lambda stage: provoke(stage, stage.probe.need(_BOUND)),
        checks=(_BY_STATUS[status],),
        spends=spends,
    )


def _read_by_bound_key(stage: Stage, bound: _Bound) -> Exchange:
    return stage.probe.send("getWorkflow", bound.key, Call(path_values={"slug": bound.workflow.slug}))


def _spends_bound_run(target: Target) -> list[Workflow]:
    bound = _bound(target)
    return [bound.workflow] if bound else []


RECIPES: Final = (
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
        lambda stage, bound: stage.subjects.run(bound.workflow, bound.key),
        status=200,
        spends=_spends_bound_run,
    ),
    _of_bound_key(
        "bound-to-another",
        "A key that is bound to a workflow runs another one.",
        lambda stage, bound: stage.subjects.run(bound.other, bound.key),
    ),
    _of_bound_key(
        "bound",
        "A key that is bound to running a workflow reads it.",
        _read_by_bound_key,
        operation="getWorkflow",
    ),
)
