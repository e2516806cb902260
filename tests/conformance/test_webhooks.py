"""Deliveries arrive at a receiver of our own: once, signed, and saying what polling says."""

from __future__ import annotations

import json

import pytest

from knouds_harness.exchange.evidence import Call
from knouds_harness.exchange.webhooks import payload_of
from knouds_harness.judging.checks import executions, webhooks
from knouds_harness.suite.support.webhook_executions import more_submits
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.runs import CANCELLED_MODEL_RUN, FAILING_MODEL_RUN
from knouds_harness.targets.needs.webhooks import RECEIVING, RECEIVING_WORKFLOW
from knouds_harness.targets.resources import Model, Workflow

pytestmark = pytest.mark.waits

TEXT = '“Grüße” aus 東京 \U0001f5fc\u2028"quoted", back\\slash, <b> & \u0301'
WORKFLOWS_TRIED = 2

NEEDS_BY_ENDING = {"completed": (), "failed": (FAILING_MODEL_RUN,), "cancelled": (CANCELLED_MODEL_RUN,)}


@pytest.mark.shares("last_delivered", "not_receiving")
@pytest.mark.proves(webhooks.none_without_capability)
def test_no_delivery_without_the_capability(tester, deliveries):
    """A key without webhook:receive gets no delivery."""
    later_delivered = deliveries.all_delivered

    for trace in deliveries.ended.not_receiving:
        came = len(deliveries.to(deliveries.closed_box))
        tester.judge(webhooks.none_without_capability, trace.last, came=came, later_delivered=later_delivered)


@pytest.mark.shares("last_delivered", "bystanders")
@pytest.mark.proves(webhooks.none_without_webhook)
def test_no_delivery_of_a_key_without_a_webhook(tester, deliveries):
    """What a key of the same account, or of another one, runs without a webhook is not delivered."""
    later_delivered = deliveries.all_delivered
    if not deliveries.ended.bystanders:
        raise Untested("a key without a webhook that may run the same", "profile")
    for trace in deliveries.ended.bystanders:
        came = len(deliveries.naming(trace))
        tester.judge(webhooks.none_without_webhook, trace.last, came=came, later_delivered=later_delivered)


@pytest.mark.shares("last_delivered")
@pytest.mark.proves(webhooks.shown_at_once)
def test_poll_shows_the_end_when_its_delivery_comes(tester, deliveries):
    """The poll at the moment of a delivery shows the same status and result."""
    for trace in deliveries.ended.received:
        poll = deliveries.ended.polls.get(trace.execution_id)
        for each in deliveries.of(trace, deliveries.open_box)[:1]:
            if poll is not None:
                tester.judge(webhooks.shown_at_once, poll, delivered=each.exchange)
                tester.judge(webhooks.agrees, each.exchange, poll=poll, submitted=trace.submitted)


@pytest.mark.shares("last_delivered")
@pytest.mark.proves(webhooks.one_each)
def test_each_ended_execution_is_delivered_once(tester, deliveries):
    """Each ended execution is delivered once."""
    for trace in deliveries.ended.received:
        taken = sum(each.is_taken for each in deliveries.of(trace, deliveries.open_box))
        tester.judge(webhooks.one_each, trace.last, taken=taken)


@pytest.mark.shares("last_delivered", "refused")
@pytest.mark.proves(webhooks.retried)
def test_refused_delivery_is_retried(tester, deliveries):
    """A delivery that the receiver refused comes again."""
    for trace in deliveries.ended.refused:
        attempts = deliveries.of(trace, deliveries.refusing_box)

        tester.judge(webhooks.retried, trace.last, attempts=len(attempts))


@pytest.mark.shares("last_delivered", "refused")
@pytest.mark.proves(webhooks.one_each)
def test_retried_delivery_is_taken_once(tester, deliveries):
    """What was refused comes again until it is taken, and then no more."""
    for trace in deliveries.ended.refused:
        attempts = deliveries.of(trace, deliveries.refusing_box)
        if len(attempts) > 1:
            taken = sum(each.is_taken for each in attempts)
            tester.judge(webhooks.one_each, trace.last, taken=taken)


@pytest.mark.shares("last_delivered")
@pytest.mark.proves(webhooks.of_an_execution)
def test_each_delivery_is_of_an_execution(tester, deliveries):
    """Whatever comes with the right signature names an execution that its account can find."""
    reader = deliveries.open_box.own.key
    sharing = (
        key for key in tester.target.personas.values() if key.webhook and key.is_able("execution:read")
    )
    readers = {reader.user: reader, **{key.user: key for key in sharing if key.user != reader.user}}
    for each in deliveries.signed():
        call = Call(path_values={"id": each.execution_id})
        for key in readers.values():
            poll = tester.send("getExecution", key, call)
            if poll.status != 404:
                break
        tester.judge(webhooks.of_an_execution, each.exchange, poll=poll)


@pytest.mark.shares("last_delivered")
@pytest.mark.proves(webhooks.announced)
def test_submit_announces_delivery(tester, deliveries):
    """A submit with a key that has a webhook and may receive says so."""
    for trace in deliveries.ended.received:
        tester.judge(webhooks.announced, trace.submitted)


def taken_deliveries(deliveries):
    """Everything that came and was taken, at the first attempt or at a later one."""
    came = [*deliveries.to(deliveries.open_box), *deliveries.to(deliveries.refusing_box)]
    return [each for each in came if each.is_taken]


@pytest.mark.shares("last_delivered")
@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=check.id.partition(".")[2], marks=[pytest.mark.proves(check), *marks])
        for check, *marks in (
            (webhooks.signature_header,),
            (webhooks.signature_fits,),
            (webhooks.fresh_timestamp,),
            (webhooks.payload, pytest.mark.shows("webhook.payload-shape")),
        )
    ],
)
def test_delivery_is_as_documented(tester, deliveries, check):
    """A delivery has a fresh signature of its raw body, and the documented members; a retry too."""
    for each in taken_deliveries(deliveries):
        known = {"raw": each.raw, "secret": each.secret}
        tester.judge(check, each.exchange, **{name: known[name] for name in check.given})


def runs_on_texts(target):
    """What the key that may receive spends until a result shows the text of its inputs."""
    return [each.resource for each in RECEIVING_WORKFLOW.fitting(target)][:WORKFLOWS_TRIED]


@pytest.mark.thorough
@pytest.mark.needs(RECEIVING)
@pytest.mark.shares("last_delivered", "more_delivered")
@pytest.mark.spends.with_args(more_submits)  # the others are those whose deliveries are judged
@pytest.mark.proves(executions.submit_is_quick)
def test_submit_of_a_key_with_a_webhook_is_answered_in_under_half_a_second(tester, deliveries):
    """A submit is answered in under 500 ms also if the end is to be delivered."""
    submits = deliveries.submits

    tester.judge(executions.submit_is_quick, submits[-1], elapsed_ms=[each.elapsed_ms for each in submits])


@pytest.mark.shares("last_delivered")
@pytest.mark.spends.with_args(runs_on_texts)
@pytest.mark.needs(RECEIVING_WORKFLOW)
@pytest.mark.proves(webhooks.signature_fits, webhooks.one_each)
def test_delivery_of_any_text_is_signed_as_it_is_sent(tester, deliveries):
    """A delivery with text beyond ASCII, quotes and escapes is signed as it is sent, and comes once."""
    for found in list(RECEIVING_WORKFLOW.fitting(tester.target))[:WORKFLOWS_TRIED]:
        trace, came = deliveries.of_text(found.resource, TEXT)
        tester.judge(webhooks.one_each, trace.last, taken=sum(each.is_taken for each in came))
        for each in came:
            tester.judge(webhooks.signature_fits, each.exchange, raw=each.raw, secret=each.secret)
            tester.judge(webhooks.agrees, each.exchange, poll=trace.last, submitted=trace.submitted)
        if any("東京" in json.dumps(payload_of(each.raw), ensure_ascii=False) for each in came):
            return
    raise Untested("a workflow whose result shows the texts of its inputs", "profile")


@pytest.mark.shares("last_delivered")
@pytest.mark.proves(webhooks.event)
def test_event_names_how_the_execution_ended(tester, deliveries):
    """The event names the way in which the execution ended."""
    for trace in deliveries.ended.received:
        for each in deliveries.of(trace, deliveries.open_box):
            tester.judge(webhooks.event, each.exchange, ending=trace.ending)


def recorded_deliveries(function):
    """Have the submit, the last poll and the delivery of each ending recorded, and a delivery's retry."""
    own = {"is_named": True, "story": "deliveries"}
    retries = ("receiveExecutionCompleted-refused", "receiveExecutionCompleted-retried")
    function = pytest.mark.records(*retries, **own)(function)
    for ending, needs in NEEDS_BY_ENDING.items():
        polled = (f"runModel-accepted-with-webhook-{ending}", f"getExecution-delivered-{ending}")
        function = pytest.mark.records(*polled, needs=needs, **own)(function)
        name = f"receiveExecution{ending.title()}-taken"
        function = pytest.mark.records(name, 204, needs=needs, **own)(function)
    return function


@pytest.mark.shares("last_delivered")
@pytest.mark.proves(webhooks.agrees)
@recorded_deliveries
def test_delivery_agrees_with_poll(tester, deliveries):
    """A delivery says what polling says, each of its own execution; a retry too."""
    boxes = [(trace, deliveries.open_box) for trace in deliveries.ended.received]
    boxes += [(trace, deliveries.refusing_box) for trace in deliveries.ended.refused]
    for trace, box in boxes:
        for each in deliveries.of(trace, box):
            tester.judge(webhooks.agrees, each.exchange, poll=trace.last, submitted=trace.submitted)
            tester.judge(webhooks.event, each.exchange, ending=trace.ending)
            if box is deliveries.open_box:
                tester.keep(f"receiveExecution{str(trace.ending).title()}-taken", each)
            else:
                outcome = "retried" if each.is_taken else "refused"
                tester.keep(f"receiveExecutionCompleted-{outcome}", each)
    for trace in deliveries.ended.received:
        tester.judge(webhooks.announced, trace.submitted)
        tester.judge(executions.poll_url, trace.last, submitted=trace.submitted)
        tester.keep(f"runModel-accepted-with-webhook-{trace.ending}", trace.submitted)
        tester.keep(f"getExecution-delivered-{trace.ending}", trace.last)


@pytest.mark.shares("last_delivered")
@pytest.mark.proves(webhooks.describes)
def test_delivery_describes_the_run(tester, test_data, deliveries):
    """A delivery names whose run it was, and of which model."""
    for trace in deliveries.ended.received:
        for each in deliveries.of(trace, deliveries.open_box):
            user_id = test_data.account_id(deliveries.open_box.persona)
            tester.judge(
                webhooks.describes,
                each.exchange,
                user_id=user_id,
                model_id=trace.resource.name if isinstance(trace.resource, Model) else None,
                workflow_slug=trace.resource.slug if isinstance(trace.resource, Workflow) else None,
            )
