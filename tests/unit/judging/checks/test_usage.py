"""Checks of usage are pure: hand-made pages show what breaks them."""

from dataclasses import replace

import pytest
from exchanges import assert_breaks, broken, exchange, named, refusal, rows

from knouds_harness.exchange.usage import run_of
from knouds_harness.judging.checks import usage


def row(number, **members):
    own = {
        "id": number,
        "userId": "usr_ada",
        "workflowSlug": "harbour",
        "modelIds": ["seedream-v5"],
        "status": "completed",
        "source": "api-workflow",
        "requestId": f"req_{number}",
    }
    return {**own, **members}


def page(*rows, **members):
    body = {"rows": list(rows), "page": 1, "pageSize": 50, "total": len(rows), **members}
    return exchange(200, body, operation_id="listUsage")


def charged(*credits_cost):
    return [{"creditsCost": each} for each in credits_cost]


def models(body):
    return exchange(200, body, operation_id="listUsageModels")


WHOLE = [row(3, status="failed"), row(2, workflowSlug="harbour-hd"), row(1, modelIds=["claude-sonnet"])]


def test_expected_page_names_what_was_asked_for():
    """By documented parameters only: others may be a key."""
    request = replace(page().request, query=(("limit", "1"), ("offset", "1"), ("key", "x")))

    [claim] = usage.offset.judge(
        replace(page(), request=request), before=WHOLE, after=WHOLE, offset=1, limit=1
    )

    assert claim.expected == "rows 2: from number 2 of 3 on (asked with ?limit=1&offset=1)"


def test_filter_shows_no_row_that_the_whole_list_lacks():
    """Unless the whole list may go on."""
    other, filters = row(99, workflowSlug="harbour"), {"workflowSlug": "harbour"}
    whole = [row(number, workflowSlug="harbour") for number in range(500)]

    def found(listed, shown):
        return broken(usage.filtered, page(*shown), before=listed, after=listed, filters=filters)

    assert found(whole[:3], [other, *whole[:3]]) == {"usage.filters"}
    assert found(whole[:3], whole[:3]) == set()
    assert found(whole, [row(501, workflowSlug="harbour"), *whole[:498]]) == {"usage.filters"}  # 2 missing
    assert found([*whole[:499], whole[0]], [*whole[:499]]) == set()


def test_foreign_row_is_told_by_what_shows_whose_it_is():
    """Reports cut rows, and these members come late in them."""
    theirs = row(7, requestId="req_7", userId="sam", workflowSlug="harbour", durationMs=3)

    (claim,) = (each for each in usage.no_foreign_run.judge(page(row(1), theirs, theirs), foreign={"req_7"}))

    assert claim.observed == '2 rows: id 7, requestId "req_7", userId "sam", workflowSlug "harbour"'


@pytest.mark.parametrize(
    ("rows", "request_id", "ending", "facts"),
    [
        ([row(5), row(1)], None, None, set()),
        ([row(5)], "req_5", None, set()),
        ([row(5)], None, "completed", set()),
        ([row(5)], None, "failed", {"usage.run-has-a-row"}),
        ([row(1)], None, None, {"usage.run-has-a-row"}),
        ([row(5, workflowSlug="other")], None, None, {"usage.run-has-a-row"}),
        ([row(5)], "req_6", None, {"usage.run-has-a-row"}),
        ([row(5), row(6, requestId="req_5")], "req_5", None, {"usage.run-has-a-row"}),
    ],
)
def test_run_has_one_row_that_says_how_it_ended(rows, request_id, ending, facts):
    """If it is known how the run ended, and which request it was."""
    known = {"known": {"req_1"}, "workflow_slug": "harbour", "model_id": None, "request_id": request_id}

    assert broken(usage.row_of_run, exchange(200, {}), rows=rows, ending=ending, **known) == facts


@pytest.mark.parametrize(
    ("charges", "holds"), [((0,), []), ((5,), [True]), ((10,), [False]), ((5, 5), [False]), ((None,), [])]
)
def test_failed_run_is_charged_once(charges, holds):
    """In one row, or in two of one request; it may also cost nothing."""
    rows = [{"requestId": "r-1", "status": "failed", "creditsCost": each} for each in charges]

    claims = usage.failed_is_charged_once.judge(exchange(500, {}), rows=rows, price_credits=5)

    assert [claim.holds for claim in claims] == holds


MINE, THEIRS = row(1, createdAt="2026-11-25"), row(1, requestId="req_7", createdAt="2026-11-25")
CASES = {
    "no row belongs to two accounts, whose ids may both count from one": rows(
        usage.no_row_of_two, ({run_of(THEIRS)}, False), ({run_of(MINE)}, True), answer=page(MINE)
    ),
    "a run that ends while filtering is not missed": rows(
        usage.filtered, (page(), [row(1, status="processing")], [row(1)], {"status": "completed"}, False)
    ),
    "an offset skips that many rows": rows(
        usage.offset,
        (page(WHOLE[1]), WHOLE, False),
        (page(WHOLE[0]), WHOLE, True),
        (page(WHOLE[2]), WHOLE, True),
        (page(), WHOLE, True),
        (page(WHOLE[0]), [row(4), *WHOLE], False),
        (page(row(4), *WHOLE), [row(5), row(4), *WHOLE], False),
        (page(WHOLE[0], row(4), *WHOLE[1:]), [row(4), *WHOLE], False),
        (page(WHOLE[0], WHOLE[0]), [row(4), *WHOLE], True),
        (page(row(4), row(4)), [row(4), *WHOLE], True),
        (page(WHOLE[0], WHOLE[2]), [row(4), *WHOLE], True),
        (page(WHOLE[1], WHOLE[0]), [row(4), *WHOLE], True),
        (page(*WHOLE[1:]), WHOLE[1:], False),
        (refusal(400, "INVALID_QUERY"), WHOLE, False),
        before=WHOLE,
        offset=1,
        limit=1,
    ),
    "a filter shows exactly the matching rows": rows(
        usage.filtered,
        (page(WHOLE[0]), {"status": "failed"}, False),
        (page(*WHOLE), {"status": "failed"}, True),
        (page(), {"status": "failed"}, True),
        (page(), {"status": "processing"}, False),
        (page(WHOLE[0], WHOLE[2]), {"workflowSlug": "harbour"}, False),
        (page(*WHOLE), {"workflowSlug": "harbour"}, True),
        (page(WHOLE[2]), {"modelId": "claude-sonnet"}, False),
        (page(WHOLE[2]), {"modelId": "claude"}, True),
        (page(WHOLE[0]), {"modelId": "seedream-v5", "status": "failed"}, False),
        (page(*WHOLE[:2]), {"modelId": "seedream-v5", "status": "failed"}, True),
        before=WHOLE,
        after=WHOLE,
    ),
    "the total counts all rows": rows(
        usage.total,
        (page(WHOLE[0], total=3), WHOLE, False),
        (page(WHOLE[0], total=1), WHOLE, True),
        (page(WHOLE[0], total=4), WHOLE, True),
        (page(WHOLE[0], total=4), [row(4), *WHOLE], False),
        (page(WHOLE[0], total="3"), WHOLE, False),
        before=WHOLE,
    ),
    "each used model is listed once": rows(
        usage.distinct_models,
        (models(["a", "b"]), False),
        (models({"models": ["b", "a", "canvas-only"]}), False),
        (models({"ids": ["a", "b"], "since": 1}), False),
        (models(["a", "b", "a"]), True),
        (models({"models": ["a"]}), True),
        (models({"usage": 2}), False),
        used={"a", "b"},
    ),
    "rows show the costs of the responses; runs of others do not matter": rows(
        usage.reconciled,
        ([3, 3, 3], charged(3, 3, 3), set()),
        ([3, 8], charged(8, 3), set()),
        ([0.1, 0.2], charged(0.2, 0.1), set()),
        ([3, 3, 3], charged(3, 0, 3), {"run.charge-equals-usage"}),
        ([3, 3, 3], charged(3, 2, 4), {"run.charge-equals-usage"}),
        ([3, 3, 3], charged(3, 3), {"usage.run-has-a-row"}),
        ([3, 3], charged(3, 3, 3), set()),
        ([3, 3], charged(3, "3"), set()),
        answer=exchange(200, {}),
    ),
    "a page lists no run twice": rows(
        usage.one_row_of_each_run,
        (page(*WHOLE), False),
        (page(row(2, requestId="req_1"), row(1)), True),
        (page(row(1), row(1)), False),
        (page(row(2, requestId=None), row(1, requestId=None)), False),
    ),
}


@pytest.mark.parametrize(("check", "answer", "known", "facts"), named(CASES))
def test_check_finds_what_is_broken(check, answer, known, facts):
    assert_breaks(check, answer, known, facts)
