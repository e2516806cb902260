"""What the responses of a load say of runs and executions.

Memory is bounded: of what grows with the length of a run, the first are remembered.
"""

import random
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from knouds_harness.contract.operations import FINAL, IN_FLIGHT, RUN_OPERATIONS
from knouds_harness.exchange.pricing import amount_of
from knouds_harness.judging.checks import executions
from knouds_harness.load.client.response import Response
from knouds_harness.load.invariants.rate_limits import RateLimits
from knouds_harness.load.invariants.tallies import FRESH_ID, SLUG_OF_NAME, Tallies
from knouds_harness.targets.resources import Persona

SHOWING_STATUS: Final = ("getExecution", "cancelExecution")
_STATUSES: Final = IN_FLIGHT | FINAL
_RESOURCE: Final = re.compile(r"/api/(workflows|models|executions)/([^/?]+)")
_MOST_IDS: Final = 200_000
_MOST_IN_FLIGHT: Final = 100_000
_MOST_ENDED: Final = 100


class ObservedRun(NamedTuple):
    """A run that got a response; equal ones are counted together.

    Attributes:
        resource: ``workflows/SLUG`` or ``models/NAME``.
        cost_credits: As the response says; None if it does not, as for asynchronous runs.
    """

    user: str
    resource: str
    cost_credits: float | None


class Ended(NamedTuple):
    """An execution whose end was seen, and its account."""

    user: str
    execution_id: str
    status: str


class Observations:
    """Reads responses as they come; ``ended`` is a random sample of the executions whose end was seen."""

    def __init__(self, tallies: Tallies, limits: RateLimits, *, chance: random.Random) -> None:
        self.runs: Counter[ObservedRun] = Counter()
        self.ended: list[Ended] = []
        self._tallies = tallies
        self._limits = limits
        self._chance = chance
        self._ended = 0
        self._execution_ids: set[str] = set()
        self._in_flight: dict[str, str] = {}

    def observe_create(self, slug: str, *, is_own: bool) -> None:
        """Judge a create by the slug in its response: of its own workflow, or of another."""
        example = f"createWorkflow was answered {slug!r}, which does not show the name that was sent"
        self._tallies.judge(*SLUG_OF_NAME, holds=is_own, example=example)

    def observe(
        self, name: str, response: Response, sender: Persona, body: object, *, at_unix_s: float
    ) -> None:
        """Observe the response to a request of this name, or that none came; ``body`` is None if not JSON."""
        operation, _, way = name.partition(" ")
        if operation in RUN_OPERATIONS:
            self._observe_run(response, sender, body if isinstance(body, dict) else {}, is_async=bool(way))
            if sender.role != "admin":
                self._limits.observe(name, response, sender, body, at_unix_s=at_unix_s)
        elif operation in SHOWING_STATUS and 200 <= response.status_code < 300 and isinstance(body, dict):
            self._observe_status(response, sender, body)

    def _observe_run(
        self, response: Response, sender: Persona, body: Mapping[str, Any], *, is_async: bool
    ) -> None:
        is_success = 200 <= response.status_code < 300
        if is_success or (response.status_code == 500 and body.get("code") == "EXECUTION_FAILED"):
            cost = amount_of(body.get("cost")) if is_success and not is_async else None
            told = None if cost is None else round(cost, 6)
            self.runs[ObservedRun(sender.user, _resource_in(response.url or ""), told)] += 1
        execution_id = body.get("executionId") if is_async and is_success else None
        if isinstance(execution_id, str):
            is_fresh = execution_id not in self._execution_ids
            self._tallies.judge(*FRESH_ID, holds=is_fresh, example="an executionId that was given before")
            if len(self._execution_ids) < _MOST_IDS:
                self._execution_ids.add(execution_id)
            status_told = body.get("status")
            if isinstance(status_told, str) and status_told in IN_FLIGHT:
                self._remember(execution_id, status_told)

    def _observe_status(self, response: Response, sender: Persona, body: Mapping[str, Any]) -> None:
        execution_id, status = _resource_in(response.url or "").partition("/")[2], body.get("status")
        if not isinstance(status, str) or status not in _STATUSES:
            return
        before = self._in_flight.pop(execution_id, None)
        if before is not None:
            for claim in executions.steps_are_documented((before, status)):
                self._tallies.claim(executions.edges, claim, about=execution_id)
        if status in FINAL:
            self._keep_some(Ended(sender.user, execution_id, status))
        else:
            self._remember(execution_id, status)

    def _remember(self, execution_id: str, status: str) -> None:
        if len(self._in_flight) >= _MOST_IN_FLIGHT:  # the oldest is no longer polled
            del self._in_flight[next(iter(self._in_flight))]
        self._in_flight[execution_id] = status

    def _keep_some(self, ended: Ended) -> None:
        self._ended += 1
        if len(self.ended) < _MOST_ENDED:
            self.ended.append(ended)
        elif (place := self._chance.randrange(self._ended)) < _MOST_ENDED:
            self.ended[place] = ended


@lru_cache(maxsize=256)
def _resource_in(url: str) -> str:
    found = _RESOURCE.search(url)
    return f"{found[1]}/{found[2]}" if found else ""
