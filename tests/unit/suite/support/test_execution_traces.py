"""Executions are polled until they end, and no longer."""

import json
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from recorded import recording

from knouds_harness.contract.operations import FINAL
from knouds_harness.exchange.evidence import statuses_in
from knouds_harness.suite.support.execution_traces import Executions, ExecutionTrace
from knouds_harness.suite.support.test_data import TestData
from knouds_harness.targets.resources import Model

SUBMITTED = recording("runModel-202-accepted").exchange
POLL = recording("getExecution-200-processing").exchange


def shown(status):
    return replace(POLL, body=json.dumps({**POLL.json(), "status": status}).encode())


def following(answers, *, deadline_s=30.0):
    """Return executions of a target with these responses, a trace that has a submit, and the waits."""
    script = iter(answers)
    waits: list[float] = []
    tester: Any = SimpleNamespace(
        send=lambda *_: next(script), need=lambda _: None, wait=waits.append, target=None, idle=nullcontext
    )
    reader: Any = None
    model = Model(name="suno-v5", deadline_s=deadline_s)
    trace = ExecutionTrace(reader=reader, resource=model, exchanges=(SUBMITTED,))
    return Executions(tester, TestData(tester)), trace, waits


NOT_FOUND = recording("getExecution-404-unknown").exchange


@pytest.mark.parametrize(
    ("polls", "ending"),
    [
        *(([shown("processing"), shown("cancel_requested"), shown(each)], each) for each in sorted(FINAL)),
        ([shown("processing"), shown("done")], None),
        ([shown(None)], None),
        ([NOT_FOUND], None),
    ],
)
def test_polling_stops_at_once_unless_in_flight(polls, ending):
    """At any final status, at an undocumented one, and if the execution is not found."""
    executions, trace, waits = following(polls)

    trace = executions.to_end(trace)

    assert trace.exchanges[1:] == tuple(polls)
    assert trace.ending == ending
    assert len(waits) == len(polls) - 1


def test_polling_stops_at_the_deadline():
    executions, trace, waits = following([shown("processing")] * 100, deadline_s=10.0)

    trace = executions.to_end(trace)

    assert statuses_in(trace.exchanges)[-1] == "processing"
    assert 10.0 <= sum(waits) < 12.0
    assert waits == sorted(waits)


def test_watching_stops_at_the_first_change():
    executions, trace, _ = following([shown("completed"), shown("completed"), shown("failed")])
    ended = executions.to_end(trace)

    (watched,) = executions.watch([ended])

    assert statuses_in(watched.exchanges) == ["processing", "completed", "completed", "failed"]
    assert watched.request_id == SUBMITTED.json()["requestId"]
