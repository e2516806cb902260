"""Requests at once: distinct slugs, no overspending, no more than the limit."""

from __future__ import annotations

import uuid

import pytest

from knouds_harness.conformance.checks import concurrency, envelopes, refusals, schemas
from knouds_harness.conformance.checks.concurrency import created_slug
from knouds_harness.conformance.checks.rate_limits import LIMIT_BY_TIER
from knouds_harness.conformance.needs import CONTROL, FULL_KEY, LIMITED_KEY, USABLE_MODEL, once
from knouds_harness.conformance.probe import Call

AT_ONCE = 8
AFFORDABLE = 3
LEFT = 4
RUNNER = frozenset({"workflow:read", "workflow:run", "model:run"})


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


@pytest.mark.proves(
    concurrency.burst, refusals.OVER_LIMIT, envelopes.throttled_headers, schemas.limited_run_headers
)
def test_burst_across_the_limit(probe, subjects):
    """Of requests that are sent at once no more are admitted than the window had left."""
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
        probe.judge(concurrency.burst, admitted[-1], admitted=len(admitted), left=LEFT)
    for exchange in exchanges:
        if exchange not in admitted:
            probe.judge(refusals.OVER_LIMIT, exchange)
    probe.next_window()
