"""What runs cost, before and after they are sent."""

import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.created_workflows import workflow_path
from knouds_harness.exchange.effectless_requests import NO_SUCH_MODEL, NO_SUCH_WORKFLOW
from knouds_harness.exchange.evidence import JSON, Exchange, Request
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Workflow

_BEYOND_REASON = 10**12
_RUN_PATH: Final = re.compile(r"/api/(workflows|models)/([^/]+)/run")


def charge_told(
    status: int, content: bytes, body: JSON, *, most_credits: float, is_to_run: bool, is_granted: bool
) -> float | None:
    """What an answer to a run says was charged; None if it does not say, so that the worst is assumed.

    A refusal in the documented form costs nothing where the server is to refuse; any other proves nothing. A
    failed run may cost (the docs do not say), an accepted asynchronous one will. Of all these, a charge
    counts where it is more than the run could cost. That a run costs nothing counts where a trial grant may
    have paid it.

    Source: docs, sync runs and error codes.
    """
    if not isinstance(body, dict) or _has_doubled_members(content):
        return None
    told = amount_of(body.get("cost"))
    is_submitted = body.get("_async") is True or ("executionId" in body and body.get("success") is not True)
    if status < 300 and not is_submitted and (told or is_granted or not most_credits):
        return told
    if 400 <= status < 500 and "error" in body and not told and not is_to_run and not was_run(body):
        return 0.0
    return told if told is not None and told > most_credits else None


def _has_doubled_members(content: bytes) -> bool:
    """Whether an object names a member twice, so that readers may differ about it."""
    try:
        members = json.loads(content, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return True
    return len({name for name, _ in members}) < len(members)


def was_run(body: JSON) -> bool:
    """Whether an answer says that something was run, or will be."""
    return isinstance(body, dict) and (
        body.get("success") is True or "executionId" in body or "result" in body
    )


def charged_credits(exchange: Exchange, sender: Persona | None, *, is_to_run: bool) -> float | None:
    """What the server says it charged for a run, as ``charge_told`` reads it; None where no answer came."""
    if exchange.status is None:
        return None
    funds = sender.credits if sender else "enough"
    return charge_told(
        exchange.status,
        exchange.body,
        exchange.json_or_none(),
        most_credits=exchange.request.cost_credits,
        is_to_run=is_to_run and not (exchange.status == HTTPStatus.PAYMENT_REQUIRED and funds != "enough"),
        is_granted=funds == "granted",
    )


def resource_named(path: str, target: Target) -> Workflow | Model | None:
    """What a request of this path runs, in a server's most generous reading; None if the profile lacks it."""
    named = _RUN_PATH.fullmatch(path)
    if named is None:
        return None
    resources: Mapping[str, Workflow | Model]
    resources = target.workflows if named[1] == "workflows" else target.models
    name = unquote(named[2])
    return resources.get(name) or resources.get(name.casefold())


def known_credits(path: str, target: Target, estimates: Mapping[str, float]) -> float | None:
    """The most that a run costs if the server does not refuse it; None if unknown.

    0 for what the harness itself made: empty workflows, and others whose runs say what they cost.
    ``estimates`` holds what the server was heard to say, by slug.
    """
    resource = resource_named(path, target)
    if resource is None:
        return None if path.split("/")[-2] in (NO_SUCH_WORKFLOW, NO_SUCH_MODEL) else 0.0
    if isinstance(resource, Workflow) and resource.cost_credits is None:
        return estimates.get(resource.slug)
    return resource.cost_credits


def dearest_credits(target: Target, estimates: Mapping[str, float]) -> float:
    """The highest price that is known of a target's workflows and models."""
    resources: tuple[Workflow | Model, ...] = (*target.workflows.values(), *target.models.values())
    return max((*estimates.values(), *(each.cost_credits or 0.0 for each in resources)), default=0.0)


class Pricing:
    """Knows the most that one run of a workflow or a model costs: from the profile, else from the server."""

    def __init__(
        self,
        send: Callable[[Request], Exchange],
        target: Target,
        *,
        estimates: dict[str, float] | None = None,
    ) -> None:
        """Ask the server through ``send``, once per workflow."""
        self._send = send
        self._target = target
        self._estimates = {} if estimates is None else estimates
        self._asked: set[str] = set()

    def worst_case(self, resource: Workflow | Model) -> float | None:
        """The most that one run costs, in credits; None if unknown, and then it must not be run.

        An estimate of null is a price of 0 only for what is known to have no generator nodes.

        Source: docs, workflow schema (``estimatedCreditCost`` is a number, or null without generator nodes).
        """
        if resource.cost_credits is not None or isinstance(resource, Model):
            return resource.cost_credits
        if resource.slug not in self._estimates and resource.slug not in self._asked:
            estimate = self._estimate(resource)
            if estimate is not None:
                self._estimates[resource.slug] = estimate
            self._asked.add(resource.slug)  # only now: threads that ask at the same time all get the answer
        return self._estimates.get(resource.slug)

    def _estimate(self, workflow: Workflow) -> float | None:
        readers = [
            persona
            for persona in self._target.personas.values()
            if persona.user == workflow.owner and persona.is_able("workflow:read")
        ]
        if not readers or Action.READ not in self._target.limits.allow:
            return None
        exchange = self._send(
            Request(
                method="GET",
                path=f"{workflow_path(workflow.slug)}/schema",
                operation_id="getWorkflowSchema",
                persona=readers[0].name,
                path_values={"slug": workflow.slug},
                action=Action.READ,
            )
        )
        if exchange.status != 200 or "estimatedCreditCost" not in exchange.members:
            return None
        estimate = exchange.members["estimatedCreditCost"]
        if estimate is None and not workflow.has_generator:
            return 0.0
        return amount_of(estimate)


def amount_of(value: JSON) -> float | None:
    """A sum of credits or money that may be believed; None for anything else."""
    is_amount = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _BEYOND_REASON
    return float(value) if is_amount else None
