"""Requests at once: distinct slugs, no overspending, no more than the limit."""

from __future__ import annotations

import uuid

import pytest

from knouds_harness.conformance.charges import row_of_request
from knouds_harness.conformance.checks import concurrency, envelopes, refusals, schemas, webhooks
from knouds_harness.conformance.checks.concurrency import created_slug
from knouds_harness.conformance.history import await_rows
from knouds_harness.conformance.needs import (
    ANY_KEY,
    CONTROL,
    FULL_KEY,
    LIMITED_KEY,
    POLLED_MODEL,
    RECEIVING_KEY,
    USABLE_MODEL,
    limited_runs,
    mints_webhooks,
    once,
)
from knouds_harness.conformance.probe import UNTESTED, Call
from knouds_harness.conformance.trails import Executions
from knouds_harness.contract.tiers import LIMIT_BY_TIER
from knouds_harness.target.personas import Secret
from knouds_harness.target.resources import Webhook

AT_ONCE = 8
PAID_AT_ONCE = 3
AFFORDABLE = 3
LEFT = 4
ROUNDS = 4
DELIVERY_S = 15.0
ANOTHER_S = 0.3  # a second delivery of one end comes with the first
RUNNER = frozenset({"workflow:read", "workflow:run", "model:run"})
MEMBERS = ("description", "name")


def are_admitted(exchanges):
    """Those that succeeded."""
    return [exchange for exchange in exchanges if exchange.status == 200]


@pytest.mark.proves(concurrency.distinct_slugs)
def test_simultaneous_creates(probe, subjects):
    """Workflows of one name that are created at once get slugs of their own."""
    call = Call(json={"name": f"Harness twin {uuid.uuid4().hex[:8]}"})

    created = probe.send_together("createWorkflow", probe.need(FULL_KEY), call, times=AT_ONCE)

    for exchange in created:
        subjects.note_created(exchange)
    slugs = [created_slug(exchange) for exchange in created]
    for index, exchange in enumerate(created):
        others = [slug for slug in (*slugs[:index], *slugs[index + 1 :]) if slug is not None]
        probe.judge(concurrency.distinct_slugs, exchange, others=others)


@pytest.fixture(autouse=True)
def open_connections(probe):
    """As many connections as may be used: what is sent at once then also arrives at once."""
    key = ANY_KEY.find(probe.target)
    if key is not None:
        probe.send_together("getWhoami", key, Call(), times=probe.most_at_once)


def to_workflow(operation_id, persona, slug, body=None):
    """A request to one workflow."""
    values = {"slug": slug}
    call = Call(path_values=values) if body is None else Call(path_values=values, json=body)
    return operation_id, persona, call


def read(probe, persona, slug):
    """A workflow as it is now."""
    return probe.send(*to_workflow("getWorkflow", persona, slug))


@pytest.mark.proves(concurrency.updates_in_some_order)
def test_simultaneous_updates(probe, subjects):
    """Updates at once of different members all take effect, one after another."""
    owner = probe.need(FULL_KEY)
    for _ in range(ROUNDS):
        slug = subjects.make_workflow(owner, description="before")
        before = read(probe, owner, slug)
        updates = [{"description": "first"}, {"name": "Harness scratch again"}, {"description": "second"}]
        sendings = [to_workflow("updateWorkflow", owner, slug, update) for update in updates]
        sendings += [to_workflow("getWorkflow", owner, slug)] * 2

        history = [*probe.send_at_once(sendings), read(probe, owner, slug)]

        probe.judge(
            concurrency.updates_in_some_order, history[-1], before=before, history=history, members=MEMBERS
        )


@pytest.mark.proves(concurrency.moves_in_some_order)
def test_moves_beside_updates(probe, subjects):
    """A move takes effect whatever is updated at the same time."""
    owner = probe.need(FULL_KEY)
    for _ in range(ROUNDS):
        slug = subjects.make_workflow(owner)
        before = read(probe, owner, slug)
        folder = f"harness-{uuid.uuid4().hex[:8]}"
        update = to_workflow("updateWorkflow", owner, slug, {"description": "beside a move"})
        move = to_workflow("moveWorkflow", owner, slug, {"folderId": folder})

        sent = probe.send_at_once([update, update, move, to_workflow("getWorkflow", owner, slug)])
        history = [*sent, read(probe, owner, slug)]

        probe.judge(concurrency.moves_in_some_order, history[-1], before=before, history=history)


@pytest.mark.proves(concurrency.deletes_in_some_order)
def test_deletes_beside_updates(probe, subjects):
    """Of a workflow that is deleted and written at once nothing is left, and nothing comes back."""
    owner = probe.need(FULL_KEY)
    for _ in range(ROUNDS):
        slug = subjects.make_workflow(owner)
        update = to_workflow("updateWorkflow", owner, slug, {"description": "beside a delete"})
        delete = to_workflow("deleteWorkflow", owner, slug)
        get = to_workflow("getWorkflow", owner, slug)

        sent = probe.send_at_once([update, update, delete, get, update, delete])
        history = [*sent, read(probe, owner, slug), read(probe, owner, slug)]

        probe.judge(concurrency.deletes_in_some_order, history[-1], history=history)


@pytest.fixture(scope="module")
def executions(probe, subjects):
    """Makes executions."""
    return Executions(probe, subjects)


def cancelled_at_once(probe, executions, trail):
    """An execution with several cancels, and polls between, at once; polled on until it has ended."""
    call = Call(path_values={"id": executions.subjects.execution_id_of(trail.submitted)})
    cancel, poll = (
        (operation_id, executions.owner, call) for operation_id in ("cancelExecution", "getExecution")
    )
    sent = probe.send_at_once([cancel, cancel, cancel, cancel, poll, poll])
    return executions.to_end(executions.polled(trail.with_more(*sent)))


@pytest.mark.spends.with_args(once(POLLED_MODEL))
@pytest.mark.proves(concurrency.cancels_in_some_order, concurrency.charged_once)
def test_simultaneous_cancels(probe, executions):
    """Cancels of one execution at once lead to one end, and are charged as one run."""
    model = probe.need(POLLED_MODEL)

    trail = cancelled_at_once(probe, executions, executions.submit(model))

    probe.judge(concurrency.cancels_in_some_order, trail.last, history=trail.exchanges[1:])
    rows = await_rows(
        probe, executions.owner, lambda rows: row_of_request(list(rows), trail.request_id) is not None
    )
    own = [row for row in rows if trail.request_id and row.get("requestId") == trail.request_id]
    probe.judge(concurrency.charged_once, trail.last, rows=own, most_credits=probe.price(model))


@pytest.fixture
def receiving_key(probe, run):
    """A key of the full key's account with a webhook, its own where keys can be made."""
    if not mints_webhooks(probe.target):
        return probe.need(RECEIVING_KEY)
    webhook = Webhook(
        url=run.receiver.url("/cancelled-at-once"),
        secret=Secret(f"whsec_{uuid.uuid4().hex}", "webhook-cancelled-at-once"),
    )
    capabilities = RUNNER | {"webhook:receive"}
    return probe.mint.mint(capabilities, account=probe.need(FULL_KEY).user, webhook=webhook)


@pytest.mark.spends.with_args(once(POLLED_MODEL))
@pytest.mark.proves(webhooks.one_each)
def test_simultaneous_cancels_are_delivered_once(probe, executions, run, receiving_key):
    """However many cancels an execution gets at once, its end is delivered once."""
    trail = executions.submit(probe.need(POLLED_MODEL), receiving_key)
    execution_id = executions.subjects.execution_id_of(trail.submitted)

    trail = cancelled_at_once(probe, executions, trail)

    def taken(deliveries):
        return sum(each.is_taken and each.execution_id == execution_id for each in deliveries)

    run.receiver.wait_until(lambda came: taken(came) > 0, timeout_s=DELIVERY_S)
    run.receiver.wait_until(lambda came: taken(came) > 1, timeout_s=ANOTHER_S)
    came = taken(run.receiver.deliveries)
    if not came and not mints_webhooks(probe.target):
        pytest.skip(
            f"{UNTESTED}a delivery within {DELIVERY_S:g} s: none may have its way here, or it takes longer"
        )
    probe.judge(webhooks.one_each, trail.last, taken=came)


def runs_within_means(target):
    """What the account with few credits can pay for."""
    return once(USABLE_MODEL)(target) * AFFORDABLE if CONTROL.find(target) else []


@pytest.mark.spends.with_args(runs_within_means)
@pytest.mark.proves(concurrency.no_overspending, refusals.TOO_FEW_CREDITS, envelopes.code_fits_status)
def test_runs_on_the_last_credits(probe):
    """Runs that are sent at once do not spend more credits than the account has."""
    probe.need(CONTROL)
    model = probe.need(USABLE_MODEL)
    had_credits = int(probe.price(model) * AFFORDABLE)
    account = probe.mint.open_account("business", credits=had_credits)
    persona = probe.mint.mint(RUNNER, account=account)
    call = Call(
        path_values={"internalName": model.name},
        json={"inputs": dict(model.inputs)},
        cost_credits=probe.price(model),
    )

    exchanges = probe.send_together("runModel", persona, call, times=AT_ONCE)

    admitted = are_admitted(exchanges)
    costs = [exchange.json_or_none().get("cost") for exchange in admitted]
    if admitted and all(isinstance(cost, int | float) for cost in costs):
        probe.judge(
            concurrency.no_overspending, admitted[-1], charged_credits=sum(costs), had_credits=had_credits
        )
    for exchange in exchanges:
        if exchange not in admitted:
            probe.judge(refusals.TOO_FEW_CREDITS, exchange)


@pytest.mark.spends.with_args(limited_runs(PAID_AT_ONCE + 2))
@pytest.mark.proves(concurrency.all_counted, schemas.limited_run_headers)
def test_requests_at_once_count_one_by_one(probe, subjects):
    """Of requests that are sent at once each leaves one less."""
    persona, workflow = probe.need(LIMITED_KEY), subjects.cheapest_workflow(probe.need(LIMITED_KEY))
    if CONTROL.find(probe.target) is not None:
        probe.next_window()
    earlier = subjects.run(workflow, persona, is_throttling_expected=True)

    times = PAID_AT_ONCE if probe.price(workflow) else AT_ONCE
    between = probe.send_together(*subjects.running(workflow, persona), times=times)

    later = subjects.run(workflow, persona, is_throttling_expected=True)
    probe.judge(concurrency.all_counted, later, earlier=earlier, between=between)


@pytest.mark.proves(
    concurrency.burst, refusals.OVER_LIMIT, envelopes.throttled_headers, schemas.limited_run_headers
)
def test_burst_across_the_limit(probe, subjects):
    """Of requests that are sent at once exactly as many are admitted as the window had left."""
    persona = probe.need(LIMITED_KEY)
    workflow = subjects.free_workflow(persona)
    probe.next_window()
    for _ in range(LIMIT_BY_TIER["pro"] - LEFT):
        exchange = subjects.run(workflow, persona, is_throttling_expected=True)
    probe.judge(schemas.limited_run_headers, exchange)

    exchanges = probe.send_together(
        "runWorkflow",
        persona,
        Call(path_values={"slug": workflow.slug}, json={"inputs": {}}),
        times=AT_ONCE,
    )

    admitted = are_admitted(exchanges)
    if admitted:
        probe.judge(concurrency.burst, admitted[-1], answers=exchanges, left=LEFT)
    for exchange in exchanges:
        if exchange not in admitted:
            probe.judge(refusals.OVER_LIMIT, exchange)
    probe.next_window()
