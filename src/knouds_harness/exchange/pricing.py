"""What runs cost: before they are sent, and after."""

from __future__ import annotations

from typing import Protocol

from knouds_harness.contract.capabilities import meets
from knouds_harness.contract.operations import Action
from knouds_harness.exchange.evidence import JSON, Exchange, Request
from knouds_harness.target.profile import Target
from knouds_harness.target.resources import Model, Workflow

_BEYOND_REASON = 10**12


def charged_credits(exchange: Exchange | None) -> float | None:
    """What the server says it charged; None where it does not say, so that the worst is assumed.

    A refused run costs nothing. A failed one may (the docs do not say), an accepted asynchronous one will.

    Source: docs, sync runs and error codes.
    """
    if exchange is None or exchange.status is None or exchange.status >= 500:
        return None
    if exchange.status >= 300:
        return 0.0
    body = exchange.json_or_none()
    return _amount(body.get("cost")) if isinstance(body, dict) else None


class SendsRequests(Protocol):
    """What pricing needs of the client (which itself uses this module)."""

    def send(self, request: Request) -> Exchange:
        """Send one request."""


class Pricing:
    """Knows the most that one run of a workflow or a model costs: from the profile, else from the server."""

    def __init__(self, client: SendsRequests, target: Target) -> None:
        """Ask the server through this client, once per workflow."""
        self._client = client
        self._target = target
        self._estimates: dict[str, float | None] = {}

    def worst_case(self, resource: Workflow | Model) -> float | None:
        """The most that one run costs, in credits; None if nobody says, and then it must not be run.

        Source: docs, workflow schema (``estimatedCreditCost`` is a number, or null without generator nodes).
        """
        if resource.cost_credits is not None or isinstance(resource, Model):
            return resource.cost_credits
        if resource.slug not in self._estimates:
            self._estimates[resource.slug] = self._estimate(resource)
        return self._estimates[resource.slug]

    def _estimate(self, workflow: Workflow) -> float | None:
        readers = [
            persona
            for persona in self._target.personas.values()
            if persona.user == workflow.owner
            and persona.state == "active"
            and meets(persona.capabilities, "workflow:read")
        ]
        if not readers:
            return None
        exchange = self._client.send(
            Request(
                method="GET",
                path=f"/api/workflows/{workflow.slug}/schema",
                operation_id="getWorkflowSchema",
                persona=readers[0].name,
                path_values={"slug": workflow.slug},
                action=Action.READ,
            )
        )
        body = exchange.json_or_none()
        if exchange.status != 200 or not isinstance(body, dict) or "estimatedCreditCost" not in body:
            return None
        estimate = body["estimatedCreditCost"]
        return 0.0 if estimate is None else _amount(estimate)


def _amount(value: JSON) -> float | None:
    is_amount = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _BEYOND_REASON
    return float(value) if is_amount else None
