"""Which keys' asynchronous runs never end, told from all that was sent."""

from datetime import datetime
from typing import Final

from knouds_harness.contract.operations import RUN_OPERATIONS
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.execution_status import IN_FLIGHT, body_of, status_in
from knouds_harness.targets.profile import Target

ENDS_IN_TIME: Final = "execution.ends-in-time"
_DEADLINE_S: Final = 60.0
"""Where the profile has none, tests wait as long."""


_OWN_ENDS: Final = ("completed", "failed")
"""That somebody cancelled an execution says nothing of whether it would have ended."""


class NeverEndingRuns:
    """Follows each execution from its submit through its polls."""

    def __init__(self, target: Target) -> None:
        """Take each resource's deadline from the target's profile."""
        self._target = target
        self._submits: dict[str, tuple[str, datetime, float]] = {}
        self._overdue: dict[str, None] = {}
        self._ended: set[str] = set()

    def note(self, exchange: Exchange) -> None:
        request, body = exchange.request, body_of(exchange)
        if request.operation_id in RUN_OPERATIONS and request.persona:
            execution_id = body.get("executionId")
            if isinstance(execution_id, str):
                self._submits[execution_id] = (
                    request.persona,
                    exchange.started_at,
                    self._deadline_s(exchange),
                )
        elif request.operation_id == "getExecution" and request.path_values.get("id", "") in self._submits:
            persona, submitted_at, deadline_s = self._submits[request.path_values["id"]]
            if status_in(exchange) in _OWN_ENDS:
                self._ended.add(self._account_of(persona))
            elif status_in(exchange) in IN_FLIGHT and _seconds(submitted_at, exchange) >= deadline_s:
                self._overdue[persona] = None

    @property
    def personas(self) -> tuple[str, ...]:
        """The keys with an overdue execution, of accounts of which no execution was seen to end."""
        return tuple(key for key in self._overdue if self._account_of(key) not in self._ended)

    def _account_of(self, persona: str) -> str:
        key = self._target.personas.get(persona)
        return key.user if key else persona

    def _deadline_s(self, submit: Exchange) -> float:
        values, target = submit.request.path_values, self._target
        resource = target.workflows.get(values.get("slug", "")) or target.models.get(
            values.get("internalName", "")
        )
        return (resource.deadline_s if resource else None) or _DEADLINE_S


def _seconds(submitted_at: datetime, exchange: Exchange) -> float:
    return (exchange.started_at - submitted_at).total_seconds()
