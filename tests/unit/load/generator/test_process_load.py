"""What one process sends: from when on, within which limits, and how it does."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from load_workload import options

from knouds_harness.contract.operations import Action
from knouds_harness.errors import GuardStop, UsageError
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.generator.process_load import ProcessLoad
from knouds_harness.targets.budget import Budget
from knouds_harness.targets.limits import Limits
from knouds_harness.targets.profile import Target

TARGET = Target(
    name="staging", base_url="http://127.0.0.1:1", limits=Limits(credits=10, allow=frozenset({Action.READ}))
)


def load_of(
    *arguments: str, target: Target | None = TARGET, lease: Any = None, users: int = 0
) -> ProcessLoad:
    runner: Any = SimpleNamespace(user_count=users)
    return ProcessLoad(runner, options(*arguments), target, lease=lease)


def test_arrivals_of_a_share_are_served_from_its_beginning():
    """Those of the other workers are not; one that finds nobody idle is dropped."""
    load = load_of("--rate", "20", "--duration", "1s", users=2)
    assert load.arrivals is not None

    load.begin(time.time(), Share(index=1, workers=2))

    with gevent.Timeout(10):
        while not load.arrivals.are_over:
            gevent.sleep(0.01)
    assert load.health().dropped == 10
    assert load.timer


def test_closed_model_has_no_arrivals():
    """Its users think, and send."""
    load = load_of("--users", "2")

    load.begin(time.time(), Share())

    assert (load.arrivals, load.timer) == (None, "")
    assert (load.health().handed, load.health().in_flight) == (0, 0)


def test_stop_ends_the_arrivals():
    """Whatever the schedule still holds."""
    load = load_of("--rate", "1", "--duration", "3600")
    assert load.arrivals is not None
    load.begin(time.time(), Share())

    load.stop()

    assert load.arrivals.are_over


def test_who_serves_an_arrival_is_in_flight():
    """All users but those that wait for one."""
    load = load_of("--rate", "1", users=3)
    assert load.arrivals is not None
    waiting = gevent.spawn(load.arrivals.dispatcher.await_arrival)
    gevent.sleep(0)

    assert load.health().in_flight == 2

    waiting.kill()


def test_limits_are_those_of_the_profile():
    """No more credits than it has, whatever is asked for."""
    load = load_of("--credits", "20")

    assert load.limits.budget.left_credits == 10
    with pytest.raises(GuardStop):
        load.limits.admit(Action.WRITE, what="createWorkflow")


def test_credits_of_a_worker_are_leased():
    """It has none of its own."""
    budget = Budget(3)
    lease: Any = SimpleNamespace(budget=budget)

    load = load_of(lease=lease)

    assert load.limits.budget is budget


def test_without_a_target_there_are_no_limits():
    """And nothing that could be spent."""
    load = load_of(target=None)

    assert load.health().spent_credits == 0
    with pytest.raises(UsageError, match="--target"):
        load.limits  # noqa: B018 - it raises
