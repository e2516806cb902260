"""Keys whose asynchronous runs never end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from example_targets import make_target
from exchanges import exchange

from knouds_harness.exchange.evidence import Request
from knouds_harness.suite.preceding_requests import NeverEndingRuns
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


@pytest.fixture
def endless():
    """Follows one run of ``full`` that was submitted at the start."""
    found = NeverEndingRuns(TARGET)
    found.note(sent("runModel", {"executionId": "e-1"}, values={"internalName": "slow"}))
    return found


def poll(status, after_s):
    return sent("getExecution", {"status": status}, after_s=after_s, values={"id": "e-1"})


def test_run_in_flight_after_its_deadline_is_never_ending(endless):
    endless.note(poll("processing", 30))

    assert endless.personas == ("full",)


@pytest.mark.parametrize(
    "polls",
    [
        pytest.param([], id="never polled"),
        pytest.param([poll("processing", 29)], id="not yet over"),
        pytest.param([poll("processing", 31), poll("completed", 40)], id="late"),
        pytest.param([poll("cancelled", 2)], id="cancelled"),
    ],
)
def test_run_that_ends_is_not_never_ending(endless, polls):
    for each in polls:
        endless.note(each)

    assert endless.personas == ()


def test_cancelled_run_does_not_clear_its_key(endless):
    """It ended only because of the cancel."""
    endless.note(poll("processing", 31))
    endless.note(poll("cancelled", 32))

    assert endless.personas == ("full",)


def test_completed_run_clears_its_key(endless):
    """Then the checks judge the other run."""
    endless.note(poll("processing", 31))
    endless.note(sent("runModel", {"executionId": "e-2"}, values={"internalName": "slow"}))
    endless.note(sent("getExecution", {"status": "completed"}, after_s=5, values={"id": "e-2"}))

    assert endless.personas == ()
