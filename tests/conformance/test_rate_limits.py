"""Rate limits: per account and route, in windows of 60 s, of as many requests as the tier says.

Where the target's clock can be moved, whole windows are filled, by runs that generate nothing and so cost
nothing. Everywhere else the headers of a few runs have to tell, and one window that is filled in real time,
after all else.
"""

from itertools import pairwise

import pytest

from knouds_harness.contract.operations import LIMIT_BY_TIER, WINDOW_S
from knouds_harness.exchange.evidence import NO_SUCH_MODEL, Call
from knouds_harness.exchange.usage import MAX_LIMIT
from knouds_harness.judging.checks import concurrency, envelopes, rate_limits, schemas, usage
from knouds_harness.judging.checks.rate_limits import is_same_window, seconds_left, window_headers_of
from knouds_harness.suite.support.rate_limit_window import RateLimitWindow
from knouds_harness.suite.support.usage_rows import read_page
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs import CONTROL
from knouds_harness.targets.needs.keys import ADMIN_KEY, AUTHOR_WHO_RUNS, PRO_MODEL_KEY
from knouds_harness.targets.needs.rate_limits import (
    BESIDE_FILLABLE,
    BUSINESS_KEY,
    BUSINESS_KEY_FOR_BOTH,
    ENTERPRISE_AUTHOR,
    FILLABLE_WINDOW,
    LIMITED_KEY,
    LIMITED_KEY_AND_STRANGER,
    PRO_MODEL_KEY_BESIDE,
    TWO_BUSINESS_ACCOUNTS,
    TWO_LIMITED_KEYS,
    key_beside,
    limited_runs,
)
from knouds_harness.targets.needs.runs import once

pytestmark = pytest.mark.sequence

MARGIN_S = 10  # how far from a window's end one looks at it: more than two requests ever take
LEFT = 4  # of a window, for requests at once of which not all fit
AT_ONCE = 8
ADMITTED_IN_WINDOW = (
    "runWorkflow-first-of-window",
    "runWorkflow-second-of-window",
    "runWorkflow-last-of-window",
    "runWorkflow-next-window",
)
MOST_REMAINING = 2_000  # an account that is told of more than this may well have no limit


def run(test_data, workflow, persona):
    return test_data.run(workflow, persona, is_throttling_expected=True)


def open_window(tester):
    """Begin a new window, where the target's clock can be moved."""
    if CONTROL.find(tester.target) is not None:
        tester.next_window()


def fill(test_data, workflow, persona, times):
    """Run so often, some at a time; returns as ``first_refused`` does."""
    first = run(test_data, workflow, persona)
    if first.status == 429:
        raise Untested("a run that is admitted: the first one of a window was refused for its rate")
    others = test_data.tester.send_together(*test_data.running(workflow, persona), times=times - 1)
    for each in others:
        test_data.require_success(each, workflow, persona)
    return first_refused([first, *others])


def first_refused(answers):
    """What the first refusal says, and which in order it is; of answers that were all admitted, the last."""
    refused = [each for each in answers if each.status == 429]
    return [*answers, *refused[:1]][-1], len(answers) - len(refused) + bool(refused)


@pytest.mark.limited
@pytest.mark.spends.with_args(limited_runs(4))
@pytest.mark.proves(
    rate_limits.remaining_falls,
    rate_limits.remaining_never_rises,
    rate_limits.remaining_counts,
    schemas.headers,
    schemas.limited_run_headers,
)
def test_remaining_falls_by_one_with_each_run(tester, test_data):
    """Each run leaves one less, whatever is read in between."""
    persona = tester.need(LIMITED_KEY)
    workflow = test_data.cheapest_workflow(persona)
    open_window(tester)
    exchanges = [run(test_data, workflow, persona) for _ in range(3)]
    for read in ("getWhoami", "listUsage"):
        tester.send(read, persona)
    exchanges.append(run(test_data, workflow, persona))

    if CONTROL.find(tester.target) is not None:
        tester.judge(rate_limits.remaining_counts, exchanges[0], admitted=1, is_alone=True)
    for exchange in exchanges:
        tester.judge(schemas.limited_run_headers, exchange)
    for earlier, later in pairwise(exchanges):
        tester.judge(rate_limits.remaining_falls, later, earlier=earlier)


@pytest.mark.limited
@pytest.mark.spends.with_args(limited_runs(1))
@pytest.mark.proves(rate_limits.window_ends, schemas.headers)
def test_window_ends_within_a_minute(tester, test_data):
    """A window ends at most 60 s from now."""
    persona = tester.need(LIMITED_KEY)

    exchange = run(test_data, test_data.cheapest_workflow(persona), persona)

    tester.judge(rate_limits.window_ends, exchange, advanced_s=tester.advanced_s)


@pytest.mark.limited
@pytest.mark.proves(rate_limits.told_limit)
@pytest.mark.parametrize(
    ("need", "tier"),
    [
        pytest.param(
            need,
            tier,
            id=tier,
            marks=[
                pytest.mark.shows(f"tier.rate-limit-{tier}"),
                pytest.mark.spends.with_args(limited_runs(1, need)),
                *marks,
            ],
        )
        for need, tier, *marks in (
            (LIMITED_KEY, "pro", pytest.mark.records("runWorkflow-limited", 200)),
            (BUSINESS_KEY, "business"),
        )
    ],
)
def test_limit_header_tells_the_limit_of_the_tier(tester, test_data, need, tier):
    """The limit that the headers tell is the tier's."""
    persona = tester.need(need)

    exchange = run(test_data, test_data.cheapest_workflow(persona), persona)

    tester.judge(rate_limits.told_limit, exchange, tier=tier)
    tester.judge(schemas.limited_run_headers, exchange)


@pytest.mark.waits
@pytest.mark.spends.with_args(once(BUSINESS_KEY_FOR_BOTH, BUSINESS_KEY_FOR_BOTH))
@pytest.mark.spends.with_args(limited_runs(2, BUSINESS_KEY_FOR_BOTH, whose="key"))
@pytest.mark.proves(rate_limits.separate_routes)
@pytest.mark.records("runModel-limited", 200, is_named=True)
def test_routes_are_counted_apart(tester, test_data):
    """Runs of models in between do not count against runs of workflows."""
    persona, model = tester.need(BUSINESS_KEY_FOR_BOTH)
    workflow = test_data.cheapest_workflow(persona)
    open_window(tester)
    with tester.reserved(persona, "runWorkflow"):
        earlier = run(test_data, workflow, persona)
        of_model, _ = test_data.run_at_once([(persona, model)] * 2)
        later = run(test_data, workflow, persona)

    tester.judge(rate_limits.separate_routes, later, earlier=earlier)
    tester.keep("runModel-limited", of_model)
    tester.judge(rate_limits.told_limit, of_model, tier="business")
    tester.judge(schemas.limited_run_headers, of_model)


@pytest.mark.limited
@pytest.mark.spends.with_args(limited_runs(4, TWO_LIMITED_KEYS, whose="first"))
@pytest.mark.proves(rate_limits.shared_by_keys)
def test_keys_of_one_account_are_counted_together(tester, test_data):
    """A second key of the account goes on counting where the first one was."""
    first, second = tester.need(TWO_LIMITED_KEYS)
    workflow = test_data.cheapest_workflow(first)
    open_window(tester)
    for _ in range(3):
        earlier = run(test_data, workflow, first)

    later = run(test_data, workflow, second)

    tester.judge(rate_limits.shared_by_keys, later, earlier=earlier, advanced_s=tester.advanced_s)


@pytest.mark.limited
@pytest.mark.proves(rate_limits.separate_accounts)
@pytest.mark.parametrize(
    "need",
    [
        pytest.param(
            need,
            id=name,
            marks=[
                pytest.mark.spends.with_args(limited_runs(2, need, whose="first")),
                pytest.mark.spends.with_args(limited_runs(1, need, whose="second")),
            ],
        )
        for need, name in ((LIMITED_KEY_AND_STRANGER, "of any tier"), (TWO_BUSINESS_ACCOUNTS, "of one tier"))
    ],
)
def test_accounts_are_counted_apart(tester, test_data, need):
    """Runs of another account in between do not count."""
    persona, other = tester.need(need)
    workflow = test_data.cheapest_workflow(persona)
    open_window(tester)
    earlier = run(test_data, workflow, persona)
    run(test_data, test_data.cheapest_workflow(other), other)

    later = run(test_data, workflow, persona)

    tester.judge(rate_limits.separate_accounts, later, earlier=earlier)


@pytest.mark.limited
@pytest.mark.proves(rate_limits.window_stands, rate_limits.window_turned)
@pytest.mark.needs(FILLABLE_WINDOW)
def test_window_keeps_its_end_and_then_starts_again(tester, test_data):
    """A window keeps its end and goes on counting until then, and not after."""
    persona = tester.need(FILLABLE_WINDOW)
    workflow = test_data.free_workflow(persona)
    tester.next_window()
    first = run(test_data, workflow, persona)
    left_s = seconds_left(first, advanced_s=tester.advanced_s)
    left_s = WINDOW_S if left_s is None else min(max(left_s, 0), WINDOW_S)

    tester.advance_clock(max(left_s - MARGIN_S, 0))
    second = run(test_data, workflow, persona)
    if left_s > MARGIN_S and (second.started_at - first.started_at).total_seconds() < MARGIN_S - 2:
        tester.judge(rate_limits.window_stands, second, earlier=first)

    tester.advance_clock(MARGIN_S + 2)
    tester.judge(rate_limits.window_turned, run(test_data, workflow, persona), earlier=first)


def window_to_fill(tester, test_data, pytestconfig):
    """A window of the pro account; in a quick check none that takes its time."""
    persona = tester.need(FILLABLE_WINDOW)
    if CONTROL.find(tester.target) is None and pytestconfig.getoption("--quick"):
        raise Untested("time: a full check fills a window in up to two minutes", "profile")
    return RateLimitWindow(
        tester=tester, test_data=test_data, persona=persona, workflow=test_data.cheapest_workflow(persona)
    )


@pytest.mark.limited
@pytest.mark.proves(envelopes.over_limit, rate_limits.told_wait)
@pytest.mark.needs(PRO_MODEL_KEY, CONTROL)
@pytest.mark.records("runModel-over-limit", 429, is_named=True)
def test_runs_of_models_are_limited_too(tester):
    """Runs of models are refused over a limit as well, though each would be refused anyway."""
    persona = tester.need(PRO_MODEL_KEY)
    call = Call(path_values={"internalName": NO_SUCH_MODEL}, json={"inputs": {}})
    tester.next_window()
    answers = tester.send_together("runModel", persona, call, times=LIMIT_BY_TIER["pro"] + 1)
    over, _ = first_refused(answers)
    if over.status != 429:
        raise Untested("a limit that counts refused requests")

    tester.keep("runModel-over-limit", over)
    tester.judge(envelopes.over_limit, over)
    tester.judge(rate_limits.told_wait, over)
    tester.next_window()


def judge_others_of_full_window(tester, test_data, window, over):
    """Have those judged who share the full window, and those who do not."""
    second = key_beside(tester.target, window.persona, "workflow:run")
    if second is not None:
        tester.judge(rate_limits.refused_for_every_key, window.run(second), over=over)
    other = BESIDE_FILLABLE.find(tester.target)
    if other is not None:
        answer_of_other = run(test_data, test_data.cheapest_workflow(other), other)
        tester.judge(rate_limits.others_admitted, answer_of_other, over=over)
    of_models = PRO_MODEL_KEY.find(tester.target)
    if of_models is not None and of_models.user == window.persona.user:
        call = Call(path_values={"internalName": NO_SUCH_MODEL}, json={"inputs": {}})
        elsewhere = tester.send("runModel", of_models, call, is_throttling_expected=True)
        tester.judge(rate_limits.other_route_open, elsewhere, over=over)


def what_a_window_spends(target):
    """The runs that fill it and those that look at it, where it is filled at all."""
    if FILLABLE_WINDOW.find(target) is None:
        return []
    filling = limited_runs(LIMIT_BY_TIER["pro"] + AT_ONCE, FILLABLE_WINDOW)(target)
    return [*filling, *limited_runs(1, BESIDE_FILLABLE)(target)]


@pytest.mark.fills_window
@pytest.mark.records(*ADMITTED_IN_WINDOW, 200, is_named=True, story="window")
@pytest.mark.records("runWorkflow-over-limit", 429, is_named=True, story="window")
@pytest.mark.shows("tier.rate-limit-pro", "rate.refusal-fields")
@pytest.mark.shows("rate.per-user-not-per-key", TWO_LIMITED_KEYS)
@pytest.mark.shows("rate.separate-per-route", PRO_MODEL_KEY_BESIDE)
@pytest.mark.spends.with_args(what_a_window_spends)
@pytest.mark.proves(
    envelopes.over_limit,
    rate_limits.within_limit,
    rate_limits.remaining_falls,
    rate_limits.remaining_counts,
    concurrency.burst,
    schemas.limited_run_headers,
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
def test_run_over_the_limit_is_refused_until_the_window_ends(tester, test_data, pytestconfig):
    """Exactly the tier's limit is admitted; what comes next is a 429, until the time it tells is over."""
    window = window_to_fill(tester, test_data, pytestconfig)
    with tester.reserved(window.persona, "runWorkflow"):
        judge_full_window(tester, test_data, window)
    open_window(tester)


def judge_full_window(tester, test_data, window):
    """Fill a window that nobody else runs in, and have everything judged that shows in and after it."""
    first, counted = window.begin()
    left = LIMIT_BY_TIER["pro"] - counted
    before = window.fill(first, left - LEFT)
    window.linger()
    at_once = window.run_at_once(AT_ONCE)
    admitted_first = sorted([*before, *at_once], key=lambda each: each.status == 429)
    last, number = first_refused(admitted_first[:left])
    if last.status != 429:
        window.require_open(first, last)
    tester.judge(rate_limits.within_limit, last, tier="pro", number=counted + number)
    tester.keep("runWorkflow-first-of-window", first)
    tester.keep("runWorkflow-second-of-window", before[0])
    tester.keep("runWorkflow-last-of-window", last)
    admitted = [each for each in at_once if each.is_success]
    if admitted and all(is_same_window(each, first) for each in admitted):
        left -= sum(each.is_success for each in before)
        tester.judge(concurrency.burst, admitted[-1], answers=at_once, left=left)
        for each in at_once:
            tester.judge(schemas.limited_run_headers if each in admitted else envelopes.over_limit, each)

    over = window.run()
    tester.judge(envelopes.over_limit, over)
    tester.judge(rate_limits.told_wait, over)
    judge_others_of_full_window(tester, test_data, window, over)

    window.retry(over)
    after = window.run()
    tester.judge(rate_limits.window_turned, after, earlier=over)
    tester.keep("runWorkflow-over-limit", over)
    tester.keep("runWorkflow-next-window", after)
    for each in (first, before[0], after):
        tester.judge(schemas.limited_run_headers, each)


@pytest.mark.limited
@pytest.mark.thorough
@pytest.mark.proves(rate_limits.within_limit, envelopes.over_limit, usage.limit)
@pytest.mark.needs(CONTROL, BUSINESS_KEY, AUTHOR_WHO_RUNS)
@pytest.mark.shows("tier.rate-limit-business")
def test_business_account_gets_exactly_its_limit(tester, test_data):
    """A business account gets exactly its limit; of so many rows, usage never lists more than 500."""
    tester.need(CONTROL)
    persona = tester.need(BUSINESS_KEY)
    workflow, limit = test_data.free_workflow(persona), LIMIT_BY_TIER["business"]
    tester.next_window()

    last, number = fill(test_data, workflow, persona, limit)
    over = run(test_data, workflow, persona)
    began = tester.runs.of(persona.user, "runWorkflow")[-limit - 1].started_at
    if (over.started_at - began).total_seconds() >= WINDOW_S:
        raise Untested(f"a machine that sends {limit:,} runs within one window")
    tester.judge(rate_limits.within_limit, last, tier="business", number=number)
    tester.judge(envelopes.over_limit, over)
    tester.next_window()

    for asked in (MAX_LIMIT + 1, limit):
        tester.judge(usage.limit, read_page(tester, persona, limit=asked), limit=asked)


@pytest.mark.limited
@pytest.mark.parametrize(
    ("check", "key"),
    [
        pytest.param(check, key, id=name, marks=pytest.mark.proves(check))
        for check, key, name in (
            (rate_limits.enterprise, ENTERPRISE_AUTHOR, "enterprise"),
            (rate_limits.administrator, ADMIN_KEY, "administrator"),
        )
    ],
)
def test_account_without_a_limit_is_never_throttled(tester, test_data, check, key):
    """Who has no limit is admitted more often than the lowest one, and than headers tell of, if any do."""
    persona = tester.need(key)
    workflow = test_data.free_workflow(persona)
    tester.next_window()

    last, _ = fill(test_data, workflow, persona, LIMIT_BY_TIER["pro"] + 1)
    remaining = window_headers_of(last).remaining
    if last.status != 429 and remaining is not None and remaining <= MOST_REMAINING:
        last, _ = fill(test_data, workflow, persona, remaining + 1)

    tester.judge(check, last)
    tester.next_window()
