"""What the responses of a load say of runs and executions, and whether the accounts show it after the load.

Memory is bounded: of what grows with the length of a run, the first are remembered.
"""

import random
import re
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

import gevent

from knouds_harness.contract.operations import FINAL, IN_FLIGHT, RUN_OPERATIONS
from knouds_harness.errors import HarnessError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Request, status_in
from knouds_harness.exchange.pricing import amount_of
from knouds_harness.exchange.usage import await_usage, rows_in, usage_request
from knouds_harness.judging.checks import executions
from knouds_harness.load.client.response import Response
from knouds_harness.load.invariants.rate_limits import RateLimits
from knouds_harness.load.invariants.tallies import FRESH_ID, HAS_A_ROW, IS_CHARGED, SLUG_OF_NAME, Tallies
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Persona

SHOWING_STATUS: Final = ("getExecution", "cancelExecution")
_RESOURCE: Final = re.compile(r"/api/(workflows|models|executions)/([^/?]+)")
_MOST_IDS: Final = 200_000
_MOST_IN_FLIGHT: Final = 100_000
_MOST_ENDED: Final = 100
_PAGE_ROWS: Final = 500
_MOST_ROWS: Final = 100_000
_USAGE_WAIT_S: Final = 5.0
_MOST_TIME_S: Final = 30.0


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
        is_success = 200 <= response.status_code < 300
        if operation in RUN_OPERATIONS:
            self._observe_run(response, sender, body if isinstance(body, dict) else {}, is_async=bool(way))
            if sender.role != "admin":
                self._limits.observe(name, response, sender, body, at_unix_s=at_unix_s)
        elif operation in SHOWING_STATUS and is_success and isinstance(body, dict):
            self._observe_status(response, sender, body.get("status"))

    def _observe_run(
        self, response: Response, sender: Persona, body: Mapping[str, Any], *, is_async: bool
    ) -> None:
        is_success = 200 <= response.status_code < 300
        if is_success or (response.status_code == 500 and body.get("code") == "EXECUTION_FAILED"):
            cost = amount_of(body.get("cost")) if is_success and not is_async else None
            told = None if cost is None else round(cost, 6)
            self.runs[ObservedRun(sender.user, _resource_in(response.url), told)] += 1
        execution_id = body.get("executionId") if is_async and is_success else None
        if isinstance(execution_id, str):
            is_fresh = execution_id not in self._execution_ids
            self._tallies.judge(*FRESH_ID, holds=is_fresh, example="an executionId that was given before")
            if len(self._execution_ids) < _MOST_IDS:
                self._execution_ids.add(execution_id)
            status = body.get("status")
            if isinstance(status, str) and status in IN_FLIGHT:
                self._remember(execution_id, status)

    def _observe_status(self, response: Response, sender: Persona, status: object) -> None:
        execution_id = _resource_in(response.url).partition("/")[2]
        if not isinstance(status, str) or status not in IN_FLIGHT | FINAL:
            return
        before = self._in_flight.pop(execution_id, None)
        if before is not None:
            for claim in executions.steps_are_documented((before, status)):
                self._tallies.claim(executions.edges, claim, about=execution_id)
        if status in IN_FLIGHT:
            self._remember(execution_id, status)
            return
        self._ended += 1
        ended = Ended(sender.user, execution_id, status)
        if len(self.ended) < _MOST_ENDED:
            self.ended.append(ended)
        elif (place := self._chance.randrange(self._ended)) < _MOST_ENDED:  # each is kept with equal chance
            self.ended[place] = ended

    def _remember(self, execution_id: str, status: str) -> None:
        if len(self._in_flight) >= _MOST_IN_FLIGHT:  # the oldest is no longer polled
            del self._in_flight[next(iter(self._in_flight))]
        self._in_flight[execution_id] = status


@lru_cache(maxsize=256)
def _resource_in(url: str) -> str:
    found = _RESOURCE.search(url)
    return f"{found[1]}/{found[2]}" if found else ""


@dataclass(kw_only=True)
class UsageRows:
    """Rows of an account's usage: their ids, and how many have each cost, by resource."""

    ids: set[str] = field(default_factory=set)
    costs: dict[str, Counter[float]] = field(default_factory=dict)

    def add(self, rows: Iterable[Mapping[str, Any]], *, known: Collection[str]) -> None:
        """Count rows that are not known, each once, even if several pages show it."""
        for row in rows:
            row_id = repr(row.get("id"))
            if row_id in known or row_id in self.ids:
                continue
            self.ids.add(row_id)
            cost = amount_of(row.get("creditsCost"))
            amount = -1.0 if cost is None else round(cost, 6)
            for resource in _resources(row):
                self.costs.setdefault(resource, Counter())[amount] += 1


class Audit:
    """Reads the accounts that a load run uses, with a key of each, before and after the load.

    Sends reads only. Others may use the accounts meanwhile: rows of other clients break nothing.
    """

    def __init__(self, target: Target, personas: Iterable[Persona], *, yes_production: bool) -> None:
        self._target = target
        self._persona_by_user = {persona.user: persona for persona in personas}
        self._yes_production = yes_production
        self._rows_before: dict[str, UsageRows | None] = {}

    def before(self) -> None:
        with self._client() as client:
            for user, persona in self._persona_by_user.items():
                self._rows_before[user] = _rows_since(client, persona, known=())

    def after(self, observations: Observations, tallies: Tallies) -> Iterator[str]:
        """Judge whether ended executions keep their status, and each run has a row that shows its cost.

        Yield a sentence for each part that could not be checked.
        """
        deadline_s = time.monotonic() + _MOST_TIME_S
        try:
            with self._client() as client:
                self._poll_again(client, observations.ended, tallies, deadline_s)
                yield from self._compare_usage(client, observations.runs, tallies, deadline_s)
        except HarnessError as error:
            yield f"not everything could be checked after the load: {error}"

    def _client(self) -> Client:
        return Client(target=self._target, guard=Guard(self._target, yes_production=self._yes_production))

    def _poll_again(
        self, client: Client, ended: Iterable[Ended], tallies: Tallies, deadline_s: float
    ) -> None:
        for each in ended:
            persona = self._persona_by_user.get(each.user)
            if persona is None or time.monotonic() > deadline_s:
                continue
            exchange = client.send(
                Request(
                    method="GET",
                    path=f"/api/executions/{each.execution_id}",
                    operation_id="getExecution",
                    persona=persona.name,
                    path_values={"id": each.execution_id},
                )
            )
            status = status_in(exchange)
            if status is not None:
                for claim in executions.steps_are_documented((each.status, status)):
                    tallies.claim(executions.edges, claim, about=each.execution_id)

    def _compare_usage(
        self, client: Client, of_all: Mapping[ObservedRun, int], tallies: Tallies, deadline_s: float
    ) -> Iterator[str]:
        for user, persona in self._persona_by_user.items():
            runs = {run: count for run, count in of_all.items() if run.user == user}
            if not runs:
                continue
            rows = None
            if (before := self._rows_before.get(user)) is not None:
                rows = await_usage(
                    partial(_rows_since, client, persona, known=before.ids),
                    partial(_are_enough, runs),
                    wait=gevent.sleep,
                    patience_s=max(0.0, min(_USAGE_WAIT_S, deadline_s - time.monotonic())),
                )
            if rows is None:
                yield f"usage of {user} was not compared: it is unreadable, or over {_MOST_ROWS:,} rows long"
            else:
                compare(tallies, runs, rows.costs)


def _are_enough(runs: Mapping[ObservedRun, int], rows: UsageRows | None) -> bool:
    trial = Tallies()
    if rows is not None:
        compare(trial, runs, rows.costs)
    return rows is not None and not any(each.broken for each in trial.by_promise.values())


def compare(tallies: Tallies, runs: Mapping[ObservedRun, int], costs: Mapping[str, Counter[float]]) -> None:
    """Compare the runs of one account with its rows, which ``costs`` counts by resource and cost."""
    for resource in dict.fromkeys(run.resource for run in runs):
        counts = {run.cost_credits: count for run, count in runs.items() if run.resource == resource}
        rows = costs.get(resource, Counter())
        count = sum(counts.values())
        lacking = max(0, count - rows.total())
        tallies.see(*HAS_A_ROW, count)
        if lacking:
            example = f"{resource}: {count} runs, {rows.total()} rows"
            tallies.break_(*HAS_A_ROW, count=lacking, example=example)
        # A run whose cost is 0 was free, or paid by a trial grant, whose rows no source describes.
        paid = {cost: count for cost, count in counts.items() if cost}
        unlike = {cost: count - rows[cost] for cost, count in paid.items() if count > rows[cost]}
        tallies.see(*IS_CHARGED, sum(paid.values()))
        uncharged = sum(unlike.values()) - lacking  # a run without a row is counted above
        if uncharged > 0:
            cost, excess = next(iter(unlike.items()))
            example = f"{resource}: {excess} more runs than rows cost {cost:g}"
            tallies.break_(*IS_CHARGED, count=uncharged, example=example)


def _rows_since(client: Client, persona: Persona, *, known: Collection[str]) -> UsageRows | None:
    """Return all rows that are not known; None if usage cannot be read, or is too long."""
    rows = UsageRows()
    for offset in range(0, _MOST_ROWS, _PAGE_ROWS):
        shown = rows_in(client.send(usage_request(persona, limit=_PAGE_ROWS, offset=offset)))
        if shown is None:
            return None
        page = [row for row in shown if isinstance(row, dict)]
        rows.add(page, known=known)
        if len(page) < _PAGE_ROWS:
            return rows
    return None


def _resources(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a row is for, named as in runs: its workflow, or each of its models."""
    if isinstance(row.get("workflowSlug"), str):
        yield f"workflows/{row['workflowSlug']}"
    elif isinstance(row.get("modelIds"), list):
        yield from (f"models/{each}" for each in row["modelIds"])
