"""Requests at once: distinct slugs, no overspending, no more than the limit."""

import uuid
from dataclasses import replace

import pytest

from knouds_harness.exchange.created_workflows import fresh_name, fresh_token
from knouds_harness.exchange.evidence import Call
from knouds_harness.judging.checks import (
    authentication,
    concurrency,
    envelopes,
    runs,
    schemas,
    usage,
    webhooks,
    workflows,
)
from knouds_harness.judging.checks.concurrency import created_slug
from knouds_harness.suite.support.usage_rows import await_rows, row_of_request
from knouds_harness.suite.support.workflow_authoring import read, text_fields, to_workflow
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs import CONTROL, KeyAndResource
from knouds_harness.targets.needs.keys import ANY_KEY, AUTHOR, TWO_ACCOUNTS, active_keys
from knouds_harness.targets.needs.rate_limits import LIMITED_KEY, limited_runs
from knouds_harness.targets.needs.runs import (
    CANCELLED_RUN,
    FREE_WORKFLOW_RUN,
    LAST_CREDITS,
    MODEL_RUN,
    charged_first,
    once,
)
from knouds_harness.targets.needs.webhooks import RECEIVING, mints_webhooks
from knouds_harness.targets.resources import Webhook
from knouds_harness.targets.secrets import Secret

pytestmark = [pytest.mark.sequence, pytest.mark.at_once]

AT_ONCE = 8
PAID_AT_ONCE = 3
AFFORDABLE = 3
MOST_ACCOUNTS = 4
ROUNDS = 4
DELIVERY_S = 15.0
ANOTHER_S = 0.3  # a second delivery of one end comes with the first
RUNNER = frozenset({"workflow:read", "workflow:run", "model:run"})
MEMBERS = ("description", "name")


@pytest.mark.proves(concurrency.distinct_slugs)
def test_workflows_created_at_once_get_different_slugs(tester, test_data):
    """Workflows of one name that are created at once get slugs of their own."""
    call = Call(json={"name": fresh_name("twin")})

    created = tester.send_together("createWorkflow", tester.need(AUTHOR), call, times=AT_ONCE)

    slugs = [created_slug(exchange) for exchange in created]
    for index, exchange in enumerate(created):
        others = [slug for slug in (*slugs[:index], *slugs[index + 1 :]) if slug is not None]
        tester.judge(concurrency.distinct_slugs, exchange, others=others)


@pytest.fixture(autouse=True)
def open_connections(tester):
    """As many connections as may be used: what is sent at once then also arrives at once."""
    key = ANY_KEY.find(tester.target)
    if key is not None:
        tester.send_together("getWhoami", key, Call(), times=tester.most_at_once)


@pytest.mark.proves(concurrency.updates_in_some_order)
def test_updates_at_once_all_take_effect(tester, test_data):
    """Updates at once of different members all take effect, one after another."""
    owner = tester.need(AUTHOR)
    for _ in range(ROUNDS):
        slug = test_data.make_workflow(owner, description="before")
        before = read(tester, owner, slug)
        updates = [{"description": "first"}, {"name": fresh_name("scratch again")}, {"description": "second"}]
        sendings = [to_workflow("updateWorkflow", owner, slug, update) for update in updates]
        sendings += [to_workflow("getWorkflow", owner, slug)] * 2

        history = [*tester.send_at_once(sendings), read(tester, owner, slug)]

        tester.judge(
            concurrency.updates_in_some_order, history[-1], before=before, history=history, members=MEMBERS
        )


@pytest.mark.proves(concurrency.moves_in_some_order)
def test_move_takes_effect_beside_updates(tester, test_data):
    """A move takes effect, even with updates at the same time."""
    owner = tester.need(AUTHOR)
    for _ in range(ROUNDS):
        slug = test_data.make_workflow(owner)
        before = read(tester, owner, slug)
        folder = f"harness-{uuid.uuid4().hex[:8]}"
        update = to_workflow("updateWorkflow", owner, slug, {"description": "beside a move"})
        move = to_workflow("moveWorkflow", owner, slug, {"folderId": folder})

        sent = tester.send_at_once([update, update, move, to_workflow("getWorkflow", owner, slug)])
        history = [*sent, read(tester, owner, slug)]

        tester.judge(concurrency.moves_in_some_order, history[-1], before=before, history=history)


@pytest.mark.proves(concurrency.deletes_in_some_order)
def test_workflow_deleted_beside_updates_stays_deleted(tester, test_data):
    """A workflow that is deleted while it is written stays deleted."""
    owner = tester.need(AUTHOR)
    for _ in range(ROUNDS):
        slug = test_data.make_workflow(owner)
        update = to_workflow("updateWorkflow", owner, slug, {"description": "beside a delete"})
        delete = to_workflow("deleteWorkflow", owner, slug)
        get = to_workflow("getWorkflow", owner, slug)

        sent = tester.send_at_once([update, update, delete, get, update, delete])
        history = [*sent, read(tester, owner, slug), read(tester, owner, slug)]

        tester.judge(concurrency.deletes_in_some_order, history[-1], history=history)


@pytest.mark.proves(concurrency.lists_in_some_order)
def test_lists_beside_writes_hold_what_is_there(tester, test_data):
    """While workflows are created, updated and deleted, lists lose nothing and show nothing twice."""
    owner = tester.need(AUTHOR)
    for _ in range(ROUNDS):
        kept, gone = (test_data.make_workflow(owner, description="before") for _ in range(2))
        update = to_workflow("updateWorkflow", owner, kept, {"description": "beside a list"})
        create = ("createWorkflow", owner, Call(json={"name": fresh_name("listed")}))
        delete = to_workflow("deleteWorkflow", owner, gone)
        listing = ("listWorkflows", owner, Call())

        sent = tester.send_at_once([update, listing, create, listing, delete, update, listing])
        history = [*sent, tester.send(*listing)]

        tester.judge(
            concurrency.lists_in_some_order, history[-1], history=history, slugs=frozenset({kept, gone})
        )


def cancelled_at_once(tester, executions, trace):
    """An execution with several cancels, and polls between, at once; polled on until it has ended."""
    call = Call(path_values={"id": executions.test_data.execution_id_of(trace.submitted)})
    cancel, poll = (
        (operation_id, trace.reader, call) for operation_id in ("cancelExecution", "getExecution")
    )
    sent = tester.send_at_once([cancel, cancel, cancel, cancel, poll, poll])
    return executions.to_end(executions.polled(trace.with_more(*sent)))


@pytest.mark.spends.with_args(once(charged_first(CANCELLED_RUN)))
@pytest.mark.proves(concurrency.cancels_in_some_order, concurrency.charged_once)
def test_cancels_at_once_lead_to_one_end_and_one_charge(tester, executions):
    """Cancels of one execution at once lead to one end, and are charged as one run."""
    found = tester.need(charged_first(CANCELLED_RUN))

    trace = cancelled_at_once(tester, executions, executions.submit(found))

    tester.judge(concurrency.cancels_in_some_order, trace.last, history=trace.exchanges[1:])
    rows = await_rows(
        tester, trace.reader, lambda rows: row_of_request(list(rows), trace.request_id) is not None
    )
    own = [row for row in rows if trace.request_id and row.get("requestId") == trace.request_id]
    tester.judge(concurrency.charged_once, trace.last, rows=own, most_credits=tester.price(found.resource))


@pytest.fixture
def receiving(tester, run):
    """A key with a webhook, its own where keys can be made, and what it may run."""
    found = tester.need(RECEIVING)
    if not mints_webhooks(tester.target):
        return found
    webhook = Webhook(
        url=run.receiver.url("/cancelled-at-once"),
        secret=Secret(f"whsec_{uuid.uuid4().hex}", "webhook-cancelled-at-once"),
    )
    capabilities = RUNNER | {"webhook:receive"}
    return found._replace(key=tester.minted(capabilities, account=found.key.user, webhook=webhook))


@pytest.mark.spends.with_args(once(RECEIVING))
@pytest.mark.proves(webhooks.one_each)
@pytest.mark.needs(CANCELLED_RUN)
def test_simultaneous_cancels_are_delivered_once(tester, executions, run, receiving):
    """However many cancels an execution gets at once, its end is delivered once."""
    if not receiving.reader.holds("execution:cancel"):
        raise Untested("a key of the account with the webhook that holds execution:cancel", "profile")
    own = KeyAndResource(receiving.reader, receiving.resource)
    trace = executions.submit(own, submitter=receiving.key)
    execution_id = executions.test_data.execution_id_of(trace.submitted)

    trace = cancelled_at_once(tester, executions, trace)

    def taken(deliveries):
        return sum(each.is_taken and each.execution_id == execution_id for each in deliveries)

    webhook = tester.target.webhook_of(receiving.key)
    within_s = min(DELIVERY_S, webhook.deadline_s) if webhook else DELIVERY_S
    run.receiver.wait_until(lambda came: taken(came) > 0, timeout_s=within_s)
    run.receiver.wait_until(lambda came: taken(came) > 1, timeout_s=ANOTHER_S)
    came = taken(run.receiver.deliveries)
    if not came and not mints_webhooks(tester.target):
        raise Untested(f"a delivery within {within_s:g} s: none may have its way here, or it takes longer")
    tester.judge(webhooks.one_each, trace.last, taken=came)


def runs_within_means(target):
    """What the account with few credits can pay for, and a run that is to be refused."""
    return once(MODEL_RUN)(target) * (AFFORDABLE + 1) if CONTROL.find(target) else []


@pytest.mark.spends.with_args(runs_within_means)
@pytest.mark.needs(MODEL_RUN, CONTROL)
@pytest.mark.proves(concurrency.no_overspending, envelopes.too_few_credits, envelopes.code_fits_status)
def test_runs_on_the_last_credits(tester):
    """Runs that are sent at once do not spend more credits than the account has."""
    tester.need(CONTROL)
    _, model = tester.need(MODEL_RUN)
    had_credits = int(tester.price(model) * AFFORDABLE)
    account = tester.mint.open_account("business", credits=had_credits)
    persona = tester.mint.mint(RUNNER, account=account)
    call = Call(
        path_values={"internalName": model.name},
        json={"inputs": dict(model.inputs)},
        cost_credits=tester.price(model),
    )

    exchanges = tester.send_together("runModel", persona, call, times=AT_ONCE)

    judge_spending(tester, exchanges, had_credits)
    for exchange in exchanges:
        if exchange.status != 200:
            tester.judge(envelopes.too_few_credits, exchange)


def judge_spending(tester, exchanges, had_credits):
    """Judge what the runs that succeeded spent together, if each says what it cost."""
    admitted = [exchange for exchange in exchanges if exchange.status == 200]
    costs = [cost for each in admitted if (cost := runs.reported_credits(each)) is not None]
    if admitted and len(costs) == len(admitted):
        spent = {"charged_credits": sum(costs), "had_credits": had_credits}
        tester.judge(concurrency.no_overspending, admitted[-1], **spent)


def runs_on_few_credits(target):
    """What is sent at once to the account of the profile with few credits: more than it can pay for."""
    found = LAST_CREDITS.find(target)
    price, has = (found.resource.cost_credits, found.key.credits) if found else (None, "none")
    times = max(AT_ONCE, int(has / price) + 1) if price and not isinstance(has, str) else 0
    return once(LAST_CREDITS)(target) * times


@pytest.mark.spends.with_args(runs_on_few_credits)
@pytest.mark.needs(LAST_CREDITS)
@pytest.mark.proves(concurrency.no_overspending, envelopes.too_few_credits)
def test_runs_of_a_key_on_its_last_credits(tester, test_data):
    """Runs at once of the account whose profile says how many credits it has do not spend more than these."""
    persona, resource = tester.need(LAST_CREDITS)
    had_credits, times = persona.credits, len(runs_on_few_credits(tester.target))

    exchanges = tester.send_together(*test_data.running(resource, persona), times=times)
    while (last := test_data.run(resource, persona, is_throttling_expected=True)).status == 200:
        exchanges.append(last)
        if len(exchanges) > 2 * times:
            raise Untested(f"the credits of keys.{persona.name}: it has more, as it can still pay for a run")
    if last.status != 402:
        raise Untested(f"a run that is refused for its credits: it was answered {last.answer}")

    tester.judge(envelopes.too_few_credits, last)
    judge_spending(tester, exchanges, had_credits)


@pytest.mark.needs(TWO_ACCOUNTS)
@pytest.mark.proves(usage.own_user, authentication.whoami_owner, workflows.listed)
def test_each_key_gets_its_own_answers(tester, test_data):
    """Keys of several accounts that ask at once are each told of their own account."""
    readers_last = sorted(active_keys(tester.target), key=lambda key: key.holds("workflow:read"))
    keys = dict(list({key.user: key for key in readers_last}.items())[-MOST_ACCOUNTS:])
    ids = {user: test_data.account_id(key) for user, key in keys.items()}
    asked = [
        (operation_id, key)
        for _ in range(2)
        for operation_id in ("getWhoami", "listUsage", "listWorkflows")
        for key in keys.values()
        if operation_id != "listWorkflows" or key.holds("workflow:read")
    ]

    exchanges = tester.send_at_once([(operation_id, key, Call()) for operation_id, key in asked])

    known = {user: account_id for user, account_id in ids.items() if account_id is not None}
    for (operation_id, key), exchange in zip(asked, exchanges, strict=True):
        if operation_id == "getWhoami":
            told = {"tier": key.tier, "role": key.role, "user": key.user, "others": known}
            tester.judge(authentication.whoami_owner, exchange, **told)
        elif operation_id == "listUsage" and key.user in known:
            tester.judge(usage.own_user, exchange, user_id=known[key.user])
        elif operation_id == "listWorkflows":
            tester.judge(workflows.listed, exchange, **listed_of(tester.target, key.user))


@pytest.mark.proves(runs.own_result)
@pytest.mark.spends.with_args(once(*[FREE_WORKFLOW_RUN] * (AT_ONCE + 1)))
def test_each_run_at_once_gets_its_own_result(tester, test_data):
    """Runs at once of one workflow are each answered with what was made of their own inputs."""
    owner, workflow = tester.need(FREE_WORKFLOW_RUN)
    marks = [f"harness-{number}-{fresh_token()}" for number in range(AT_ONCE)]
    names = text_fields(tester, owner, workflow)
    marked = [replace(workflow, inputs=workflow.inputs | dict.fromkeys(names, mark)) for mark in marks]
    if marks[0] not in test_data.run(marked[0], owner).body.decode("utf-8", "replace"):
        raise Untested("a workflow without generator nodes whose result shows the texts of its inputs")

    exchanges = test_data.run_at_once([(owner, each) for each in marked])

    for mark, exchange in zip(marks, exchanges, strict=True):
        tester.judge(runs.own_result, exchange, mark=mark, marks=marks)


def listed_of(target, user):
    """What a profile knows of an account's list: what has to stand in it, and what must not."""
    known = target.workflows.values()
    return {
        "own": {each.slug for each in known if each.owner == user},
        "foreign": {each.slug for each in known if each.owner != user and not each.template},
    }


@pytest.mark.limited
@pytest.mark.spends.with_args(limited_runs(PAID_AT_ONCE + 2))
@pytest.mark.proves(concurrency.all_counted, schemas.limited_run_headers)
def test_requests_at_once_count_one_by_one(tester, test_data):
    """Of requests that are sent at once each leaves one less."""
    persona, workflow = tester.need(LIMITED_KEY), test_data.cheapest_workflow(tester.need(LIMITED_KEY))
    if CONTROL.find(tester.target) is not None:
        tester.next_window()
    earlier = test_data.run(workflow, persona, is_throttling_expected=True)

    times = PAID_AT_ONCE if tester.price(workflow) else AT_ONCE
    between = tester.send_together(*test_data.running(workflow, persona), times=times)

    later = test_data.run(workflow, persona, is_throttling_expected=True)
    tester.judge(concurrency.all_counted, later, earlier=earlier, between=between)
