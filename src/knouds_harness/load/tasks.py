"""The tasks that users do: functions for the ``tasks`` of a scenario."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import gevent

from knouds_harness.errors import UnknownName, UsageError
from knouds_harness.exchange.evidence import is_final
from knouds_harness.load.client.response import Response
from knouds_harness.load.collection import metrics
from knouds_harness.load.invariants.verification import parsed
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.workload.accounts import RunRequest
from knouds_harness.load.workload.workload import Task, takes
from knouds_harness.targets.needs import MAY_READ
from knouds_harness.targets.needs.keys import ANY_KEY, EXECUTION_CANCELLER, EXECUTION_READER, READER, WRITER
from knouds_harness.targets.needs.runs import ASYNC_CALL, CHEAPEST_CALL, MODEL_CALL, WORKFLOW_CALL
from knouds_harness.targets.needs.workflows import ANY_WORKFLOW

_ACCEPTED: Final = (200, 202)
_LEADS_NOWHERE_ELSE: Final = re.compile(r"[\w~-][\w.~-]*", re.ASCII)
"""Ids that can stand in a path; ``../workflows/x/run?`` would make a cancel a run."""
_FIRST_POLL_S: Final = 0.1
_SLOWER: Final = 1.5
_LONGEST_PAUSE_S: Final = 5.0
_DEADLINE_S: Final = 120.0


# --- reads


@takes(MAY_READ, ANY_KEY)
def who_am_i(user: ScenarioUser) -> None:
    """Ask for the account."""
    user.call("getWhoami", "/api/whoami")


@takes(MAY_READ, READER)
def list_workflows(user: ScenarioUser) -> None:
    """List the workflows."""
    user.call("listWorkflows", "/api/workflows")


@takes(MAY_READ, READER, ANY_WORKFLOW)
def read_schema(user: ScenarioUser) -> None:
    """Ask for the fields of one of the account's workflows."""
    user.call("getWorkflowSchema", f"/api/workflows/{user.chance.choice(user.account.own_slugs)}/schema")


@takes(MAY_READ, ANY_KEY)
def list_usage(user: ScenarioUser) -> None:
    """List usage."""
    user.call("listUsage", "/api/usage", params={"limit": 20})


@takes(MAY_READ)
def read_pricing(user: ScenarioUser) -> None:
    """Ask for prices, without a key."""
    user.call("getPublicPricing", "/api/pricing/public", is_public=True)


@takes(MAY_READ)
def read_health(user: ScenarioUser) -> None:
    """Ask whether the server is up, without a key."""
    user.call("getHealth", "/api/health", is_public=True)


# --- runs


@takes(WORKFLOW_CALL)
def run_workflow(user: ScenarioUser) -> None:
    """Run one of the account's workflows, and wait for the result."""
    user.send_run(user.choose(WORKFLOW_CALL))


@takes(MODEL_CALL)
def run_model(user: ScenarioUser) -> None:
    """Run a model, and wait for the result."""
    user.send_run(user.choose(MODEL_CALL))


@takes(CHEAPEST_CALL)
def run_cheapest(user: ScenarioUser) -> None:
    """Run what costs least: a workflow of the account, or else a model."""
    user.send_run(user.choose(CHEAPEST_CALL))


@takes(MAY_READ, EXECUTION_READER, ASYNC_CALL)
def follow_run(user: ScenarioUser) -> None:
    """Submit a run, and poll until it has ended."""
    _follow(user, user.choose(ASYNC_CALL), cancel_after_s=None)


@takes(MAY_READ, EXECUTION_READER, EXECUTION_CANCELLER, ASYNC_CALL)
def cancel_run(user: ScenarioUser) -> None:
    """Submit a run, cancel it while it is in flight, and poll until it has ended."""
    _follow(user, user.choose(ASYNC_CALL), cancel_after_s=user.chance.uniform(0.0, 0.5))


def _follow(user: ScenarioUser, run_request: RunRequest, *, cancel_after_s: float | None) -> None:
    submitted_s = time.perf_counter()
    submitted = user.send_run(run_request, asynchronous=True)
    execution_id = _member(submitted, "executionId") if submitted.status_code in _ACCEPTED else None
    if not (isinstance(execution_id, str) and _LEADS_NOWHERE_ELSE.fullmatch(execution_id)):
        return
    user.load_run.note_cycle(metrics.ACCEPT, submitted.elapsed_ms)
    path = f"/api/executions/{execution_id}"
    if cancel_after_s is not None:
        gevent.sleep(cancel_after_s)
        user.call(
            "cancelExecution",
            f"{path}/cancel",
            method="POST",
            expected=(200, 202, 400, 409),  # the last two if the run has ended meanwhile
            runner=run_request.persona,
        )
    deadline_s = submitted_s + (run_request.deadline_s or _DEADLINE_S)
    seen_in_flight_s = submitted_s
    pause_s = _FIRST_POLL_S
    for polls in itertools.count(1):
        gevent.sleep(pause_s * user.chance.uniform(0.8, 1.2))  # not all at once
        pause_s = min(pause_s * _SLOWER, _LONGEST_PAUSE_S)
        asked_s = time.perf_counter()
        status = _member(user.call("getExecution", path, runner=run_request.persona), "status")
        now_s = time.perf_counter()
        if is_final(status):
            user.load_run.note_cycle(metrics.FINAL + status, (now_s - submitted_s) * 1e3)
            user.load_run.note_cycle(metrics.UNSEEN, (now_s - seen_in_flight_s) * 1e3)
            user.load_run.note_cycle(metrics.POLLS, polls)
            return
        seen_in_flight_s = asked_s
        if now_s >= deadline_s:
            user.load_run.note_cycle(metrics.FINAL + metrics.UNFINISHED, 0.0)
            return


# --- workflows

_NUMBERS = itertools.count()
_DOCUMENT: Final[dict[str, Any]] = {
    "description": "Made by a load test, and deleted again.",
    "tags": ["harness"],
    "nodes": [
        {"id": "in", "type": "requestInput", "position": {"x": 0, "y": 0}, "data": {"fields": []}},
        {"id": "out", "type": "responseOutput", "position": {"x": 320, "y": 0}, "data": {}},
    ],
    "edges": [{"id": "e1", "source": "in", "target": "out", "sourceHandle": "out", "targetHandle": "in"}],
    "viewport": {"x": 0, "y": 0, "zoom": 1},
}


@takes(MAY_READ, READER, WRITER)
def workflow_crud(user: ScenarioUser) -> None:
    """Create a workflow, change it, read it, move it, and delete it again."""
    name = user.workflow_name(f"load {os.getpid()} {next(_NUMBERS)}")
    created = user.call(
        "createWorkflow",
        "/api/workflows",
        method="POST",
        json={"name": name, **_DOCUMENT},
        expected=(200, 201),
    )
    slug = _member(created, "slug")
    if not isinstance(slug, str) or not user.load_run.created.may_write(slug):
        return
    path = f"/api/workflows/{quote(slug, safe='')}"  # a slug may hold any characters
    try:
        change = {"description": "Changed by a load test."}
        user.call("updateWorkflow", path, method="PUT", json=change, expected=range(200, 300))
        user.call("getWorkflow", path)
        user.call(
            "moveWorkflow", f"{path}/move", method="PUT", json={"folderId": None}, expected=range(200, 300)
        )
    finally:
        user.call("deleteWorkflow", path, method="DELETE", expected=range(200, 300))


def _member(response: Response, name: str) -> Any:  # noqa: ANN401 - JSON
    body = parsed(response)
    return body.get(name) if isinstance(body, dict) else None


# --- a mix of them in place of the scenario's

TASK_BY_NAME: Final[Mapping[str, Task]] = {
    "whoami": who_am_i,
    "list": list_workflows,
    "schema": read_schema,
    "usage": list_usage,
    "pricing": read_pricing,
    "health": read_health,
    "run": run_workflow,
    "model": run_model,
    "follow": follow_run,
    "cancel": cancel_run,
    "crud": workflow_crud,
}
_MOST_WEIGHT: Final = 1000


def tasks_of(mix: str) -> list[Task]:
    """Parse a mix such as ``run=3,whoami=1`` to what Locust expects in ``tasks``."""
    found: list[Task] = []
    for part in mix.split(","):
        name, _, weight = part.strip().partition("=")
        if name not in TASK_BY_NAME:
            raise UsageError(f"--mix {mix}: {UnknownName('task', name, TASK_BY_NAME)}")
        if not (weight.isascii() and weight.isdigit() and 1 <= int(weight) <= _MOST_WEIGHT):
            raise UsageError(
                f"--mix {mix}: {weight or 'nothing'!r} is not how often {name} comes\n"
                f"  Write a whole number from 1 to {_MOST_WEIGHT:,}: {name}=3"
            )
        found += [TASK_BY_NAME[name]] * int(weight)
    return found
