"""Keys whose asynchronous runs never end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from example_targets import make_target
from exchanges import exchange

from knouds_harness.exchange.evidence import Request
from knouds_harness.suite.preceding_requests import PrecedingRequests
from knouds_harness.suite.request_failures import never_ending
from knouds_harness.targets.resources import Model

START = datetime(2026, 11, 26, tzinfo=UTC)
TARGET = replace(make_target(), models={"slow": Model(name="slow", deadline_s=30)})


def sent(operation_id, body, *, after_s=0.0, values, persona="full"):
    request = Request(
        method="POST",
        path="/api/models/slow/run",
        operation_id=operation_id,
        persona=persona,
        path_values=values,
    )
    return replace(exchange(200, body), request=request, started_at=START + timedelta(seconds=after_s))


def submit(execution_id):
    return sent("runModel", {"executionId": execution_id}, values={"internalName": "slow"})


def poll(status, after_s, execution_id="e-1"):
    return sent("getExecution", {"status": status}, after_s=after_s, values={"id": execution_id})


LATE = poll("processing", 31)


@pytest.mark.parametrize(
    ("polls", "is_endless"),
    [
        pytest.param([], False, id="never polled"),
        pytest.param([poll("processing", 29)], False, id="not yet over"),
        pytest.param([poll("processing", 30)], True, id="in flight after its deadline"),
        pytest.param([LATE, poll("completed", 40)], False, id="late"),
        pytest.param([poll("cancelled", 2)], False, id="cancelled"),
        pytest.param([LATE, poll("cancelled", 32)], True, id="ended only by the cancel"),
        pytest.param([LATE, submit("e-2"), poll("completed", 5, "e-2")], False, id="another one ended"),
    ],
)
def test_key_whose_runs_never_end_is_named(polls, is_endless):
    """If another run of its account ends, the checks judge the one that did not."""
    steps = PrecedingRequests()
    for each in (submit("e-1"), *polls):
        steps.note(each)

    assert never_ending(steps.executions, TARGET) == (("full",) if is_endless else ())
