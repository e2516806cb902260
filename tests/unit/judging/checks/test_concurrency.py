"""Checks of concurrent requests are pure: they get all the exchanges that they compare."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from exchanges import assert_breaks, exchange, named, refusal, rows

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.checks import concurrency


def burst_of(admitted, others):
    return [exchange(200, {})] * admitted + [exchange(others, {})] * (8 - admitted)


def counted(remaining, *, end="1795000040"):
    return exchange(200, {}, headers={"x-ratelimit-remaining": str(remaining), "x-ratelimit-reset": end})


class History(list[Exchange]):
    """Exchanges about one workflow or execution, with their times in milliseconds."""

    def add(self, operation_id, began_ms, ended_ms, status=200, *, shown=None, sent=None):
        made = exchange(status, shown, operation_id=operation_id)
        body = None if sent is None else json.dumps(sent).encode()
        self.append(
            replace(
                made,
                id=f"x{len(self):05d}",
                request=replace(made.request, body=body, path_values={"slug": "old"}),
                started_at=made.started_at + timedelta(milliseconds=began_ms),
                elapsed_ms=ended_ms - began_ms,
            )
        )
        return self

    def get(self, began_ms, ended_ms, status=200, **shown):
        return self.add("getWorkflow", began_ms, ended_ms, status, shown=shown)

    def put(self, began_ms, ended_ms, status=200, *, operation_id="updateWorkflow", **sent):
        return self.add(operation_id, began_ms, ended_ms, status, sent=sent)

    def move(self, began_ms, ended_ms, folder_id):
        return self.put(began_ms, ended_ms, operation_id="moveWorkflow", folderId=folder_id)

    def delete(self, began_ms, ended_ms, status=200):
        return self.add("deleteWorkflow", began_ms, ended_ms, status, shown={})

    def create(self, began_ms, ended_ms, slug):
        return self.add("createWorkflow", began_ms, ended_ms, 201, shown={"slug": slug})

    def list(self, began_ms, ended_ms, *slugs, status=200):
        return self.add("listWorkflows", began_ms, ended_ms, status, shown=[{"slug": slug} for slug in slugs])

    def cancel(self, began_ms, ended_ms, execution_status, status=200):
        return self.add("cancelExecution", began_ms, ended_ms, status, shown={"status": execution_status})

    def poll(self, began_ms, ended_ms, execution_status):
        return self.add("getExecution", began_ms, ended_ms, shown={"status": execution_status})


BEFORE = exchange(200, {"description": "old", "folderId": None}, operation_id="getWorkflow")
EVIDENCE = exchange(200)
FINAL, EDGES = {"execution.final-is-absorbing"}, {"execution.edges"}


CASES = {
    "concurrent creates get distinct slugs": rows(
        concurrency.distinct_slugs,
        (exchange(201, {"slug": "twin-3"}), False),
        (exchange(200, {"slug": "twin-2"}), True),
        (exchange(201, {"id": 7}), False),
        (exchange(201, ["twin"]), False),
        (refusal(429, "RATE_LIMIT_EXCEEDED"), False),
        others=["twin", "twin-2"],
    ),
    "concurrent runs are charged no more than the credits": rows(
        concurrency.no_overspending,
        (6, False),
        (9, False),
        (12, True),
        answer=exchange(200, {"cost": 3}),
        had_credits=9,
    ),
    "a burst is admitted up to the rest of the window, unless another request failed": rows(
        concurrency.burst,
        (burst_of(4, others=429), set()),
        (burst_of(5, others=429), {"rate.over-limit-is-429"}),
        (burst_of(3, others=429), {"tier.rate-limit-pro"}),
        (burst_of(3, others=503), set()),
        answer=exchange(200, {}),
        left=4,
    ),
    "each concurrent run counts in the window": rows(
        concurrency.all_counted,
        (counted(89), [counted(95)] * 10, False),
        (counted(97), [counted(95)] * 10, True),
        (counted(79), [counted(95)] * 10, True),
        (counted(99, end="1795000100"), [counted(95)] * 10, False),
        (counted(0), [counted(95)] * 100, False),
        (counted(97), [refusal(503)], None),
        earlier=counted(100),
    ),
    "concurrent cancels are charged once": rows(
        concurrency.charged_once,
        ([{"creditsCost": 15}], False),
        ([{"creditsCost": 4}], False),
        ([{"creditsCost": 30}], True),
        ([{"creditsCost": 15}, {"creditsCost": 15}], True),
        ([], False),
        answer=exchange(200, {"status": "cancelled"}),
        most_credits=15,
    ),
    "concurrent updates leave one of their documents, or are lost without a response": rows(
        concurrency.updates_in_some_order,
        (History().put(0, 9, description="a").put(0, 9, description="b").get(20, 21, description="a"), False),
        (History().put(0, 9, description="a").put(0, 9, description="b").get(20, 21, description="b"), False),
        (History().put(0, 9, description="a").get(5, 6, description="old").get(7, 8, description="a"), False),
        (History().put(0, 9, 409, description="a").get(20, 21, description="old"), False),
        (History().put(0, 9, 503, description="a").get(20, 21, description="a"), False),
        (History().put(0, 9, None, description="a").get(20, 21, description="old"), False),
        (History().put(0, 9, description="a").get(20, 21, 429), False),
        answer=EVIDENCE,
        before=BEFORE,
        members=("description",),
    ),
    "concurrent moves leave one of their folders": rows(
        concurrency.moves_in_some_order,
        (History().move(0, 9, "f").put(0, 9, description="a").get(20, 21, folderId="f"), False),
        (History().move(0, 9, "f").put(0, 9, description="a").get(20, 21, folderId=None), True),
        (History().move(0, 9, "f").move(0, 9, None).get(20, 21, folderId=None), False),
        answer=EVIDENCE,
        before=BEFORE,
    ),
    "a deleted workflow stays deleted": rows(
        concurrency.deletes_in_some_order,
        (History().put(0, 20, description="a").delete(0, 20).get(30, 31, 404), False),
        (History().put(0, 20, 404, description="a").delete(0, 20).get(30, 31, 404), False),
        (History().put(0, 20, 409, description="a").delete(0, 20).get(30, 31, 404), False),
        (History().put(0, 20, description="a").delete(0, 20).get(30, 31), True),
        (History().delete(0, 20).delete(0, 20, 404).get(30, 31, 404), False),
        (History().delete(0, 20).delete(0, 20).get(30, 31, 404), False),
        (History().delete(0, 20).put(30, 40, description="a").get(50, 51, 404), True),
        (History().delete(0, 20).get(5, 6, 404).get(10, 11), True),
        (History().delete(0, 20).get(5, 6).get(10, 11, 404), False),
        (History().delete(0, 20, 503).get(30, 31), False),
        (History().delete(0, 20).get(30, 31, 503).get(40, 41, 404), False),
        answer=EVIDENCE,
    ),
    "a list shows a workflow from its create to its delete, once": rows(
        concurrency.lists_in_some_order,
        (History().create(0, 9, "new").list(20, 21, "old", "new"), False),
        (History().create(0, 9, "new").list(5, 6, "old").list(20, 21, "old", "new"), False),
        (History().create(0, 9, "new").list(20, 21, "old"), True),
        (History().create(0, 20, "new").list(5, 6, "new", "old").list(10, 11, "old"), True),
        (History().list(0, 9, "old", "old"), True),
        (History().put(0, 9, description="a").list(5, 6), True),
        (History().delete(0, 9).list(5, 6, "old").list(7, 8), False),
        (History().delete(0, 9).list(20, 21, "old"), True),
        (History().list(0, 9, "old", "another").list(10, 12, status=429), False),
        answer=EVIDENCE,
        slugs={"old"},
    ),
    "concurrent cancels leave one end": rows(
        concurrency.cancels_in_some_order,
        (History().cancel(0, 1, "cancel_requested").cancel(0, 1, "cancelled").poll(3, 4, "cancelled"), set()),
        (History().cancel(0, 1, None, 409).poll(3, 4, "processing").poll(6, 7, "completed"), set()),
        (History().cancel(0, 1, "cancel_requested").poll(0, 1, "processing").poll(6, 7, "failed"), set()),
        (History().cancel(0, 1, "cancelled").poll(3, 4, "cancel_requested").poll(6, 7, "cancelled"), FINAL),
        (History().cancel(0, 1, "cancelled").cancel(0, 1, "completed").poll(3, 4, "completed"), FINAL),
        (History().cancel(0, 1, "cancel_requested").poll(3, 4, "processing").poll(6, 7, "cancelled"), EDGES),
        answer=EVIDENCE,
    ),
}


@pytest.mark.parametrize(("check", "answer", "known", "facts"), named(CASES))
def test_check_finds_what_is_broken(check, answer, known, facts):
    assert_breaks(check, answer, known, facts)
