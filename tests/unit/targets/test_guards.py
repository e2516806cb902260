"""A forbidden request is not sent, and the message says how to allow it."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.contract.effects import effect_of
from knouds_harness.contract.operations import Action
from knouds_harness.errors import GuardStop, NotSent
from knouds_harness.targets.guards import Guard, Pacer, check_load
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Limits


def target(base_url: str = "https://staging.example.com", *, production: bool = False, **limits) -> Target:
    return Target(
        name="staging",
        base_url=base_url,
        production=production,
        limits=Limits(**limits),
        source=Path("targets/staging.toml"),
    )


def check(guard: Guard, method: str, path: str, *, host: str = "staging.example.com", **sent: Any) -> None:
    effect = effect_of(method, path, sent.pop("headers", ()))
    guard.check(effect, host=host, what=f"{method} {path}", **{"is_deliberate": False, **sent})


@pytest.mark.parametrize(
    "base_url", ["https://knouds.ai", "https://KNOUDS.ai", "https://knouds.ai.", "https://www.knouds.ai/x"]
)
def test_public_service_is_refused_unless_the_profile_agrees(base_url: str):
    """However its URL is written, and whatever the command line says."""
    with pytest.raises(GuardStop, match="is the production service"):
        Guard(target(base_url), yes_production=True)


def test_production_needs_the_profile_and_the_command_line():
    service = target("https://knouds.ai", production=True)

    with pytest.raises(GuardStop, match="Pass --yes-production"):
        Guard(service)
    Guard(service, yes_production=True)


def test_other_host_is_refused():
    with pytest.raises(
        GuardStop, match=r"goes to evil\.example, but the profile allows only staging\.example\.com"
    ):
        check(Guard(target()), "GET", "/api/whoami", host="evil.example")


@pytest.mark.parametrize(
    ("action", "method", "path"),
    [
        (Action.WRITE, "DELETE", "/api/workflows/portrait"),
        (Action.RUN, "POST", "/api/workflows/portrait/run"),
        (Action.CANCEL, "POST", "/api/executions/1/cancel"),
    ],
)
def test_action_outside_the_limits_is_refused(action: Action, method: str, path: str):
    with pytest.raises(GuardStop, match=f'Add "{action}" to limits.allow in targets/staging.toml'):
        check(Guard(target()), method, path)


EVERYTHING = frozenset(Action)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("DELETE", "/api/account", ()),
        ("DELETE", "/api//workflows/portrait", ()),
        ("GET", "/api/admin", ()),
        ("GET", "/api/whoami?_method=DELETE", ()),
        ("GET", "/api/whoami", (("X-HTTP-Method-Override", "DELETE"),)),
        ("GET", "/api/whoami", (("x_original_url", "/api/account"),)),
    ],
)
def test_undocumented_request_is_sent_only_deliberately(method: str, path: str, headers):
    """Whatever the profile allows."""
    guard = Guard(target(allow=EVERYTHING))

    with pytest.raises(NotSent, match="not exactly a request of the document"):
        check(guard, method, path, headers=headers)

    check(guard, method, path, headers=headers, is_deliberate=True)


@pytest.mark.parametrize(
    "name", ["Host", "forwarded", "X_Forwarded_Host", "Transfer-Encoding", "content-length"]
)
def test_header_that_may_hide_another_request_is_never_sent(name: str):
    """Not even deliberately."""
    with pytest.raises(NotSent, match="hide a second request"):
        check(
            Guard(target(allow=EVERYTHING)), "GET", "/api/whoami", headers=((name, "1"),), is_deliberate=True
        )


def test_run_beyond_the_budget_is_refused():
    guard = Guard(target(credits=5, allow=frozenset({Action.RUN})))

    with pytest.raises(
        GuardStop, match=r"may cost 6 credits, but only 5 of 5 are left\n  Raise limits\.credits in targets"
    ):
        guard.admit(is_run=True, cost_credits=6, what="POST /api/x")


def test_request_interrupted_before_its_turn_spends_nothing():
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    guard = Guard(target(credits=5, requests_per_s=1, allow=frozenset({Action.RUN})), sleep=interrupt)
    guard.budget.settle(guard.admit(is_run=True, cost_credits=5, what="POST /api/x"), 0)

    with pytest.raises(KeyboardInterrupt):
        guard.admit(is_run=True, cost_credits=5, what="POST /api/x")

    assert guard.budget.left_credits == 5


@given(rate=st.floats(0.5, 100), pauses=st.lists(st.floats(0, 3), max_size=30))
def test_starts_are_never_closer_than_the_rate_allows(rate: float, pauses: list[float]):
    """However unevenly requests come."""
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


@given(
    rate=st.integers(1, 500),
    pauses_by_sharer=st.lists(st.lists(st.floats(0, 3), min_size=1, max_size=60), min_size=1, max_size=12),
)
def test_shared_rate_holds_over_all_processes(rate, pauses_by_sharer):
    """Whatever pauses each makes, no interval has more than two starts beyond the rate."""
    starts = []
    for index, pauses in enumerate(pauses_by_sharer):
        clock = Clock(1000.0)
        pacer = Pacer(rate, clock=clock, sleep=clock.sleep)
        pacer.take_turns(index=index, sharers=len(pauses_by_sharer), since=997.3)
        for pause in pauses:
            clock.sleep(pause / rate)
            pacer.wait()
            starts.append(clock())
    starts.sort()

    for first, start in enumerate(starts):
        for last in range(first, len(starts)):
            assert last - first + 1 <= rate * (starts[last] - start) + 2 + 1e-6


def test_turn_can_be_used_after_its_beginning():
    """An arrival a little after its instant need not wait for the next turn."""
    clock = Clock(1000.0)
    pacer = Pacer(10, clock=clock, sleep=clock.sleep)
    pacer.take_turns(index=1, sharers=4, since=1000.0)

    waits = []
    for due in (1000.15, 1000.55, 1000.61):
        clock.now_s = due
        pacer.wait()
        waits.append(clock() - due)

    assert waits == pytest.approx([0, 0, 0.29])


def test_load_on_another_machine_needs_agreement():
    staging, here = target(concurrency=50), target("http://127.0.0.1:1", concurrency=2)

    with pytest.raises(GuardStop, match="is another machine"):
        check_load(staging, starts_per_s=1, in_flight=1, yes=False)
    check_load(staging, starts_per_s=1, in_flight=50, yes=True)
    check_load(here, starts_per_s=5000, in_flight=1000, yes=False)


@pytest.mark.parametrize(
    ("starts_per_s", "in_flight", "says"),
    [
        (1, 51, "51 users: the profile allows 50 requests in flight"),
        (20, 1, "20 arrivals per second: the profile allows 10"),
    ],
)
def test_load_beyond_a_limit_of_the_profile_is_refused(starts_per_s, in_flight, says):
    limited = target(concurrency=50, requests_per_s=10)

    with pytest.raises(GuardStop, match=says):
        check_load(limited, starts_per_s=starts_per_s, in_flight=in_flight, yes=True)
