"""What one process reads from responses, and passes on."""

import random

import pytest
from clocks import Clock
from load_workload import RESET_UNIX_S, Said, persona, polled, ran, submitted, throttled

from knouds_harness.load.invariants.invariants import (
    EDGES,
    NEVER_THROTTLED,
    SHORT_WAIT,
    TRUE_WAIT,
    LimitedRoute,
    ObservationBatch,
    ObservedRun,
)
from knouds_harness.load.invariants.observations import Observations

PRO = persona()
ROUTE = LimitedRoute("pia", "runWorkflow", "pro")


@pytest.fixture
def clock():
    return Clock(1_000.0)


@pytest.fixture
def observations(clock):
    return Observations(chance=random.Random(1), clock=clock)


def tell(observations, name, *answers, sender=PRO):
    for answer in answers:
        observations.observe(name, answer, sender, answer.body)


def tally(batch, invariant):
    found = batch.tallies.by_invariant.get(invariant)
    return (found.seen, found.broken) if found else (0, 0)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["processing", "completed"], (2, 0)),
        (["processing", "cancel_requested", "cancelled"], (3, 0)),
        (["cancel_requested", "processing"], (2, 1)),
        (["done", "completed"], (1, 0)),
    ],
    ids=["plain", "cancelled", "back", "undocumented"],
)
def test_status_of_an_execution_only_goes_forward(observations, statuses, expected):
    """From the submit on; the shapes judge an undocumented status."""
    tell(observations, "runWorkflow async", submitted())

    tell(observations, "getExecution", *map(polled, statuses))

    assert tally(observations.take(), EDGES) == expected


def test_status_that_is_not_a_string_is_ignored(observations):
    tell(observations, "runWorkflow async", Said({"executionId": "e-1", "status": ["processing"]}))
    tell(observations, "getExecution", Said({"status": {}}, path="/api/executions/e-1"))

    assert tally(observations.take(), EDGES) == (0, 0)


def test_response_to_a_cancel_counts_as_a_status(observations):
    """After ``cancel_requested``, no poll may say ``processing``."""
    tell(observations, "runWorkflow async", submitted())
    cancelled = polled("cancel_requested")
    cancelled.url += "/cancel"

    tell(observations, "cancelExecution", cancelled)
    tell(observations, "getExecution", polled("processing"))

    assert tally(observations.take(), EDGES) == (2, 1)


def test_ended_executions_are_forgotten(observations):
    """Except a few that are looked at again."""
    for number in range(50):
        tell(observations, "runWorkflow async", submitted(f"e-{number}"))
        tell(observations, "getExecution", polled("completed", f"e-{number}"))

    batch = observations.take()

    assert len(batch.execution_ids) == 50 * 8
    assert len(batch.ended) == 10
    assert observations.take() == ObservationBatch()


def test_only_keys_that_receive_deliveries_await_them(observations):
    deaf = persona(capabilities={"workflow:run"}, webhook=True)
    for sender in (PRO, deaf, persona(webhook=True)):
        tell(observations, "getExecution", polled("completed"), sender=sender)

    assert len(observations.take().awaited) == 8


def test_runs_are_counted_by_cost(observations):
    failed = Said({"error": "No.", "code": "EXECUTION_FAILED"}, status=500)
    refused = Said({"error": "No.", "code": "INSUFFICIENT_CREDITS"}, status=402)

    tell(observations, "runWorkflow", ran(99), ran(98), failed, refused)
    tell(observations, "runWorkflow async", submitted())

    assert observations.take().runs == {
        ObservedRun("pia", "workflows/portrait", 8.0): 2,
        ObservedRun("pia", "workflows/portrait", None): 2,
    }


def test_windows_are_distinguished_by_their_end(observations):
    """A second of rounding is the same window, a minute is not; a lost response may have counted."""
    lost = Said(status=0)

    tell(observations, "runWorkflow", ran(99), ran(98, reset_unix_s=RESET_UNIX_S + 1), throttled(), lost)
    tell(observations, "runWorkflow", ran(99, reset_unix_s=RESET_UNIX_S + 60))

    batch = observations.take()
    first, second = batch.windows[ROUTE]
    assert (first.remaining, first.throttled) == ({99: 1, 98: 1}, 1)
    assert (second.remaining, second.throttled) == ({99: 1}, 0)
    assert batch.unknown == {ROUTE: 1}


@pytest.mark.parametrize(
    ("waited_s", "is_same_window", "expected"), [(33, True, (1, 1)), (33, False, (1, 0)), (20, True, (0, 0))]
)
def test_waiting_for_retry_after_is_enough(observations, clock, waited_s, is_same_window, expected):
    """A refusal by the same window after that wait shows that Retry-After was wrong."""
    tell(observations, "runWorkflow", throttled(30))
    clock.now_s += waited_s

    tell(
        observations, "runWorkflow", throttled(27, reset_unix_s=RESET_UNIX_S + (0 if is_same_window else 60))
    )

    assert tally(observations.take(), TRUE_WAIT) == expected


def test_window_counts_waits_that_helped_and_that_did_not(observations, clock):
    """With the longest Retry-After."""
    tell(observations, "runWorkflow", throttled(20), throttled(30))
    told = observations.take().windows[ROUTE][0]
    clock.now_s += 25
    tell(observations, "runWorkflow", throttled(5))
    clock.now_s += 60
    tell(observations, "runWorkflow", ran(99, reset_unix_s=RESET_UNIX_S + 60))
    later = observations.take().windows[ROUTE]

    assert told.longest_wait_s == 30
    assert [(each.reset_unix_s - RESET_UNIX_S, each.waits_kept, each.waits_broken) for each in later] == [
        (0, 1, 1),
        (60, 0, 0),
    ]


def test_retry_after_is_at_most_a_window(observations):
    tell(observations, "runWorkflow", throttled(60), throttled(3600))

    assert tally(observations.take(), SHORT_WAIT) == (2, 1)


def test_limit_header_is_the_limit_of_the_tier(observations):
    answer = ran(98)
    answer.headers["x-ratelimit-limit"] = "99"

    tell(observations, "runWorkflow", ran(99), answer)

    invariant = ("tier.rate-limit-pro", "X-RateLimit-Limit tells the limit of pro, 100.")
    assert tally(observations.take(), invariant) == (2, 1)


def test_limits_of_other_tiers_are_not_judged(observations):
    """An enterprise account must never be throttled; an administrator and a custom tier are not judged."""
    tell(observations, "runWorkflow", ran(1), throttled(), sender=persona(tier="enterprise"))
    tell(observations, "runWorkflow", ran(1), throttled(), sender=persona(tier="partner"))
    tell(observations, "runWorkflow", ran(1), throttled(), sender=persona(role="admin"))

    batch = observations.take()
    assert batch.windows == {}
    assert tally(batch, NEVER_THROTTLED) == (2, 1)


def test_batch_survives_serialization(observations):
    tell(observations, "runWorkflow", ran(99), throttled(), Said(status=0))
    tell(observations, "runWorkflow async", submitted())
    tell(observations, "getExecution", polled("completed"), sender=persona(webhook=True))
    batch = observations.take()

    assert ObservationBatch.unpacked(batch.packed()) == batch


@pytest.mark.parametrize(
    "cost", [10**400, -(10**400), float("inf"), float("nan"), 1e300, -1, True, "8", None]
)
def test_invalid_cost_counts_as_unknown(observations, cost):
    tell(observations, "runWorkflow", ran(cost=cost), sender=persona(tier="enterprise"))

    batch = observations.take()
    assert {run.cost_credits for run in batch.runs} == {None}
    assert ObservationBatch.unpacked(batch.packed()).runs == batch.runs


def test_odd_ids_and_headers_are_tolerated(observations):
    """Half a surrogate pair, and numbers with too many digits."""
    tell(observations, "runWorkflow async", submitted("\ud800"))
    odd = ran(99)
    odd.headers.update({f"x-ratelimit-{name}": "9" * 5_000 for name in ("limit", "remaining", "reset")})
    tell(observations, "runWorkflow", odd)

    batch = observations.take()
    assert len(batch.execution_ids) == 8
    assert batch.windows == {}
