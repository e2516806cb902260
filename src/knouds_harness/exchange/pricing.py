"""What a run may cost before it is sent, and what its response says it cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.effects import Effect, effect_of
from knouds_harness.contract.operations import Action
from knouds_harness.errors import NotSent
from knouds_harness.exchange.evidence import (
    JSON,
    NO_SUCH_MODEL,
    NO_SUCH_WORKFLOW,
    Call,
    Exchange,
    Request,
    members_once,
)
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Persona, Workflow

if TYPE_CHECKING:
    from knouds_harness.exchange.client import Client

_BEYOND_REASON = 10**12
_NESTED: Final = (dict, list)
_STRICT: Final = json.JSONDecoder(object_pairs_hook=members_once)  # json.loads would make one each time


def reported_charge(
    status: int, content: bytes, body: JSON, *, most_credits: float, is_to_run: bool, is_granted: bool
) -> float | None:
    """Return the charge that a response to a run reports; None if unknown, so that the worst is assumed.

    A completed run counts with its charge; a charge of 0 only if a trial grant may have paid, or the run is
    free. A refusal in the documented form costs nothing if the server has to refuse. Nothing else proves a
    charge: a failed run may cost credits (the docs do not say), an accepted asynchronous run will. Only a
    reported charge above ``most_credits`` always counts.

    Source: docs, sync runs and error codes.
    """
    if not isinstance(body, dict) or _has_doubled_members(content, body):
        return None
    told = amount_of(body.get("cost"))
    is_submitted = body.get("_async") is True or ("executionId" in body and body.get("success") is not True)
    if status < 300 and not is_submitted and (told or is_granted or not most_credits):
        return told
    if 400 <= status < 500 and "error" in body and not told and not is_to_run and not was_run(body):
        return 0.0
    return told if told is not None and told > most_credits else None


def _has_doubled_members(content: bytes, body: dict[str, JSON]) -> bool:
    """Whether a member is there twice: as many colons as members, which is counted sooner, say no."""
    try:
        if content.count(b":") == _members_in(body):
            return False
        _STRICT.decode(content.decode(json.detect_encoding(content), "surrogatepass"))
    except (ValueError, RecursionError):
        return True
    return False


def _members_in(value: dict[str, JSON] | list[JSON]) -> int:
    count, values = (len(value), value.values()) if isinstance(value, dict) else (0, value)
    for each in values:
        if isinstance(each, _NESTED):
            count += _members_in(each)
    return count


def was_run(body: JSON) -> bool:
    return isinstance(body, dict) and (
        body.get("success") is True or "executionId" in body or "result" in body
    )


def charged_credits(exchange: Exchange, sender: Persona | None, *, is_to_run: bool) -> float | None:
    """Return the charge of a run, as ``reported_charge`` does; None if no response came."""
    if exchange.status is None:
        return None
    funds = sender.credits if sender else "enough"
    return reported_charge(
        exchange.status,
        exchange.body,
        exchange.json_or_none(),
        most_credits=exchange.request.cost_credits,
        is_to_run=is_to_run and not (exchange.status == HTTPStatus.PAYMENT_REQUIRED and funds != "enough"),
        is_granted=funds == "granted",
    )


def charged_account(exchange: Exchange, sender: Persona | None, target: Target) -> str | None:
    """Return the account that a run is charged to, if it is charged; None if that is not known.

    If the server does not know the sender, as it is to refuse the key with 401 and does, or if there is no
    key, it can charge only the owner of what is run.
    """
    is_refused = exchange.status == HTTPStatus.UNAUTHORIZED
    if sender is not None and not (is_refused and sender.state != "active"):
        return sender.user
    resource = resource_named(exchange.request.path, target)
    return resource.owner if isinstance(resource, Workflow) else None


def resource_named(path: str, target: Target) -> Workflow | Model | None:
    """Return what a path runs, in a server's most generous reading; None if the profile lacks it."""
    runs = [each for each in effect_of("POST", path).readings if each.action is Action.RUN]
    found = [_resource(each.operation, each.name, target) for each in runs]
    return next((each for each in found if each is not None), None)


def _resource(operation_id: str, name: str, target: Target) -> Workflow | Model | None:
    if operation_id == "runWorkflow":
        return target.workflows.get(name)
    return target.models.get(name)


def has_inputs(body: bytes | None, inputs: Mapping[str, JSON]) -> bool:
    """Return whether a run has just these inputs, however a server reads its body."""
    try:
        members = _STRICT.decode((body or b"").decode())
    except (ValueError, RecursionError):
        return False
    return bool(members == {"inputs": inputs})


def most_credits(
    effect: Effect,
    target: Target,
    estimates: Mapping[str, float],
    *,
    stated_credits: float,
    is_deliberate: bool,
    is_ours: Callable[[str], bool],
) -> float | None:
    """Return the most that a run costs if the server does not refuse it; None if it has to, or if unknown.

    It is 0 for workflows that the harness created: they are empty, or the request itself has the cost. What
    neither the profile nor the server's estimates know costs what the request states. A deliberate request
    may name what does not exist.

    Raises:
        NotSent: It runs something unknown, and states no price.
    """
    prices: list[float | None] = []
    for each in effect.readings:
        if each.action is not Action.RUN:
            continue
        resource = _resource(each.operation, each.name, target)
        if isinstance(resource, Workflow) and resource.cost_credits is None:
            prices.append(estimates.get(resource.slug))
        elif resource is not None:
            prices.append(resource.cost_credits)
        elif is_deliberate or each.name in (NO_SUCH_WORKFLOW, NO_SUCH_MODEL):
            prices.append(None)
        elif is_ours(each.name):
            prices.append(0.0)
        elif stated_credits:
            prices.append(stated_credits)
        else:
            raise NotSent(f'"{each.name}" is not in the profile, so the cost of a run is unknown')
    return max((each for each in prices if each is not None), default=None)


def highest_price_credits(target: Target, estimates: Mapping[str, float]) -> float:
    resources: tuple[Workflow | Model, ...] = (*target.workflows.values(), *target.models.values())
    return max((*estimates.values(), *(each.cost_credits or 0.0 for each in resources)), default=0.0)


class Pricing:
    """Finds the most that one run of a workflow or model costs, in the profile or from the server."""

    def __init__(self, client: Client, *, send: Callable[[Request], Exchange] | None = None) -> None:
        """Ask with a client, which learns the estimates; ``send`` sends in its place."""
        self._send = send or client.send
        self._target = client.target
        self._estimates = client.estimates
        self._asked: set[str] = set()

    def worst_case(self, resource: Workflow | Model) -> float | None:
        """Return the most that one run costs, in credits; if None (unknown), it must not be run.

        A null estimate means 0 only for a workflow without generator nodes, according to the profile.

        Source: docs, workflow schema (``estimatedCreditCost`` is a number, or null without generator nodes).
        """
        if resource.cost_credits is not None or isinstance(resource, Model):
            return resource.cost_credits
        if resource.slug not in self._estimates and resource.slug not in self._asked:
            estimate = self._estimate(resource)
            if estimate is not None:
                self._estimates[resource.slug] = estimate
            self._asked.add(resource.slug)  # only now, so that concurrent threads all get the estimate
        return self._estimates.get(resource.slug)

    def _estimate(self, workflow: Workflow) -> float | None:
        readers = [
            persona
            for persona in self._target.personas.values()
            if persona.user == workflow.owner and persona.is_able("workflow:read")
        ]
        if not readers or Action.READ not in self._target.limits.allow:
            return None
        call = Call(path_values=workflow.path_values)
        operation = shipped_document().operation_by_id["getWorkflowSchema"]
        exchange = self._send(call.request(operation, persona=readers[0].name))
        if exchange.status != 200 or "estimatedCreditCost" not in exchange.members:
            return None
        estimate = exchange.members["estimatedCreditCost"]
        if estimate is None and not workflow.has_generator:
            return 0.0
        return amount_of(estimate)


def amount_of(value: JSON) -> float | None:
    """Return a plausible amount of credits or money; None for any other value."""
    is_amount = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _BEYOND_REASON
    return float(value) if is_amount else None
