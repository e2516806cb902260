"""What the responses of a load say of runs, executions and deliveries.

Memory is bounded: of what grows with the length of a run, only a share is followed.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from knouds_harness.contract.capabilities import UNLIMITED
from knouds_harness.contract.operations import RUN_OPERATIONS
from knouds_harness.exchange.execution_status import FINAL, IN_FLIGHT
from knouds_harness.judging.checks import executions, webhooks
from knouds_harness.load.client.response import Response
from knouds_harness.load.invariants.rate_limits import RateLimits
from knouds_harness.load.invariants.tallies import FRESH_ID, NEVER_THROTTLED, SLUG_OF_NAME, Tallies
from knouds_harness.targets.personas import Persona

SHOWING_STATUS: Final = ("getExecution", "cancelExecution")
_STATUSES: Final = IN_FLIGHT | FINAL
_RESOURCE: Final = re.compile(r"/api/(workflows|models|executions)/([^/?]+)")
_MOST_IDS: Final = 200_000
_MOST_IN_FLIGHT: Final = 100_000
_MOST_ENDED: Final = 100
_MOST_CREDITS: Final = 1e15
"""Larger amounts are ignored: sums would lose digits, or overflow."""


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


class IdCounts:
    """Counts ids: all or, to bound memory, a share.

    The hash of an id decides whether it is in the share, so every time that such an id comes counts.
    """

    def __init__(self, *, most: int = _MOST_IDS) -> None:
        self._most = most
        self._mask = 0
        self._counts: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, each: str) -> int | None:
        """Count an id; return how often it has come, or None if it is not in the share."""
        number = hash(each)
        if number & self._mask:
            return None
        count = self._counts[number] = self._counts.get(number, 0) + 1
        while len(self._counts) > self._most:
            self._mask = self._mask * 2 + 1
            self._counts = {each: times for each, times in self._counts.items() if not each & self._mask}
        return count

    def counts_of(self, others: Iterable[int]) -> list[int]:
        """Return how often each of other ids came, of those in the share."""
        return [self._counts.get(each, 0) for each in others if not each & self._mask]

    def __iter__(self) -> Iterator[int]:
        return iter(self._counts)


class DeliveryCounts:
    """Which executions must be delivered, and how often each was."""

    def __init__(self, *, most: int = _MOST_IDS) -> None:
        self.is_reached = False
        """Whether any delivery came at all."""
        self._expected = IdCounts(most=most)
        self._came = IdCounts(most=most)

    def expect(self, execution_id: str) -> None:
        """Expect the delivery of an execution that has ended."""
        self._expected.add(execution_id)

    def take(self, execution_id: str) -> None:
        self.is_reached = True
        self._came.add(execution_id)

    @property
    def are_all_here(self) -> bool:
        """Whether each expected execution was delivered."""
        return all(self._came.counts_of(self._expected))

    def judge(self, tallies: Tallies) -> None:
        for taken, count in Counter(self._came.counts_of(self._expected)).items():
            tallies.claim(webhooks.one_each, webhooks.is_one(taken), about="an execution", count=count)


class Observations:
    """Reads responses as they come.

    Attributes:
        ended: A random sample of the executions whose end was seen.
    """

    def __init__(self, tallies: Tallies, limits: RateLimits, *, chance: random.Random) -> None:
        self.runs: Counter[ObservedRun] = Counter()
        self.ended: list[Ended] = []
        self.deliveries = DeliveryCounts()
        self._tallies = tallies
        self._limits = limits
        self._chance = chance
        self._ended = 0
        self._execution_ids = IdCounts()
        self._in_flight: dict[str, str] = {}
        self._plain_runs: dict[tuple[str, str, float], int] = {}
        self._unlimited = 0

    def observe_create(self, slug: str, *, is_own: bool) -> None:
        """Judge a create by the slug in its response: of its own workflow, or of another."""
        example = f"createWorkflow was answered {slug!r}, which does not show the name that was sent"
        self._tallies.judge(*SLUG_OF_NAME, holds=is_own, example=example)

    def add_up(self) -> None:
        """Count the plain runs since the last call."""
        for (user, url, cost_credits), count in self._plain_runs.items():
            self.runs[ObservedRun(user, _resource_in(url), round(cost_credits, 6))] += count
        if self._unlimited:
            self._tallies.see(*NEVER_THROTTLED, self._unlimited)
        self._plain_runs, self._unlimited = {}, 0

    def observe(
        self, name: str, response: Response, sender: Persona, body: object, *, at_unix_s: float
    ) -> None:
        """Observe the response to a request of this name, or that none came; ``body`` is None if not JSON."""
        if response.status_code == 200 and sender.tier == UNLIMITED and name in RUN_OPERATIONS:
            cost = body.get("cost") if isinstance(body, dict) else None
            # The usual case, in a fifth of the time; the bounds refuse not-a-number.
            if (type(cost) is int or type(cost) is float) and 0 <= cost < _MOST_CREDITS:
                run = sender.user, response.url, cost
                self._plain_runs[run] = self._plain_runs.get(run, 0) + 1
                self._unlimited += sender.role != "admin"
                return
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
            cost = _amount(body.get("cost")) if is_success and not is_async else None
            self.runs[ObservedRun(sender.user, _resource_in(response.url or ""), cost)] += 1
        execution_id = body.get("executionId") if is_async and is_success else None
        if isinstance(execution_id, str):
            times = self._execution_ids.add(execution_id)
            if times is not None:
                self._tallies.judge(
                    *FRESH_ID, holds=times == 1, example="an executionId that was given before"
                )
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
            if sender.webhook and sender.holds("webhook:receive"):
                self.deliveries.expect(execution_id)
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


def _amount(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < _MOST_CREDITS:
        return None
    return round(float(value), 6)
