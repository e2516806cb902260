"""Rate limits: per account and route, in windows of 60 s, of as many requests as the tier says.

Where the target's clock can be moved, whole windows are filled, by runs that generate nothing and so cost
nothing. Everywhere else the headers of a few runs have to tell, and one window that is filled in real time,
after all else.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from knouds_harness.conformance.checks import envelopes, rate_limits, refusals, schemas, usage
from knouds_harness.conformance.checks.rate_limits import seconds_left, standing_of
from knouds_harness.conformance.checks.usage import MAX_LIMIT
from knouds_harness.conformance.claims import answer
from knouds_harness.conformance.history import read_page
from knouds_harness.conformance.needs import (
    ADMIN_KEY,
    BUSINESS_KEY,
    BUSINESS_WORKFLOW,
    CONTROL,
    ENTERPRISE_KEY,
    FILLABLE_WINDOW,
    LIMITED_KEY,
    LIMITED_WORKFLOW,
    PRO_MODEL_KEY,
    SECOND_LIMITED_KEY,
    USABLE_MODEL,
    limited_runs,
    once,
)
from knouds_harness.conformance.probe import UNTESTED, Call
from knouds_harness.conformance.subjects import NO_SUCH_MODEL
from knouds_harness.conformance.windows import Window
from knouds_harness.contract.tiers import LIMIT_BY_TIER, WINDOW_S

MARGIN_S = 10  # how far from a window's end one looks at it: more than two requests ever take
MOST_REMAINING = 2_000  # an account that is told of more than this may well have no limit


def run(subjects, workflow, persona):
    """Run, and take a 429 for an answer."""
    return subjects.run(workflow, persona, is_throttling_expected=True)


def open_window(probe):
    """Begin a new window, where the target's clock can be moved."""
    if CONTROL.find(probe.target) is not None:
        probe.next_window()


def fill(subjects, workflow, persona, times):
    """Run so often, some at a time.

    Returns:
        As of ``first_refused``.
    """
    first = run(subjects, workflow, persona)
    if first.status != 200:
        pytest.skip(f"{UNTESTED}a run that costs nothing: it was answered {answer(first)}")
    others = subjects.probe.send_together(*subjects.running(workflow, persona), times=times - 1)
    return first_refused([first, *others])


def first_refused(answers):
    """What the first refusal says, and which in order it is; of answers that were all admitted, the last."""
    refused = [each for each in answers if each.status == 429]
    return [*answers, *refused[:1]][-1], len(answers) - len(refused) + bool(refused)


@pytest.mark.spends.with_args(lambda target: once(LIMITED_WORKFLOW)(target) * 4)
@pytest.mark.proves(rate_limits.remaining_falls, schemas.headers, schemas.limited_run_headers)
def test_remaining_falls(probe, subjects):
    """Each run leaves one less."""
    persona, workflow = probe.need(LIMITED_KEY), probe.need(LIMITED_WORKFLOW)
    open_window(probe)
    exchanges = [run(subjects, workflow, persona) for _ in range(4)]

    for exchange in exchanges:
        probe.judge(schemas.limited_run_headers, exchange)
    for earlier, later in pairwise(exchanges):
        probe.judge(rate_limits.remaining_falls, later, earlier=earlier)


@pytest.mark.proves(rate_limits.remaining_falls)
def test_remaining_keeps_falling(probe, subjects):
    """Each of a dozen runs that cost nothing leaves one less."""
    persona = probe.need(LIMITED_KEY)
    workflow = subjects.free_workflow(persona)
    open_window(probe)
    exchanges = [run(subjects, workflow, persona) for _ in range(12)]

    for earlier, later in pairwise(exchanges):
        probe.judge(rate_limits.remaining_falls, later, earlier=earlier)


@pytest.mark.spends.with_args(once(LIMITED_WORKFLOW))
@pytest.mark.proves(rate_limits.window_ends, schemas.headers)
def test_reset_is_near(probe, subjects):
    """A window ends at most 60 s from now."""
    exchange = run(subjects, probe.need(LIMITED_WORKFLOW), probe.need(LIMITED_KEY))

    probe.judge(rate_limits.window_ends, exchange, advanced_s=probe.advanced_s)


@pytest.mark.proves(rate_limits.told_limit)
@pytest.mark.parametrize(
    ("key", "need", "tier"),
    [
        pytest.param(key, need, tier, id=tier, marks=pytest.mark.spends.with_args(once(need)))
        for key, need, tier in (
            (LIMITED_KEY, LIMITED_WORKFLOW, "pro"),
            (BUSINESS_KEY, BUSINESS_WORKFLOW, "business"),
        )
    ],
)
def test_told_limit(probe, subjects, key, need, tier):
    """The limit that the headers tell is the tier's."""
    exchange = run(subjects, probe.need(need), probe.need(key))

    probe.judge(rate_limits.told_limit, exchange, tier=tier)


@pytest.mark.spends.with_args(once(BUSINESS_WORKFLOW, USABLE_MODEL, BUSINESS_WORKFLOW, USABLE_MODEL))
@pytest.mark.proves(rate_limits.separate_routes)
def test_routes_are_counted_apart(probe, subjects):
    """Runs of models in between do not count against runs of workflows."""
    persona, workflow = probe.need(BUSINESS_KEY), probe.need(BUSINESS_WORKFLOW)
    open_window(probe)
    earlier = run(subjects, workflow, persona)
    for _ in range(2):
        run(subjects, probe.need(USABLE_MODEL), persona)

    later = run(subjects, workflow, persona)

    probe.judge(rate_limits.separate_routes, later, earlier=earlier)


@pytest.mark.spends.with_args(lambda target: once(LIMITED_WORKFLOW)(target) * 4)
@pytest.mark.proves(rate_limits.shared_by_keys)
def test_keys_of_one_account_are_counted_together(probe, subjects):
    """A second key of the account goes on counting where the first one was."""
    workflow = probe.need(LIMITED_WORKFLOW)
    open_window(probe)
    for _ in range(3):
        earlier = run(subjects, workflow, probe.need(LIMITED_KEY))

    later = run(subjects, workflow, probe.need(SECOND_LIMITED_KEY))

    probe.judge(rate_limits.shared_by_keys, later, earlier=earlier, advanced_s=probe.advanced_s)


@pytest.mark.spends.with_args(once(LIMITED_WORKFLOW, LIMITED_WORKFLOW, BUSINESS_WORKFLOW))
@pytest.mark.proves(rate_limits.separate_accounts)
def test_accounts_are_counted_apart(probe, subjects):
    """Runs of another account in between do not count."""
    persona, workflow = probe.need(LIMITED_KEY), probe.need(LIMITED_WORKFLOW)
    open_window(probe)
    earlier = run(subjects, workflow, persona)
    run(subjects, probe.need(BUSINESS_WORKFLOW), probe.need(BUSINESS_KEY))

    later = run(subjects, workflow, persona)

    probe.judge(rate_limits.separate_accounts, later, earlier=earlier)


@pytest.mark.proves(rate_limits.window_stands, rate_limits.window_turned)
def test_window_is_fixed(probe, subjects):
    """A window keeps its end and goes on counting until then, and not after."""
    persona = probe.need(LIMITED_KEY)
    workflow = subjects.free_workflow(persona)
    probe.next_window()
    first = run(subjects, workflow, persona)
    left_s = seconds_left(first, advanced_s=probe.advanced_s)
    left_s = WINDOW_S if left_s is None else min(max(left_s, 0), WINDOW_S)

    probe.advance_clock(max(left_s - MARGIN_S, 0))
    second = run(subjects, workflow, persona)
    if left_s > MARGIN_S and (second.started_at - first.started_at).total_seconds() < MARGIN_S - 2:
        probe.judge(rate_limits.window_stands, second, earlier=first)

    probe.advance_clock(MARGIN_S + 2)
    probe.judge(rate_limits.window_turned, run(subjects, workflow, persona), earlier=first)


@pytest.fixture
def window(probe, subjects, pytestconfig):
    """A window of the pro account; in a quick check none that takes its time."""
    persona = probe.need(LIMITED_KEY)
    if CONTROL.find(probe.target) is None and pytestconfig.getoption("--quick"):
        pytest.skip(f"{UNTESTED}time: a full check fills a window in up to two minutes")
    return Window(
        probe=probe, subjects=subjects, persona=persona, workflow=subjects.cheapest_workflow(persona)
    )


def judge_others_of_full_window(probe, subjects, window, over):
    """Have those judged who share the full window, and those who do not."""
    second = SECOND_LIMITED_KEY.find(probe.target)
    if second is not None:
        probe.judge(rate_limits.refused_for_every_key, window.run(second), over=over)
    business, workflow = BUSINESS_KEY.find(probe.target), BUSINESS_WORKFLOW.find(probe.target)
    if business is not None and workflow is not None:
        probe.judge(rate_limits.others_admitted, run(subjects, workflow, business), over=over)
    of_models = PRO_MODEL_KEY.find(probe.target)
    if of_models is not None and of_models.user == window.persona.user:
        call = Call(path_values={"internalName": NO_SUCH_MODEL}, json={"inputs": {}})
        elsewhere = probe.send("runModel", of_models, call, is_throttling_expected=True)
        probe.judge(rate_limits.other_route_open, elsewhere, over=over)


def what_a_window_spends(target):
    """The runs that fill it and those that look at it, where it is filled at all."""
    if FILLABLE_WINDOW.find(target) is None:
        return []
    return [*limited_runs(LIMIT_BY_TIER["pro"] + 4)(target), *once(BUSINESS_WORKFLOW)(target)]


@pytest.mark.last
@pytest.mark.spends.with_args(what_a_window_spends)
@pytest.mark.proves(
    refusals.OVER_LIMIT,
    rate_limits.within_limit,
    rate_limits.told_wait,
    rate_limits.refused_for_every_key,
    rate_limits.others_admitted,
    rate_limits.other_route_open,
    rate_limits.ends_apart,
    rate_limits.window_turned,
    envelopes.throttled_headers,
    envelopes.context_fields,
    envelopes.code_fits_status,
)
def test_over_the_limit(probe, subjects, window):
    """Exactly the tier's limit is admitted; what comes next is a 429, until the time it tells is over."""
    first = window.begin()
    filled = window.fill(first, LIMIT_BY_TIER["pro"] - 2)
    window.linger()
    last, number = first_refused([first, *filled, window.run()])
    if last.status != 429:
        window.require_open(first, last)
    probe.judge(rate_limits.within_limit, last, tier="pro", number=number)

    over = window.run()
    probe.judge(refusals.OVER_LIMIT, over)
    probe.judge(rate_limits.told_wait, over)
    judge_others_of_full_window(probe, subjects, window, over)

    window.outlast(over)
    probe.judge(rate_limits.window_turned, window.run(), earlier=over)
    if CONTROL.find(probe.target) is not None:
        probe.next_window()


@pytest.mark.thorough
@pytest.mark.proves(rate_limits.within_limit, refusals.OVER_LIMIT, usage.limit)
def test_business_limit(probe, subjects):
    """A business account gets exactly its limit; of so many rows, usage never lists more than 500."""
    probe.need(CONTROL)
    persona = probe.need(BUSINESS_KEY)
    workflow, limit = subjects.free_workflow(persona), LIMIT_BY_TIER["business"]
    probe.next_window()

    last, number = fill(subjects, workflow, persona, limit)
    over = run(subjects, workflow, persona)
    probe.judge(rate_limits.within_limit, last, tier="business", number=number)
    probe.judge(refusals.OVER_LIMIT, over)
    probe.next_window()

    for asked in (MAX_LIMIT + 1, limit):
        probe.judge(usage.limit, read_page(probe, persona, limit=asked), limit=asked)


@pytest.mark.parametrize(
    ("check", "key"),
    [
        pytest.param(check, key, id=name, marks=pytest.mark.proves(check))
        for check, key, name in (
            (rate_limits.enterprise, ENTERPRISE_KEY, "enterprise"),
            (rate_limits.administrator, ADMIN_KEY, "administrator"),
        )
    ],
)
def test_unlimited_account(probe, subjects, check, key):
    """Who has no limit is admitted more often than the lowest one, and than headers tell of, if any do."""
    persona = probe.need(key)
    workflow = subjects.free_workflow(persona)
    probe.next_window()

    last, _ = fill(subjects, workflow, persona, LIMIT_BY_TIER["pro"] + 1)
    remaining = standing_of(last).remaining
    if last.status != 429 and remaining is not None and remaining <= MOST_REMAINING:
        last, _ = fill(subjects, workflow, persona, remaining + 1)

    probe.judge(check, last)
    probe.next_window()
