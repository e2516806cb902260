"""What one process reads out of answers, and hands on."""

from __future__ import annotations

import random

import pytest
from load_answers import RESET_UNIX_S, Said, persona, polled, ran, submitted, throttled

from knouds_harness.load.history import History, Pages, Route, Run
from knouds_harness.load.promises import EDGES, NEVER_THROTTLED, SHORT_WAIT, TRUE_WAIT

PRO = persona()
ROUTE = Route("pia", "runWorkflow", "pro")


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    """Starts anywhere."""
    return Clock()


@pytest.fixture
def history(clock):
    """Empty."""
    return History(chance=random.Random(1), clock=clock)


def tell(history, name, *answers, sender=PRO):
    """Have it read some answers in a row."""
    for answer in answers:
        history.observe(name, answer, sender, answer.body)


def tally(pages, promise):
    """How often it was seen, and broken."""
    found = pages.tallies.by_promise.get(promise)
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
def test_status_of_an_execution_in_flight_goes_only_forward(history, statuses, expected):
    """From the submit on, whatever is no documented status left to the shapes."""
    tell(history, "runWorkflow async", submitted())

    tell(history, "getExecution", *map(polled, statuses))

    assert tally(history.take(), EDGES) == expected


def test_what_a_cancel_answers_counts_as_a_status(history):
    """Whoever was told that it was requested must not be told that it was not."""
    tell(history, "runWorkflow async", submitted())
    cancelled = polled("cancel_requested")
    cancelled.url += "/cancel"

    tell(history, "cancelExecution", cancelled)
    tell(history, "getExecution", polled("processing"))

    assert tally(history.take(), EDGES) == (2, 1)


def test_executions_in_flight_do_not_pile_up(history):
    """An execution that ended is forgotten, but for the few that are looked at again."""
    for number in range(50):
        tell(history, "runWorkflow async", submitted(f"e-{number}"))
        tell(history, "getExecution", polled("completed", f"e-{number}"))

    pages = history.take()

    assert len(pages.execution_ids) == 50 * 8
    assert len(pages.ended) == 10
    assert history.take() == Pages()


def test_only_keys_that_receive_await_deliveries(history):
    """A webhook and the capability, both."""
    deaf = persona(capabilities={"workflow:run"}, webhook=True)
    for sender in (PRO, deaf, persona(webhook=True)):
        tell(history, "getExecution", polled("completed"), sender=sender)

    assert len(history.take().awaited) == 8


def test_runs_are_counted_by_what_they_cost(history):
    """Failed ones have a row too; refused ones have none."""
    failed = Said({"error": "No.", "code": "EXECUTION_FAILED"}, status=500)
    refused = Said({"error": "No.", "code": "INSUFFICIENT_CREDITS"}, status=402)

    tell(history, "runWorkflow", ran(99), ran(98), failed, refused)
    tell(history, "runWorkflow async", submitted())

    assert history.take().runs == {
        Run("pia", "workflows/portrait", 8.0): 2,
        Run("pia", "workflows/portrait", None): 2,
    }


def test_windows_are_told_apart_by_their_end(history):
    """A second of rounding makes no other window, a minute does; an answer that is lost may have counted."""
    lost = Said(status=0)

    tell(history, "runWorkflow", ran(99), ran(98, reset_unix_s=RESET_UNIX_S + 1), throttled(), lost)
    tell(history, "runWorkflow", ran(99, reset_unix_s=RESET_UNIX_S + 60))

    pages = history.take()
    first, second = pages.windows[ROUTE]
    assert (first.remaining, first.refused) == ({99: 1, 98: 1}, 1)
    assert (second.remaining, second.refused) == ({99: 1}, 0)
    assert pages.unknown == {ROUTE: 1}


@pytest.mark.parametrize(
    ("waited_s", "is_same_window", "expected"), [(33, True, (1, 1)), (33, False, (1, 0)), (20, True, (0, 0))]
)
def test_waiting_as_long_as_told_helps(history, clock, waited_s, is_same_window, expected):
    """Refused again for the same window, although the wait was over: Retry-After was not true."""
    tell(history, "runWorkflow", throttled(30))
    clock.now_s += waited_s

    tell(history, "runWorkflow", throttled(27, reset_unix_s=RESET_UNIX_S + (0 if is_same_window else 60)))

    assert tally(history.take(), TRUE_WAIT) == expected


def test_window_keeps_what_came_of_those_whom_it_told_to_wait(history, clock):
    """The longest wait that was told, and who was refused for it afterwards and who was not."""
    tell(history, "runWorkflow", throttled(20), throttled(30))
    told = history.take().windows[ROUTE][0]
    clock.now_s += 25
    tell(history, "runWorkflow", throttled(5))
    clock.now_s += 60
    tell(history, "runWorkflow", ran(99, reset_unix_s=RESET_UNIX_S + 60))
    later = history.take().windows[ROUTE]

    assert told.longest_wait_s == 30
    assert [(each.reset_unix_s - RESET_UNIX_S, each.waits_kept, each.waits_broken) for each in later] == [
        (0, 1, 1),
        (60, 0, 0),
    ]


def test_nobody_waits_longer_than_a_window(history):
    """An hour is no window."""
    tell(history, "runWorkflow", throttled(60), throttled(3600))

    assert tally(history.take(), SHORT_WAIT) == (2, 1)


def test_told_limit_is_that_of_the_tier(history):
    """Whatever the window really admits."""
    answer = ran(98)
    answer.headers["x-ratelimit-limit"] = "99"

    tell(history, "runWorkflow", ran(99), answer)

    promise = ("tier.rate-limit-pro", "X-RateLimit-Limit tells the limit of pro, 100.")
    assert tally(history.take(), promise) == (2, 1)


def test_limits_of_the_others_are_not_looked_at(history):
    """An enterprise account is never throttled; an administrator and a custom tier are left alone."""
    tell(history, "runWorkflow", ran(1), throttled(), sender=persona(tier="enterprise"))
    tell(history, "runWorkflow", ran(1), throttled(), sender=persona(tier="partner"))
    tell(history, "runWorkflow", ran(1), throttled(), sender=persona(role="admin"))

    pages = history.take()
    assert pages.windows == {}
    assert tally(pages, NEVER_THROTTLED) == (2, 1)


def test_pages_survive_the_way_to_the_master(history):
    """As plain values, nothing is lost."""
    tell(history, "runWorkflow", ran(99), throttled(), Said(status=0))
    tell(history, "runWorkflow async", submitted())
    tell(history, "getExecution", polled("completed"), sender=persona(webhook=True))
    pages = history.take()

    assert Pages.unpacked(pages.packed()) == pages
