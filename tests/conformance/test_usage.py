"""What usage lists: every API run of one's own, no other, and of those what was asked for."""

from __future__ import annotations

import pytest

from knouds_harness.conformance.checks import schemas, usage
from knouds_harness.conformance.checks.runs import reported_credits
from knouds_harness.conformance.checks.usage import DEFAULT_LIMIT, MAX_LIMIT, model_ids_of, rows_of
from knouds_harness.conformance.history import await_rows, read_page, read_pages, read_rows
from knouds_harness.conformance.needs import (
    COUNTED_MODEL,
    FAILING_POLLED_MODEL,
    FAILING_WORKFLOW,
    FULL_KEY,
    OWN_POLLED_WORKFLOW,
    OWN_WORKFLOW,
    POLLED_MODEL,
    STRANGER_KEY,
    STRANGER_MODEL_KEY,
    USABLE_MODEL,
    WITHOUT_GENERATOR_WORKFLOW,
    once,
)
from knouds_harness.conformance.statuses import FINAL, body_of, status_in
from knouds_harness.target.resources import Workflow

MORE_THAN_A_PAGE = DEFAULT_LIMIT + 5
SMALL_PAGE = 10
RECONCILED = 10  # what goes wrong with one run in ten shows


def request_ids(rows):
    """By which request each row came about."""
    return {row.get("requestId") for row in rows}


def has_more_than(known):
    """Whether rows hold another than those of these requests."""
    return lambda rows: bool(request_ids(rows) - known)


def fill_history(probe, subjects, *, most=MORE_THAN_A_PAGE):
    """Have the full key's account hold so many rows, where runs that cost nothing can make them."""
    workflow = WITHOUT_GENERATOR_WORKFLOW.find(probe.target)
    known = len(read_rows(probe, probe.need(FULL_KEY)))
    if workflow is not None and probe.price(workflow) == 0:
        for _ in range(most - known):
            subjects.run(workflow, probe.need(FULL_KEY))


def runs_that_fill(target):
    """What ``fill_history`` may run."""
    return once(WITHOUT_GENERATOR_WORKFLOW)(target) * MORE_THAN_A_PAGE


def beginnings_first(names):
    """Names with which another begins come first: a filter must not take one for the other."""
    return sorted(
        names, key=lambda name: (not any(each != name and each.startswith(name) for each in names), name)
    )


@pytest.mark.spends.with_args(runs_that_fill)
@pytest.mark.proves(usage.own_user, usage.no_canvas_rows, usage.no_provider_ids, schemas.body)
def test_rows_are_of_the_key_owner(probe, subjects):
    """Every row is of the key's own account, on every page, small or large, filtered or not."""
    fill_history(probe, subjects)
    personas = [probe.need(FULL_KEY), STRANGER_KEY.find(probe.target)]
    for persona in filter(None, personas):
        user_id = subjects.account_id(persona)
        if user_id is not None:
            pages = [read_page(probe, persona), read_page(probe, persona, offset=DEFAULT_LIMIT)]
            pages += read_pages(probe, persona, size=SMALL_PAGE, most=3) + read_pages(probe, persona)
            pages += [read_page(probe, persona, status=status) for status in ("completed", "failed")]
            for page in pages:
                probe.judge(usage.own_user, page, user_id=user_id)
                probe.judge(usage.no_canvas_rows, page)
                probe.judge(usage.no_provider_ids, page)


@pytest.mark.spends.with_args(lambda target: once(USABLE_MODEL)(target) * 2)
@pytest.mark.proves(usage.no_foreign_run)
def test_runs_of_others_do_not_show(probe, subjects):
    """What one account runs does not show in the other's usage, in either direction."""
    pair = (probe.need(FULL_KEY), probe.need(STRANGER_MODEL_KEY))
    for runner, other in (pair, pair[::-1]):
        known = request_ids(read_rows(probe, runner))
        subjects.run(probe.need(USABLE_MODEL), runner)
        made = await_rows(probe, runner, has_more_than(known))
        foreign = {each for each in request_ids(made) - known if isinstance(each, str)}
        for page in (
            *read_pages(probe, other),
            read_page(probe, other, modelId=probe.need(USABLE_MODEL).name),
        ):
            probe.judge(usage.no_foreign_run, page, foreign=foreign)


@pytest.mark.proves(usage.no_row_of_two)
def test_no_row_is_of_two_accounts(probe):
    """No row that one account has shows in the other's usage, however long ago the run was."""
    pair = (probe.need(FULL_KEY), probe.need(STRANGER_KEY))
    for reader, other in (pair, pair[::-1]):
        theirs = {usage.run_of(row) for row in read_rows(probe, other)}
        for page in read_pages(probe, reader):
            probe.judge(usage.no_row_of_two, page, theirs=theirs)


@pytest.mark.proves(usage.no_canvas_rows)
@pytest.mark.parametrize("status", [None, "completed", "failed"])
def test_no_canvas_rows(probe, status):
    """No row comes from the canvas, filtered or not."""
    query = {"status": status} if status else {}

    page = read_page(probe, probe.need(FULL_KEY), limit=MAX_LIMIT, **query)

    probe.judge(usage.no_canvas_rows, page)


@pytest.mark.proves(usage.no_provider_ids, schemas.body)
def test_no_provider_ids(probe):
    """No row and no list of models names a model by its provider's internal id."""
    owner = probe.need(FULL_KEY)

    for exchange in (*read_pages(probe, owner), probe.send("listUsageModels", owner)):
        probe.judge(usage.no_provider_ids, exchange)


@pytest.mark.spends.with_args(runs_that_fill)
@pytest.mark.proves(usage.limit)
@pytest.mark.parametrize("limit", [1, 2, DEFAULT_LIMIT, DEFAULT_LIMIT + 1, MAX_LIMIT])
def test_limit(probe, subjects, limit):
    """No more rows come back than limit asks for."""
    fill_history(probe, subjects)

    page = read_page(probe, probe.need(FULL_KEY), limit=limit)

    probe.judge(usage.limit, page, limit=limit)


@pytest.mark.spends.with_args(runs_that_fill)
@pytest.mark.proves(usage.limit)
@pytest.mark.parametrize("limit", [MAX_LIMIT + 1, 2 * MAX_LIMIT])
def test_limit_is_capped(probe, subjects, limit):
    """No more than 500 rows come back, whatever limit asks for.

    A target that says of its page that it may be longer is given as many rows as show whether it is.
    """
    owner = probe.need(FULL_KEY)
    page = read_page(probe, owner, limit=limit)
    size = body_of(page).get("pageSize")
    if isinstance(size, int) and size > MAX_LIMIT:
        fill_history(probe, subjects, most=MAX_LIMIT + 1)
        page = read_page(probe, owner, limit=limit)

    probe.judge(usage.limit, page, limit=limit)


@pytest.mark.spends.with_args(runs_that_fill)
@pytest.mark.proves(usage.default_limit)
def test_default_limit(probe, subjects):
    """Without a limit, 50 rows come back, or all where there are fewer."""
    fill_history(probe, subjects)
    owner = probe.need(FULL_KEY)
    known = len(read_rows(probe, owner))

    page = read_page(probe, owner)

    probe.judge(usage.default_limit, page, known=known)


@pytest.mark.proves(usage.offset)
@pytest.mark.parametrize("limit", [2, MAX_LIMIT])
def test_offset(probe, limit):
    """A page with an offset is the list without as many rows; past its end there are none."""
    owner = probe.need(FULL_KEY)
    before = rows_of(read_page(probe, owner, limit=MAX_LIMIT))
    offsets = (0, 1, 2, len(before) - 1, len(before), len(before) + 1)
    is_whole = len(before) < MAX_LIMIT

    pages = {
        offset: read_page(probe, owner, limit=limit, offset=offset)
        for offset in offsets
        if offset >= 0 and (is_whole or offset + limit <= len(before))
    }

    after = rows_of(read_page(probe, owner, limit=MAX_LIMIT))
    for offset, page in pages.items():
        probe.judge(usage.offset, page, before=before, after=after, offset=offset, limit=limit)


@pytest.mark.spends.with_args(once(USABLE_MODEL, FAILING_WORKFLOW, OWN_WORKFLOW))
@pytest.mark.proves(usage.filtered)
def test_filters(probe, subjects):
    """Status, model and workflow, alone and together, leave the rows that fit: all of them and no other."""
    owner = probe.need(FULL_KEY)
    for need in (USABLE_MODEL, FAILING_WORKFLOW, OWN_WORKFLOW):
        resource = need.find(probe.target)
        if resource is not None and probe.pricing.worst_case(resource) is not None:
            subjects.run(resource, owner)
    before = read_rows(probe, owner)
    model_ids = beginnings_first({each for row in before for each in model_ids_of(row)})
    slugs = beginnings_first({str(row["workflowSlug"]) for row in before if row.get("workflowSlug")})
    queries = [{"status": status} for status in ("processing", "completed", "failed")]
    queries += [{"modelId": each} for each in (*model_ids[:4], *(each[:-1] for each in model_ids[:2]))]
    queries += [{"workflowSlug": each} for each in (*slugs[:4], *(each[:-1] for each in slugs[:2]))]
    queries += [{"status": "completed", "modelId": each} for each in model_ids[:2]]
    queries += [{"status": "failed", "workflowSlug": each} for each in slugs[:2]]

    pages = [(query, read_page(probe, owner, limit=MAX_LIMIT, **query)) for query in queries]

    after = read_rows(probe, owner)
    for query, page in pages:
        probe.judge(usage.filtered, page, before=before, after=after, filters=query)


@pytest.mark.proves(usage.total)
@pytest.mark.parametrize("query", [{}, {"limit": 1}, {"limit": 2, "offset": 1}], ids=str)
def test_total(probe, query):
    """The total is the number of rows there are, however few of them the page holds."""
    owner = probe.need(FULL_KEY)
    before = read_rows(probe, owner)

    page = read_page(probe, owner, **query)

    probe.judge(usage.total, page, before=before, after=read_rows(probe, owner))


@pytest.mark.proves(usage.row_of_run, schemas.body)
@pytest.mark.parametrize(
    ("need", "is_async"),
    [
        pytest.param(need, is_async, id=name, marks=[pytest.mark.spends.with_args(once(need)), *marks])
        for need, is_async, name, *marks in (
            (OWN_WORKFLOW, False, "workflow"),
            (USABLE_MODEL, False, "model"),
            (COUNTED_MODEL, False, "another-model", pytest.mark.thorough),
            (FAILING_WORKFLOW, False, "failing-workflow"),
            (POLLED_MODEL, True, "async-model"),
            (OWN_POLLED_WORKFLOW, True, "async-workflow", pytest.mark.thorough),
            (FAILING_POLLED_MODEL, True, "failing-async-model", pytest.mark.thorough),
        )
    ],
)
def test_run_has_a_row(probe, subjects, need, is_async):
    """Each run has a row that ends as it did: of a workflow or a model, failed or not, async or not."""
    owner, resource = probe.need(FULL_KEY), probe.need(need)
    known = request_ids(read_rows(probe, owner))
    run = subjects.run(resource, owner, is_async=is_async)
    body = run.json_or_none()
    if run.status not in (200, 202) and run.code != "EXECUTION_FAILED":
        pytest.skip(f"untested: the profile lacks a run that is accepted: this one was answered {run.status}")
    if is_async:
        ending = status_in(subjects.await_end(run, deadline_s=resource.deadline_s))
    else:
        ending = "failed" if run.code == "EXECUTION_FAILED" else "completed"
    request_id = body.get("requestId") if is_async and isinstance(body, dict) else None
    what = {
        "known": known,
        "workflow_slug": resource.slug if isinstance(resource, Workflow) else None,
        "model_id": None if isinstance(resource, Workflow) else resource.name,
        "request_id": request_id,
        "ending": ending if ending in FINAL else None,
    }

    rows = await_rows(
        probe,
        owner,
        lambda rows: all(claim.holds for claim in usage.row_of_run.judge(run, rows=rows, **what)),
    )

    probe.judge(usage.row_of_run, run, rows=rows, **what)


@pytest.mark.spends.with_args(lambda target: once(USABLE_MODEL)(target) * RECONCILED)
@pytest.mark.proves(usage.reconciled)
def test_accounts_are_reconciled(probe, subjects):
    """What many runs said they cost, sent at once, is what the account's new rows say."""
    owner, model = probe.need(FULL_KEY), probe.need(USABLE_MODEL)
    known = {row.get("id") for row in read_rows(probe, owner)}

    def come(rows):
        what = {"modelId": model.name, "status": "completed", "workflowSlug": None}
        return [row for row in rows if row.get("id") not in known and usage.fits(row, what)]

    runs = probe.send_together(*subjects.running(model, owner), times=RECONCILED)
    said = [reported_credits(run) for run in runs if run.status == 200]
    rows = await_rows(probe, owner, lambda rows: len(come(rows)) >= len(said))

    if said and None not in said:
        probe.judge(usage.reconciled, runs[-1], cost_credits=said, rows=come(rows))


@pytest.mark.spends.with_args(lambda target: once(USABLE_MODEL)(target) * 2)
@pytest.mark.proves(usage.distinct_models, schemas.body)
def test_models_are_distinct(probe, subjects):
    """Usage models lists each model of one's history, and each once however often it ran."""
    owner = probe.need(FULL_KEY)
    if USABLE_MODEL.find(probe.target) is not None:
        for _ in range(2):
            subjects.run(probe.need(USABLE_MODEL), owner)
    used = {each for row in read_rows(probe, owner) for each in model_ids_of(row)}

    exchange = probe.send("listUsageModels", owner)

    probe.judge(usage.distinct_models, exchange, used=used)
