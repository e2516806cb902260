"""Executions are polled until they end, and no longer."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from recorded import recording

from knouds_harness.conformance.statuses import statuses_in
from knouds_harness.conformance.trails import Executions, Trail
from knouds_harness.target.resources import Model

SUBMITTED = recording("runModel-202-accepted").exchange
POLL = recording("getExecution-200-processing").exchange


def shown(status):
    """The recorded poll, showing another status."""
    return replace(POLL, body=json.dumps({**POLL.json(), "status": status}).encode())


def following(answers, *, deadline_s=30.0):
    """Executions of a target that answers so, a trail that begins with a submit, and what was waited."""
    script = iter(answers)
    waits: list[float] = []
    probe: Any = SimpleNamespace(
        send=lambda *_: next(script), need=lambda _: None, wait=waits.append, target=None
    )
    subjects: Any = SimpleNamespace(execution_id_of=lambda _: "e-1")
    trail = Trail(resource=Model(name="suno-v5", deadline_s=deadline_s), exchanges=(SUBMITTED,))
    return Executions(probe, subjects), trail, waits


@pytest.mark.parametrize("last", ["completed", "failed", "cancelled", "done", None])
def test_polling_stops_at_once_where_nothing_is_in_flight(last):
    """On the right end, the wrong one, or what is no documented status."""
    executions, trail, _ = following([shown("processing"), shown("cancel_requested"), shown(last)])

    trail = executions.to_end(trail)

    assert len(trail.exchanges) == 4
    assert trail.ending == (last if last in ("completed", "failed", "cancelled") else None)


def test_polling_stops_where_the_execution_is_gone():
    """A refusal shows no execution in flight."""
    executions, trail, waits = following([recording("getExecution-404-unknown").exchange])

    assert executions.to_end(trail).ending is None
    assert waits == []


def test_polling_stops_at_the_deadline():
    """Of the profile, with longer and longer pauses."""
    executions, trail, waits = following([shown("processing")] * 100, deadline_s=10.0)

    trail = executions.to_end(trail)

    assert statuses_in(trail.exchanges)[-1] == "processing"
    assert 10.0 <= sum(waits) < 12.0
    assert waits == sorted(waits)


def test_watching_leaves_an_execution_alone_once_it_has_changed():
    """One changed status is proof enough."""
    executions, trail, _ = following([shown("completed"), shown("completed"), shown("failed")])
    ended = executions.to_end(trail)

    (watched,) = executions.watched([ended])

    assert statuses_in(watched.exchanges) == ["processing", "completed", "completed", "failed"]
    assert watched.request_id == SUBMITTED.json()["requestId"]
