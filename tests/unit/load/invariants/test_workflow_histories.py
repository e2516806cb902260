"""Reads of workflows that the load created agree with the writes, in some order of the requests."""

from __future__ import annotations

from itertools import count

import pytest
from clocks import Clock

from knouds_harness.load.invariants.tallies import IS_THERE, SHOWS_LAST, Tallies
from knouds_harness.load.invariants.workflow_histories import WorkflowHistories

PATH = "/api/workflows/w1"


class Followed:
    def __init__(self):
        self.clock = Clock(0.0)
        self.histories = WorkflowHistories()
        self.tallies = Tallies()
        self.numbers = count()
        create = self.begin("createWorkflow", "/api/workflows", name="w1", description="old")
        self.end(create, 201, {"slug": "w1"}, created="w1")

    def begin(self, operation, path=PATH, **sent):
        self.clock.now_s += 1
        number = next(self.numbers)
        self.histories.begin(number, operation, path, sent, at_s=self.clock.now_s)
        return number

    def end(self, number, status=200, shown=None, *, created=None):
        self.clock.now_s += 1
        self.histories.end(number, status, shown or {}, created=created, at_s=self.clock.now_s)

    def send(self, operation, status=200, shown=None, **sent):
        self.end(self.begin(operation, **sent), status, shown)

    def judged(self):
        """Return (seen, broken) of both invariants, and the number of undecided histories."""
        undecided = self.histories.judge(self.tallies)
        counts = [
            (tally.seen, tally.broken) if (tally := self.tallies.by_promise.get(each)) else (0, 0)
            for each in (SHOWS_LAST, IS_THERE)
        ]
        return *counts, undecided


@pytest.fixture
def followed():
    return Followed()


@pytest.mark.parametrize(("shown", "broken"), [("new", 0), ("old", 1)])
def test_read_after_an_update_shows_it(followed, shown, broken):
    """A value from before an answered update is stale."""
    followed.send("updateWorkflow", description="new")
    followed.send("getWorkflow", shown={"description": shown, "folderId": None})

    assert followed.judged() == ((1, broken), (2, 0), 0)


@pytest.mark.parametrize("shown", ["new", "old"])
def test_concurrent_read_may_show_the_old_or_the_new_value(followed, shown):
    """Nothing is judged until both have ended."""
    update = followed.begin("updateWorkflow", description="new")
    followed.send("getWorkflow", shown={"description": shown})
    assert followed.judged() == ((0, 0), (0, 0), 0)
    followed.end(update)

    assert followed.judged() == ((1, 0), (2, 0), 0)


@pytest.mark.parametrize(("shown", "broken"), [("new", 0), ("old", 0), ("other", 1)])
@pytest.mark.parametrize("status", [500, 0])
def test_uncertain_update_may_have_happened(followed, status, shown, broken):
    followed.send("updateWorkflow", status, description="new")
    followed.send("getWorkflow", shown={"description": shown})

    assert followed.judged() == ((1, broken), (1, 0), 0)


def test_state_is_carried_over_between_judgements(followed):
    """A read is compared with writes that were judged earlier."""
    followed.send("updateWorkflow", description="new")
    followed.judged()
    followed.send("getWorkflow", shown={"description": "old"})

    assert followed.judged()[0] == (1, 1)
    example = followed.tallies.by_promise[SHOWS_LAST].example
    assert example == 'w1: no order explains getWorkflow description "old": 200'


@pytest.mark.parametrize(
    ("requests", "broken"),
    [
        ([("getWorkflow", 404)], 1),
        ([("deleteWorkflow", 204), ("getWorkflow", 404)], 0),
        ([("deleteWorkflow", 204), ("getWorkflow", 200)], 1),
        ([("deleteWorkflow", 500), ("getWorkflow", 404), ("getWorkflow", 404)], 0),
        ([("updateWorkflow", 409), ("getWorkflow", 200)], 0),
    ],
    ids=["lost", "deleted", "back", "perhaps deleted", "refused"],
)
def test_workflow_exists_from_create_to_delete(followed, requests, broken):
    for operation, status in requests:
        followed.send(operation, status)

    assert followed.judged()[1][1] == broken


def test_foreign_workflows_are_not_followed(followed):
    """Nor one whose create may have made another."""
    followed.end(followed.begin("createWorkflow", "/api/workflows", name="n"), 201, {"slug": "theirs"})
    followed.end(followed.begin("getWorkflow", "/api/workflows/theirs"), 404)

    assert followed.judged() == ((0, 0), (0, 0), 0)
