"""What responses to a load say of runs and executions, and what the accounts show of them."""

import random
from collections import Counter

import pytest
from load_workload import Said, persona, polled, ran, submitted, throttled

from knouds_harness.load.invariants.observations import Observations, ObservedRun, UsageRows, compare
from knouds_harness.load.invariants.rate_limits import RateLimits
from knouds_harness.load.invariants.tallies import (
    EDGES,
    FRESH_ID,
    HAS_A_ROW,
    IS_CHARGED,
    NEVER_THROTTLED,
    Tallies,
)

PRO = persona()


class Seen(Observations):
    def __init__(self):
        self.tallies = Tallies()
        limits = RateLimits(self.tallies, most_in_flight=0, is_alone=True)
        super().__init__(self.tallies, limits, chance=random.Random(1))

    def tell(self, name, *answers, sender=PRO):
        for answer in answers:
            self.observe(name, answer, sender, answer.body, at_unix_s=1_000.0)

    def tally(self, promise):
        found = self.tallies.by_promise.get(promise)
        return (found.seen, found.broken) if found else (0, 0)


@pytest.fixture
def seen():
    return Seen()


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
def test_status_of_an_execution_only_goes_forward(seen, statuses, expected):
    """From the submit on; the shapes judge an undocumented status."""
    seen.tell("runWorkflow async", submitted())

    seen.tell("getExecution", *map(polled, statuses))

    assert seen.tally(EDGES) == expected


def test_status_that_is_not_a_string_is_ignored(seen):
    seen.tell("runWorkflow async", Said({"executionId": "e-1", "status": ["processing"]}))
    seen.tell("getExecution", Said({"status": {}}, path="/api/executions/e-1"))

    assert seen.tally(EDGES) == (0, 0)


def test_response_to_a_cancel_counts_as_a_status(seen):
    """After ``cancel_requested``, no poll may say ``processing``."""
    seen.tell("runWorkflow async", submitted())
    cancelled = polled("cancel_requested")
    cancelled.url += "/cancel"

    seen.tell("cancelExecution", cancelled)
    seen.tell("getExecution", polled("processing"))

    assert seen.tally(EDGES) == (2, 1)


def test_repeated_execution_id_is_not_fresh(seen):
    """Half a surrogate pair is an id like any other."""
    seen.tell("runWorkflow async", *map(submitted, ["a", "\ud800", "c", "\ud800"]))

    assert seen.tally(FRESH_ID) == (4, 1)


def test_ended_executions_are_sampled_at_random(seen):
    for number in range(200):
        seen.tell("getExecution", polled("completed", f"e-{number}"))

    assert len(seen.ended) == len({*seen.ended}) == 100
    assert 30 < sum(int(each.execution_id[2:]) >= 100 for each in seen.ended) < 70


def test_runs_are_counted_by_cost(seen):
    failed = Said({"error": "No.", "code": "EXECUTION_FAILED"}, status=500)
    refused = Said({"error": "No.", "code": "INSUFFICIENT_CREDITS"}, status=402)

    seen.tell("runWorkflow", ran(99), ran(98), failed, refused)
    seen.tell("runWorkflow async", submitted())

    assert seen.runs == {
        ObservedRun("pia", "workflows/portrait", 8.0): 2,
        ObservedRun("pia", "workflows/portrait", None): 2,
    }


@pytest.mark.parametrize(("tier", "expected"), [("enterprise", (2, 1)), ("pro", (0, 0))])
def test_only_an_enterprise_account_is_never_throttled(seen, tier, expected):
    """Nor is an administrator of any tier judged by it."""
    for role in ("user", "admin"):
        seen.tell("runWorkflow", ran(1), throttled(), sender=persona(tier=tier, role=role))

    assert seen.tally(NEVER_THROTTLED) == expected


@pytest.mark.parametrize(
    "cost", [10**400, -(10**400), float("inf"), float("nan"), 1e300, -1, True, "8", None]
)
def test_invalid_cost_counts_as_unknown(seen, cost):
    seen.tell("runWorkflow", ran(cost=cost), sender=persona(tier="enterprise"))

    assert {run.cost_credits for run in seen.runs} == {None}


PORTRAIT, CLIP = "workflows/portrait", "models/seedance"


def broken(runs, costs):
    tallies = Tallies()
    counts = {resource: Counter(rows) for resource, rows in costs.items()}
    compare(tallies, {ObservedRun("ada", *run): count for run, count in runs.items()}, counts)
    found = tallies.by_promise
    return found[HAS_A_ROW].broken, found[IS_CHARGED].broken


ROWS = {
    "equal": ({(PORTRAIT, 8.0): 3}, {PORTRAIT: [8.0] * 3}, (0, 0)),
    "others ran too": ({(PORTRAIT, 8.0): 3}, {PORTRAIT: [8.0] * 5}, (0, 0)),
    "one row lacks": ({(PORTRAIT, 8.0): 3}, {PORTRAIT: [8.0] * 2}, (1, 0)),
    "rows of another": ({(PORTRAIT, 8.0): 3}, {CLIP: [8.0] * 3}, (3, 0)),
    "one row is free": ({(PORTRAIT, 8.0): 3}, {PORTRAIT: [8.0, 8.0, 0.0]}, (0, 1)),
    "of some no cost was told": (
        {(PORTRAIT, 8.0): 2, (PORTRAIT, None): 1},
        {PORTRAIT: [8.0, 8.0, 70.0]},
        (0, 0),
    ),
    "a grant paid": ({(PORTRAIT, 0.0): 2}, {PORTRAIT: [8.0, 8.0]}, (0, 0)),
    "one row costs more": ({(PORTRAIT, 8.0): 1, (CLIP, 70.0): 1}, {PORTRAIT: [8.0], CLIP: [71.0]}, (0, 1)),
}


@pytest.mark.parametrize(("runs", "costs", "expected"), ROWS.values(), ids=ROWS)
def test_each_run_has_a_row_that_costs_as_much(runs, costs, expected):
    assert broken(runs, costs) == expected


def test_row_on_two_pages_counts_once():
    """UsageRows move to later pages as new ones come; rows from before the load do not count."""
    rows = UsageRows()
    row = {"id": 7, "workflowSlug": "portrait", "creditsCost": 8}

    rows.add([row, {**row, "id": 8}], known={"8"})
    rows.add([row], known={"8"})

    assert rows.costs == {PORTRAIT: {8.0: 1}}
