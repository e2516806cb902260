"""What usage lists: every API run of one's own, no other, and of those what was asked for."""

from collections import Counter
from contextlib import nullcontext

import pytest

from knouds_harness.contract.operations import FINAL, RUN_OPERATIONS
from knouds_harness.exchange.evidence import body_of, status_in
from knouds_harness.exchange.usage import MAX_LIMIT, model_ids_of, rows_of, rows_of_run, run_of
from knouds_harness.judging.checks import schemas, usage
from knouds_harness.judging.checks.runs import reported_credits
from knouds_harness.judging.checks.usage import DEFAULT_LIMIT
from knouds_harness.suite.support.usage_rows import (
    Run,
    await_rows,
    page_of,
    read_page,
    read_pages,
    read_rows,
    reserved_rows,
    reserved_run,
    rows_that_came,
)
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.keys import ANY_KEY, TWO_ACCOUNTS
from knouds_harness.targets.needs.rate_limits import FREE_RUNNER
from knouds_harness.targets.needs.runs import (
    ANY_RUN,
    ASYNC_MODEL_RUN,
    ASYNC_WORKFLOW_RUN,
    CHEAPEST_RUN,
    COUNTED_MODEL_RUN,
    FAILING_ASYNC_RUN,
    FAILING_RUN,
    MODEL_RUN,
    WORKFLOW_RUN,
    once,
)
from knouds_harness.targets.needs.workflows import OTHER_RUN_AND_STRANGER, RUN_AND_STRANGER
from knouds_harness.targets.resources import Model, Workflow

MORE_THAN_A_PAGE = DEFAULT_LIMIT + 5
SMALL_PAGE = 10
RUNS_BESIDE = 2
LOST = 2
REPEATED_S = 0.5  # a gateway that sends again what was given up does so at once
RECONCILED = 10  # what goes wrong with one run in ten shows


def request_ids(rows):
    return {row.get("requestId") for row in rows}


def has_more_than(known):
    return lambda rows: bool(request_ids(rows) - known)


def fill_history(tester, test_data, *, most=MORE_THAN_A_PAGE):
    """Have an account hold so many rows, where free runs can make them; a key that reads them."""
    runner = FREE_RUNNER.met_by(tester.target)
    if runner is None:
        return tester.need(ANY_KEY)
    workflow = test_data.cheapest_workflow(runner)
    with reserved_run(tester, Run(runner, workflow)):  # so that tests side by side do not all fill it
        known = len(read_rows(tester, runner))
        if tester.price(workflow) == 0:
            for _ in range(most - known):
                test_data.run(workflow, runner)
    return runner


def runs_of(target, user):
    found = [
        next((each for each in need.fitting(target) if each.key.user == user), None)
        for need in (MODEL_RUN, FAILING_RUN, WORKFLOW_RUN)
        if need.missing(target) is None
    ]
    return [each for each in found if each is not None]


def runs_to_filter(target):
    """What the runs of the account cost whose usage is filtered."""
    key = ANY_KEY.find(target)
    return [each.resource for each in runs_of(target, key.user)] if key else []


def beginnings_first(names):
    """Names with which another begins come first: a filter must not take one for the other."""
    return sorted(
        names, key=lambda name: (not any(each != name and each.startswith(name) for each in names), name)
    )


@pytest.mark.needs(ANY_RUN)
@pytest.mark.proves(usage.own_user, usage.no_canvas_rows, usage.no_provider_ids, schemas.body)
def test_rows_are_of_the_key_owner(tester, test_data):
    """Every row is of the key's own account, on every page, small or large, filtered or not."""
    personas = [fill_history(tester, test_data)]
    both = TWO_ACCOUNTS.met_by(tester.target) or ()
    personas += [each for each in both if each.user != personas[0].user]
    for persona in personas:
        user_id = test_data.account_id(persona)
        if user_id is not None:
            asked = [page_of(persona), page_of(persona, offset=DEFAULT_LIMIT)]
            asked += [page_of(persona, limit=SMALL_PAGE, offset=SMALL_PAGE * page) for page in range(3)]
            asked += [page_of(persona, status=status) for status in ("completed", "failed")]
            for page in (*tester.send_at_once(asked), *read_pages(tester, persona)):
                tester.judge(usage.own_user, page, user_id=user_id)


@pytest.mark.waits
@pytest.mark.spends.with_args(once(RUN_AND_STRANGER, OTHER_RUN_AND_STRANGER))
@pytest.mark.proves(usage.no_foreign_run)
def test_runs_of_others_do_not_show(tester, test_data):
    """What one account runs does not show in the other's usage, in either direction if both may run."""
    for need in (RUN_AND_STRANGER, OTHER_RUN_AND_STRANGER):
        if (found := need.met_by(tester.target)) is not None:
            (runner, resource), other = found
            known = request_ids(read_rows(tester, runner))
            test_data.run(resource, runner)
            made = await_rows(tester, runner, has_more_than(known))
            foreign = {each for each in request_ids(made) - known if isinstance(each, str)}
            is_model = isinstance(resource, Model)
            query = {"modelId" if is_model else "workflowSlug": resource.name}
            for page in (*read_pages(tester, other), read_page(tester, other, **query)):
                tester.judge(usage.no_foreign_run, page, foreign=foreign)


@pytest.mark.independent
@pytest.mark.proves(usage.no_row_of_two)
def test_no_row_is_of_two_accounts(tester):
    """No row that one account has shows in the other's usage, however long ago the run was."""
    pair = tester.need(TWO_ACCOUNTS)
    for reader, other in (pair, pair[::-1]):
        theirs = {run_of(row) for row in read_rows(tester, other)}
        for page in read_pages(tester, reader):
            tester.judge(usage.no_row_of_two, page, theirs=theirs)


@pytest.mark.independent
@pytest.mark.proves(usage.no_provider_ids, usage.no_canvas_rows, schemas.body)
def test_usage_shows_nothing_internal(tester):
    """No row comes from the canvas, filtered or not; none names a model by its provider's internal id."""
    owner = tester.need(ANY_KEY)

    read_pages(tester, owner)
    for status in ("completed", "failed"):
        read_page(tester, owner, limit=MAX_LIMIT, status=status)
    tester.send("listUsageModels", owner)


@pytest.mark.independent
@pytest.mark.proves(usage.limit)
@pytest.mark.parametrize(
    "limit", [1, 2, DEFAULT_LIMIT, DEFAULT_LIMIT + 1, MAX_LIMIT, MAX_LIMIT + 1, 2 * MAX_LIMIT]
)
def test_page_has_no_more_rows_than_its_limit(tester, test_data, limit):
    """No more rows come back than limit asks for, and never more than 500.

    A target that says of its page that it may be longer is given as many rows as show whether it is.
    """
    owner = fill_history(tester, test_data, most=MORE_THAN_A_PAGE if limit <= MAX_LIMIT else 0)
    page = read_page(tester, owner, limit=limit)
    size = body_of(page).get("pageSize")
    if isinstance(size, int) and size > MAX_LIMIT:
        fill_history(tester, test_data, most=MAX_LIMIT + 1)
        page = read_page(tester, owner, limit=limit)

    tester.judge(usage.limit, page, limit=limit)


@pytest.mark.independent
@pytest.mark.proves(usage.default_limit)
def test_page_without_a_limit_has_50_rows(tester, test_data):
    """Without a limit, 50 rows come back, or all where there are fewer."""
    owner = fill_history(tester, test_data)
    before = len(read_rows(tester, owner))

    page = read_page(tester, owner)

    after = len(read_rows(tester, owner))
    total = min(max(len(rows_of(page)), before), after)  # another run may have begun in between
    tester.judge(usage.default_limit, page, total=total)


@pytest.mark.independent
@pytest.mark.proves(usage.offset)
@pytest.mark.parametrize("limit", [2, MAX_LIMIT])
def test_offset_leaves_out_as_many_rows(tester, limit):
    """A page with an offset is the list without as many rows, up to its end and past it."""
    owner = tester.need(ANY_KEY)
    before = rows_of(read_page(tester, owner, limit=MAX_LIMIT))
    offsets = {0, 1, 2, *(len(before) + each for each in (-limit, -1, 0, 1))}
    is_whole = len(before) < MAX_LIMIT

    page_by_offset = {
        offset: read_page(tester, owner, limit=limit, offset=offset)
        for offset in sorted(offsets)
        if offset >= 0 and (is_whole or offset + limit <= len(before))
    }

    after = rows_of(read_page(tester, owner, limit=MAX_LIMIT))
    for offset, page in page_by_offset.items():
        tester.judge(usage.offset, page, before=before, after=after, offset=offset, limit=limit)


@pytest.mark.independent
@pytest.mark.proves(usage.offset)
@pytest.mark.parametrize("name", ["status", "modelId", "workflowSlug"])
def test_offset_skips_rows_that_fit_a_filter(tester, name):
    """With a filter, the offset skips as many of the rows that fit."""
    owner = tester.need(ANY_KEY)
    values = Counter(value for row in read_rows(tester, owner) for value in values_to_filter(row)[name])
    value, times = max(values.items(), key=lambda each: each[1], default=("", 0))
    if times < 2:
        raise Untested(f"two rows of usage with the same {name}")
    query = {name: value, "limit": MAX_LIMIT}
    before = rows_of(read_page(tester, owner, **query))

    page = read_page(tester, owner, **(query | {"limit": 2, "offset": 1}))

    after = rows_of(read_page(tester, owner, **query))
    tester.judge(usage.offset, page, before=before, after=after, offset=1, limit=2)


def values_to_filter(row):
    """What selects a row, by the name of the filter; only final statuses, as others change."""
    slug, status = row.get("workflowSlug"), row.get("status")
    return {
        "status": [status] if status in ("completed", "failed") else [],
        "modelId": model_ids_of(row),
        "workflowSlug": [slug] if isinstance(slug, str) else [],
    }


@pytest.mark.waits
@pytest.mark.thorough
@pytest.mark.spends.with_args(once(*[CHEAPEST_RUN] * RUNS_BESIDE))
@pytest.mark.proves(usage.offset)
def test_pages_beside_runs_are_parts_of_one_list(tester, test_data):
    """Pages that are read while runs are made show no row twice, and leave out none between two of theirs."""
    owner, resource = tester.need(CHEAPEST_RUN)
    asked = [(MAX_LIMIT, 0), (SMALL_PAGE, 0), (SMALL_PAGE, SMALL_PAGE)] * RUNS_BESIDE
    before = read_rows(tester, owner)

    sendings = [page_of(owner, limit=limit, offset=offset) for limit, offset in asked]
    for number in range(RUNS_BESIDE):
        sendings.insert(4 * number, test_data.running(resource, owner))
    answers = tester.send_at_once(sendings)

    after = read_rows(tester, owner)
    listed = [each for each in answers if each.request.operation_id == "listUsage"]
    for (limit, offset), page in zip(asked, listed, strict=True):
        tester.judge(usage.offset, page, before=before, after=after, offset=offset, limit=limit)


@pytest.mark.spends.with_args(runs_to_filter)
@pytest.mark.proves(usage.filtered)
def test_filters_leave_all_rows_that_fit_and_no_other(tester, test_data):
    """Status, model and workflow, alone and together, leave the rows that fit: all of them and no other."""
    owner = tester.need(ANY_KEY)
    test_data.run_at_once(runs_of(tester.target, owner.user))
    before = read_rows(tester, owner)
    model_ids = beginnings_first({each for row in before for each in model_ids_of(row)})
    slugs = beginnings_first({str(row["workflowSlug"]) for row in before if row.get("workflowSlug")})
    queries = [{"status": status} for status in ("processing", "completed", "failed")]
    queries += [{"modelId": each} for each in (*model_ids[:4], *(each[:-1] for each in model_ids[:2]))]
    queries += [{"workflowSlug": each} for each in (*slugs[:4], *(each[:-1] for each in slugs[:2]))]
    queries += [{"status": "completed", "modelId": each} for each in model_ids[:2]]
    queries += [{"status": "failed", "workflowSlug": each} for each in slugs[:2]]

    answers = tester.send_at_once([page_of(owner, limit=MAX_LIMIT, **query) for query in queries])

    after = read_rows(tester, owner)
    for query, page in zip(queries, answers, strict=True):
        tester.judge(usage.filtered, page, before=before, after=after, filters=query)


@pytest.mark.independent
@pytest.mark.proves(usage.total)
@pytest.mark.parametrize("query", [{}, {"limit": 1}, {"limit": 2, "offset": 1}], ids=str)
def test_total_is_the_number_of_all_rows(tester, query):
    """The total is the number of rows there are, however few of them the page holds."""
    owner = tester.need(ANY_KEY)
    before = read_rows(tester, owner)

    page = read_page(tester, owner, **query)

    tester.judge(usage.total, page, before=before, after=read_rows(tester, owner))


@pytest.mark.waits
@pytest.mark.proves(usage.row_of_run, usage.failed_is_charged_once, schemas.body)
@pytest.mark.shows("run.charged-per-generator", FAILING_RUN)
@pytest.mark.parametrize(
    ("need", "is_async"),
    [
        pytest.param(
            need,
            is_async,
            id=name,
            marks=[
                pytest.mark.shows("usage.run-has-a-row"),
                *([pytest.mark.shows("usage.slim-has-no-workflow")] if "model" in name else []),
                pytest.mark.spends.with_args(once(need)),
                *marks,
            ],
        )
        for need, is_async, name, *marks in (
            (WORKFLOW_RUN, False, "workflow"),
            (MODEL_RUN, False, "model"),
            (COUNTED_MODEL_RUN, False, "another-model", pytest.mark.thorough),
            (FAILING_RUN, False, "failing"),
            (ASYNC_MODEL_RUN, True, "async-model"),
            (ASYNC_WORKFLOW_RUN, True, "async-workflow", pytest.mark.thorough),
            (FAILING_ASYNC_RUN, True, "failing-async", pytest.mark.thorough),
        )
    ],
)
def test_each_run_has_a_usage_row(tester, test_data, need, is_async):
    """Each run has a row that ends as it did: of a workflow or a model, failed or not, async or not."""
    # The row of one that is waited for is found by being new.
    with nullcontext() if is_async else reserved_rows(tester, tester.need(need)):
        judge_row_of(tester, test_data, *tester.need(need), is_async=is_async)


def judge_row_of(tester, test_data, owner, resource, *, is_async):
    known = request_ids(read_rows(tester, owner))
    run = test_data.run(resource, owner, is_async=is_async)
    body = run.json_or_none()
    if run.status not in (200, 202) and run.code != "EXECUTION_FAILED":
        raise Untested(f"a run that is accepted: this one was answered {run.status}")
    if is_async:
        ending = status_in(test_data.await_end(run, owner, deadline_s=resource.deadline_s)[-1])
    else:
        ending = "failed" if run.code == "EXECUTION_FAILED" else "completed"
    request_id = body.get("requestId") if is_async and isinstance(body, dict) else None
    what = {
        "workflow_slug": resource.slug if isinstance(resource, Workflow) else None,
        "model_id": None if isinstance(resource, Workflow) else resource.name,
        "request_id": request_id,
    }
    ended = {**what, "ending": ending if ending in FINAL else None}

    rows = await_rows(
        tester,
        owner,
        lambda rows: all(
            claim.holds for claim in usage.row_of_run.judge(run, rows=rows, known=known, **ended)
        ),
    )

    tester.judge(usage.row_of_run, run, rows=rows, known=known, **ended)
    if resource.fails:
        own, price_credits = rows_of_run(rows, known=known, **what), tester.price(resource)
        tester.judge(usage.failed_is_charged_once, run, rows=own, price_credits=price_credits)


@pytest.mark.waits
@pytest.mark.spends.with_args(once(*[CHEAPEST_RUN] * RECONCILED))
@pytest.mark.proves(usage.reconciled)
def test_rows_add_up_to_what_the_runs_said_they_cost(tester, test_data):
    """What many runs said they cost, sent at once, is what the account's new rows say."""
    run = owner, resource = tester.need(CHEAPEST_RUN)

    with reserved_run(tester, run):
        known = read_rows(tester, owner)
        runs = tester.send_together(*test_data.running(resource, owner), times=RECONCILED)
        said = [reported_credits(run) for run in runs if run.status == 200]
        rows = await_rows(
            tester, owner, lambda rows: len(completed_since(tester, known, rows, run)) >= len(said)
        )

    if said and None not in said:
        came = completed_since(tester, known, rows, run)
        tester.judge(usage.reconciled, runs[-1], cost_credits=said, rows=came)


def completed_since(tester, known, rows, run):
    """The rows of synchronous runs of one workflow or model that have completed and were not known."""
    owner, resource = run
    sent = [each for name in RUN_OPERATIONS for each in tester.runs.of(owner.user, name)]
    submitted = {body_of(each).get("requestId") for each in sent if body_of(each).get("_async")}
    return [
        row
        for row in rows_that_came(known, rows, resource)
        if row.get("status") == "completed" and row.get("requestId") not in submitted
    ]


@pytest.mark.waits
@pytest.mark.thorough
@pytest.mark.spends.with_args(once(*[CHEAPEST_RUN] * (LOST + 1)))
@pytest.mark.proves(usage.reconciled)
def test_run_whose_answer_is_lost_is_charged_once(tester, test_data):
    """Runs whose client closes the connection before an answer comes have a row each, at the usual price."""
    run = owner, resource = tester.need(CHEAPEST_RUN)
    operation_id, _, call = test_data.running(resource, owner)
    with reserved_run(tester, run):
        answered = test_data.run(resource, owner)
        known = await_rows(tester, owner, lambda rows: bool(completed_since(tester, (), rows, run)))
        lost = tester.send_at_once([(operation_id, owner, call.having(is_abandoned=True))] * LOST)
        await_rows(tester, owner, lambda rows: len(completed_since(tester, known, rows, run)) >= LOST)
        tester.wait(answered.elapsed_ms / 1000 + REPEATED_S)
        rows = completed_since(tester, known, read_rows(tester, owner), run)

    said = reported_credits(answered)
    if said is None or len(rows) < LOST:
        raise Untested("a run that goes on, and has a row, when its client has closed the connection")
    tester.judge(usage.reconciled, lost[-1], cost_credits=[said] * LOST, rows=rows)


@pytest.mark.spends.with_args(once(MODEL_RUN, MODEL_RUN))
@pytest.mark.proves(usage.distinct_models, schemas.body)
def test_usage_models_lists_each_model_once(tester, test_data):
    """Usage models lists each model of one's history, and each once however often it ran."""
    owner = tester.need(ANY_KEY)
    if (found := MODEL_RUN.met_by(tester.target)) is not None:
        owner, model = found
        test_data.run_at_once([(owner, model)] * 2)
    used = {each for row in read_rows(tester, owner) for each in model_ids_of(row)}

    exchange = tester.send("listUsageModels", owner)

    tester.judge(usage.distinct_models, exchange, used=used)
