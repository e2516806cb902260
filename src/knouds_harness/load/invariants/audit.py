"""Checks after the load: whether ended executions keep their status, and each run has a row in usage.

Sends reads only. Others may use the accounts meanwhile: rows of other clients break nothing.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import gevent

from knouds_harness.errors import HarnessError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Request, status_in
from knouds_harness.exchange.pricing import amount_of
from knouds_harness.exchange.usage import await_usage, usage_rows
from knouds_harness.judging.checks import executions
from knouds_harness.load.invariants.observations import Ended, Observations, ObservedRun
from knouds_harness.load.invariants.tallies import HAS_A_ROW, IS_CHARGED, Tallies
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Persona

_PAGE_ROWS: Final = 500
_MOST_ROWS: Final = 100_000
_USAGE_WAIT_S: Final = 5.0
_MOST_TIME_S: Final = 30.0


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
    """Reads the accounts that a load run uses, with a key of each, before and after the load."""

    def __init__(self, target: Target, personas: Iterable[Persona], *, yes_production: bool) -> None:
        self._target = target
        self._persona_by_user = {persona.user: persona for persona in personas}
        self._yes_production = yes_production
        self._rows_before: dict[str, UsageRows] = {}

    def before(self) -> None:
        with self._client() as client:
            for user, persona in self._persona_by_user.items():
                rows = _rows_since(client, persona, known=())
                if rows is not None:
                    self._rows_before[user] = rows

    def after(self, observations: Observations, tallies: Tallies) -> Iterator[str]:
        """Judge what was observed; yield a sentence for each part that could not be checked."""
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
            if time.monotonic() > deadline_s:
                return
            persona = self._persona_by_user.get(each.user)
            if persona is None:
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
            before, rows = self._rows_before.get(user), None
            if before is not None:
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
    runs_by_resource: Counter[str] = Counter()
    for run, count in runs.items():
        runs_by_resource[run.resource] += count
    for resource, count in runs_by_resource.items():
        rows = costs.get(resource, Counter())
        lacking = max(0, count - rows.total())
        tallies.see(*HAS_A_ROW, count)
        if lacking:
            example = f"{resource}: {count} runs, {rows.total()} rows"
            tallies.break_(*HAS_A_ROW, count=lacking, example=example)
        # A run whose cost is 0 was free, or paid by a trial grant, whose rows no source describes.
        paid = [(run, each) for run, each in runs.items() if run.resource == resource and run.cost_credits]
        unlike = [(run, each - rows[run.cost_credits or 0.0]) for run, each in paid]
        unlike = [(run, excess) for run, excess in unlike if excess > 0]
        tallies.see(*IS_CHARGED, sum(each for _, each in paid))
        uncharged = sum(excess for _, excess in unlike) - lacking  # a run without a row is counted above
        if uncharged > 0:
            run, excess = unlike[0]
            example = f"{resource}: {excess} more runs than rows cost {run.cost_credits:g}"
            tallies.break_(*IS_CHARGED, count=uncharged, example=example)


def _rows_since(client: Client, persona: Persona, *, known: Collection[str]) -> UsageRows | None:
    """Return all rows that are not known; None if usage cannot be read, or is too long."""
    rows = UsageRows()
    for offset in range(0, _MOST_ROWS, _PAGE_ROWS):
        shown = usage_rows(client.send, persona, limit=_PAGE_ROWS, offset=offset)
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
