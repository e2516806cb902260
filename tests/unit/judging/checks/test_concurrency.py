"""Checks of concurrent requests are pure: they get all the exchanges that they compare."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from exchanges import broken, exchange, refusal

from knouds_harness.judging.checks import concurrency


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        (exchange(201, {"slug": "twin-3"}), set()),
        (exchange(200, {"slug": "twin-2"}), {"workflows.create-suffixes-taken-slug"}),
        (exchange(201, {"id": 7}), set()),
        (exchange(201, ["twin"]), set()),
        (refusal(429, "RATE_LIMIT_EXCEEDED"), set()),
    ],
)
def test_concurrent_creates_get_distinct_slugs(answer, facts):
    assert broken(concurrency.distinct_slugs, answer, others=["twin", "twin-2"]) == facts


@pytest.mark.parametrize(("charged", "facts"), [(6, set()), (9, set()), (12, {"run.too-few-credits-is-402"})])
def test_concurrent_runs_are_charged_no_more_than_the_credits(charged, facts):
    answer = exchange(200, {"cost": 3})

    assert broken(concurrency.no_overspending, answer, charged_credits=charged, had_credits=9) == facts


@pytest.mark.parametrize(
    ("admitted", "others", "facts"),
    [
        (4, 429, set()),
        (5, 429, {"rate.over-limit-is-429"}),
        (3, 429, {"tier.rate-limit-pro"}),
        (3, 503, set()),
    ],
)
def test_burst_is_admitted_up_to_the_rest_of_the_window(admitted, others, facts):
    """One more is too many, and one less too few, unless another request failed."""
    answers = [exchange(200, {})] * admitted + [exchange(others, {})] * (8 - admitted)

    assert broken(concurrency.burst, answers[0], answers=answers, left=4) == facts


def counted(remaining, *, end="1795000040"):
    return exchange(200, {}, headers={"x-ratelimit-remaining": str(remaining), "x-ratelimit-reset": end})


@pytest.mark.parametrize(
    ("later", "between", "facts"),
    [
        (counted(89), 10, set()),
        (counted(97), 10, {"rate.remaining-falls"}),
        (counted(79), 10, {"rate.remaining-falls"}),
        (counted(99, end="1795000100"), 10, set()),
        (counted(0), 100, set()),
    ],
)
def test_each_concurrent_run_counts_in_the_window(later, between, facts):
    answers = [counted(95)] * between

    assert broken(concurrency.all_counted, later, earlier=counted(100), between=answers) == facts


def test_no_claim_if_a_request_was_refused():
    claims = concurrency.all_counted.judge(counted(97), earlier=counted(100), between=[refusal(503)])

    assert list(claims) == []


class History:
    """Exchanges about one workflow or execution, with their times in milliseconds."""

    def __init__(self):
        self.exchanges = []

    def add(self, operation_id, began_ms, ended_ms, status=200, *, shown=None, sent=None):
        made = exchange(status, shown, operation_id=operation_id)
        body = None if sent is None else json.dumps(sent).encode()
        self.exchanges.append(
            replace(
                made,
                id=f"x{len(self.exchanges):05d}",
                request=replace(made.request, body=body, path_values={"slug": "old"}),
                started_at=made.started_at + timedelta(milliseconds=began_ms),
                elapsed_ms=ended_ms - began_ms,
            )
        )
        return self

    def get(self, began_ms, ended_ms, status=200, **shown):
        return self.add("getWorkflow", began_ms, ended_ms, status, shown=shown)

    def put(self, began_ms, ended_ms, status=200, **sent):
        return self.add("updateWorkflow", began_ms, ended_ms, status, sent=sent)

    def move(self, began_ms, ended_ms, status=200, **sent):
        return self.add("moveWorkflow", began_ms, ended_ms, status, sent=sent)

    def delete(self, began_ms, ended_ms, status=200):
        return self.add("deleteWorkflow", began_ms, ended_ms, status, shown={})

    def create(self, began_ms, ended_ms, slug):
        return self.add("createWorkflow", began_ms, ended_ms, 201, shown={"slug": slug})

    def list(self, began_ms, ended_ms, *slugs, status=200):
        lines = [{"slug": slug} for slug in slugs]
        return self.add("listWorkflows", began_ms, ended_ms, status, shown=lines)

    def cancel(self, began_ms, ended_ms, execution_status, status=200):
        return self.add("cancelExecution", began_ms, ended_ms, status, shown={"status": execution_status})

    def poll(self, began_ms, ended_ms, execution_status):
        return self.add("getExecution", began_ms, ended_ms, shown={"status": execution_status})


BEFORE = exchange(200, {"description": "old", "folderId": None}, operation_id="getWorkflow")


def lost_updates(history):
    return broken(
        concurrency.updates_in_some_order,
        history.exchanges[-1],
        before=BEFORE,
        history=history.exchanges,
        members=("description",),
    )


@pytest.mark.parametrize(
    "history",
    [
        History().put(0, 20, description="a").put(0, 20, description="b").get(30, 31, description="a"),
        History().put(0, 20, description="a").put(0, 20, description="b").get(30, 31, description="b"),
        History().put(0, 20, description="a").get(5, 6, description="old").get(10, 11, description="a"),
        History().put(0, 20, 409, description="a").get(30, 31, description="old"),
        History().put(0, 20, 503, description="a").get(30, 31, description="a"),
        History().put(0, 20, None, description="a").get(30, 31, description="old"),
        History().put(0, 20, description="a").get(30, 31, 429),
    ],
)
def test_concurrent_updates_leave_one_of_their_documents(history):
    """An update without a response may be lost."""
    assert lost_updates(history) == set()


@pytest.mark.parametrize(
    ("history", "is_kept"),
    [
        (History().move(0, 9, folderId="f").put(0, 9, description="a").get(20, 21, folderId="f"), True),
        (History().move(0, 9, folderId="f").put(0, 9, description="a").get(20, 21, folderId=None), False),
        (History().move(0, 9, folderId="f").move(0, 9, folderId=None).get(20, 21, folderId=None), True),
    ],
)
def test_concurrent_moves_leave_one_of_their_folders(history, is_kept):
    last = history.exchanges[-1]
    facts = broken(concurrency.moves_in_some_order, last, before=BEFORE, history=history.exchanges)

    assert facts == (set() if is_kept else {"workflows.move-sets-folder"})


@pytest.mark.parametrize(
    ("history", "is_kept"),
    [
        (History().put(0, 20, description="a").delete(0, 20).get(30, 31, 404), True),
        (History().put(0, 20, 404, description="a").delete(0, 20).get(30, 31, 404), True),
        (History().put(0, 20, 409, description="a").delete(0, 20).get(30, 31, 404), True),
        (History().put(0, 20, description="a").delete(0, 20).get(30, 31), False),
        (History().delete(0, 20).delete(0, 20, 404).get(30, 31, 404), True),
        (History().delete(0, 20).delete(0, 20).get(30, 31, 404), True),
        (History().delete(0, 20).put(30, 40, description="a").get(50, 51, 404), False),
        (History().delete(0, 20).get(5, 6, 404).get(10, 11), False),
        (History().delete(0, 20).get(5, 6).get(10, 11, 404), True),
        (History().delete(0, 20, 503).get(30, 31), True),
        (History().delete(0, 20).get(30, 31, 503).get(40, 41, 404), True),
    ],
)
def test_deleted_workflow_stays_deleted(history, is_kept):
    last = history.exchanges[-1]
    facts = broken(concurrency.deletes_in_some_order, last, history=history.exchanges)

    assert facts == (set() if is_kept else {"workflows.delete-then-404"})


@pytest.mark.parametrize(
    ("history", "is_kept"),
    [
        (History().create(0, 9, "new").list(20, 21, "old", "new"), True),
        (History().create(0, 9, "new").list(5, 6, "old").list(20, 21, "old", "new"), True),
        (History().create(0, 9, "new").list(20, 21, "old"), False),
        (History().create(0, 20, "new").list(5, 6, "new", "old").list(10, 11, "old"), False),
        (History().list(0, 9, "old", "old"), False),
        (History().put(0, 9, description="a").list(5, 6), False),
        (History().delete(0, 9).list(5, 6, "old").list(7, 8), True),
        (History().delete(0, 9).list(20, 21, "old"), False),
        (History().list(0, 9, "old", "another").list(10, 12, status=429), True),
    ],
)
def test_list_shows_a_workflow_from_its_create_to_its_delete(history, is_kept):
    """It is listed once from its create to its delete; others are not judged."""
    last = history.exchanges[-1]
    facts = broken(concurrency.lists_in_some_order, last, history=history.exchanges, slugs={"old"})

    assert facts == (set() if is_kept else {"workflows.list-own-and-templates"})


@pytest.mark.parametrize(
    ("history", "facts"),
    [
        (
            History().cancel(0, 9, "cancel_requested").cancel(0, 9, "cancelled").poll(20, 21, "cancelled"),
            set(),
        ),
        (History().cancel(0, 9, None, 409).poll(20, 21, "processing").poll(30, 31, "completed"), set()),
        (History().cancel(0, 9, "cancel_requested").poll(5, 6, "processing").poll(30, 31, "failed"), set()),
        (
            History().cancel(0, 9, "cancelled").poll(20, 21, "cancel_requested").poll(30, 31, "cancelled"),
            {"execution.final-is-absorbing"},
        ),
        (
            History().cancel(0, 9, "cancelled").cancel(0, 9, "completed").poll(20, 21, "completed"),
            {"execution.final-is-absorbing"},
        ),
        (
            History().cancel(0, 9, "cancel_requested").poll(20, 21, "processing").poll(30, 31, "cancelled"),
            {"execution.edges"},
        ),
    ],
)
def test_concurrent_cancels_leave_one_end(history, facts):
    last = history.exchanges[-1]

    assert broken(concurrency.cancels_in_some_order, last, history=history.exchanges) == facts


@pytest.mark.parametrize(
    ("rows", "facts"),
    [
        ([{"creditsCost": 15}], set()),
        ([{"creditsCost": 4}], set()),
        ([{"creditsCost": 30}], {"execution.cancelled-is-charged"}),
        ([{"creditsCost": 15}, {"creditsCost": 15}], {"execution.cancelled-is-charged"}),
        ([], set()),
    ],
)
def test_concurrent_cancels_are_charged_once(rows, facts):
    last = exchange(200, {"status": "cancelled"})

    assert broken(concurrency.charged_once, last, rows=rows, most_credits=15) == facts
