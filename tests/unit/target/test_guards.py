"""What is not allowed is not sent, and the message says how to allow it."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, GuardStop
from knouds_harness.target.guards import Guard, Pacer
from knouds_harness.target.limits import Limits
from knouds_harness.target.profile import Target


def target(base_url: str = "https://staging.example.com", *, production: bool = False, **limits) -> Target:
    return Target(
        name="staging",
        base_url=base_url,
        production=production,
        limits=Limits(**limits),
        source=Path("targets/staging.toml"),
    )


def admit(guard: Guard, *, action: Action = Action.READ, host: str = "staging.example.com", cost: float = 0):
    return guard.admit(action=action, host=host, cost_credits=cost, what="POST /api/x")


@pytest.mark.parametrize(
    "base_url", ["https://knouds.ai", "https://KNOUDS.ai", "https://knouds.ai.", "https://www.knouds.ai/x"]
)
def test_public_service_is_refused_unless_the_profile_agrees(base_url: str):
    """However it is spelt, and whatever the command line says."""
    with pytest.raises(GuardStop, match="is the production service"):
        Guard(target(base_url), yes_production=True)


def test_production_is_refused_unless_the_command_line_agrees():
    """The profile alone is not enough."""
    with pytest.raises(GuardStop, match="Pass --yes-production"):
        Guard(target("https://knouds.ai", production=True))


def test_production_runs_where_both_agree():
    """Profile and command line together open the door."""
    Guard(target("https://knouds.ai", production=True), yes_production=True)


def test_guard_stop_has_its_own_exit_code():
    """A guard ends the command with 4."""
    assert GuardStop.exit_code == ExitCode.GUARD


def test_other_host_is_refused():
    """Only the profile's own host gets requests."""
    with pytest.raises(
        GuardStop, match=r"goes to evil\.example, and the profile allows staging\.example\.com"
    ):
        admit(Guard(target()), host="evil.example")


@pytest.mark.parametrize("action", [Action.WRITE, Action.RUN, Action.CANCEL])
def test_action_outside_the_limits_is_refused(action: Action):
    """What limits.allow leaves out is not sent."""
    with pytest.raises(GuardStop, match=f'Add "{action}" to limits.allow in targets/staging.toml'):
        admit(Guard(target()), action=action)


def test_run_beyond_the_budget_is_refused():
    """A run that may cost more than is left is not sent."""
    guard = Guard(target(credits=5, allow=frozenset({Action.RUN})))

    with pytest.raises(
        GuardStop, match=r"may cost 6 credits, and 5 of 5 are left\n  Raise limits\.credits in targets"
    ):
        admit(guard, action=Action.RUN, cost=6)


@given(rate=st.floats(0.5, 100), pauses=st.lists(st.floats(0, 3), max_size=30))
def test_no_second_sees_more_than_its_share(rate: float, pauses: list[float]):
    """However unevenly requests come, two starts are never closer than the rate allows."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    pacer = Pacer(rate, clock=lambda: now, sleep=sleep)
    starts = []
    for pause in pauses:
        now += pause
        pacer.wait()
        starts.append(now)

    assert all(later - earlier >= 1 / rate - 1e-9 for earlier, later in pairwise(starts))


def test_unbounded_rate_never_waits():
    """Without requests_per_s nothing sleeps."""

    def sleep(seconds: float) -> None:
        raise AssertionError(seconds)

    pacer = Pacer(None, sleep=sleep)
    for _ in range(100):
        pacer.wait()


def test_pace_that_is_changed_holds_for_who_waits_already():
    """A worker that gets a smaller share keeps it from the next request on."""
    now = 1000.0
    starts = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    pacer = Pacer(10, clock=lambda: now, sleep=sleep)
    for number in range(4):
        pacer.wait()
        starts.append(now)
        if number == 1:
            pacer.change(2)

    assert [later - earlier for earlier, later in pairwise(starts)] == pytest.approx([0.1, 0.1, 0.5])


def test_delayed_pace_begins_later():
    """So that those who share a pace take turns."""
    now = 1000.0
    waits: list[float] = []
    pacer = Pacer(None, clock=lambda: now, sleep=waits.append)

    pacer.change(10, delay_s=0.3)
    pacer.wait()

    assert waits == pytest.approx([0.3])
