"""Deliveries arrive at a receiver of our own: once, signed, and saying what polling says."""

from __future__ import annotations

import pytest

from knouds_harness.conformance.checks import webhooks
from knouds_harness.conformance.deliveries import Deliveries
from knouds_harness.conformance.needs import (
    FAILING_POLLED_MODEL,
    MAY_CANCEL,
    POLLED_MODEL,
    once,
)
from knouds_harness.conformance.trails import Executions


@pytest.fixture(scope="module")
def deliveries(probe, subjects, run):
    """What came of executions that the tests share; ``spends`` stands where each is made first."""
    return Deliveries(probe, Executions(probe, subjects), run.receiver)


def completed_and_cancelled(target):
    """What the key that may receive spends on the model that can be run to a good end."""
    return once(POLLED_MODEL)(target) * (2 if MAY_CANCEL.find(target) else 1)


@pytest.mark.spends.with_args(once(POLLED_MODEL))
@pytest.mark.proves(webhooks.none_without_capability)
def test_no_delivery_without_the_capability(probe, deliveries):
    """A key without webhook:receive gets no delivery."""
    later_came = deliveries.have_come
    unentitled = deliveries.unentitled

    came = len(deliveries.to(deliveries.closed_box))

    probe.judge(webhooks.none_without_capability, unentitled.last, came=came, later_came=later_came)


@pytest.mark.spends.with_args(completed_and_cancelled)
@pytest.mark.spends.with_args(once(FAILING_POLLED_MODEL))
@pytest.mark.proves(webhooks.one_each)
def test_one_delivery_each(probe, deliveries):
    """Each ended execution is delivered once."""
    for trail in deliveries.ended:
        taken = len(deliveries.of(trail, deliveries.open_box))
        probe.judge(webhooks.one_each, trail.last, taken=taken)


@pytest.mark.spends.with_args(once(POLLED_MODEL))
@pytest.mark.proves(webhooks.retried)
def test_refused_delivery_is_retried(probe, deliveries):
    """A delivery that the receiver refused comes again."""
    attempts = deliveries.of(deliveries.refused, deliveries.refusing_box)

    probe.judge(webhooks.retried, deliveries.refused.last, attempts=len(attempts))


@pytest.mark.proves(webhooks.one_each)
def test_retried_delivery_is_taken_once(probe, deliveries):
    """What was refused comes again until it is taken, and then no more."""
    attempts = deliveries.of(deliveries.refused, deliveries.refusing_box)

    if len(attempts) > 1:
        taken = sum(each.is_taken for each in attempts)
        probe.judge(webhooks.one_each, deliveries.refused.last, taken=taken)


@pytest.mark.proves(webhooks.announced)
def test_submit_announces_delivery(probe, deliveries):
    """A submit with a key that has a webhook and may receive says so."""
    for trail in deliveries.ended:
        probe.judge(webhooks.announced, trail.submitted)


def taken_deliveries(deliveries):
    """Everything that came and was taken, at the first attempt or at a later one."""
    came = [*deliveries.to(deliveries.open_box), *deliveries.to(deliveries.refusing_box)]
    return [each for each in came if each.is_taken]


@pytest.mark.proves(webhooks.signature_header)
def test_signature_header(probe, deliveries):
    """A delivery has the documented signature header, a retry too."""
    for each in taken_deliveries(deliveries):
        probe.judge(webhooks.signature_header, each.exchange)


@pytest.mark.proves(webhooks.signature_fits)
def test_signature_fits(probe, deliveries):
    """The signature covers the raw body."""
    for each in taken_deliveries(deliveries):
        probe.judge(webhooks.signature_fits, each.exchange, raw=each.raw, secret=each.secret)


@pytest.mark.proves(webhooks.fresh_timestamp)
def test_fresh_timestamp(probe, deliveries):
    """The signature's time is in seconds and fresh, in a retry too."""
    for each in taken_deliveries(deliveries):
        probe.judge(webhooks.fresh_timestamp, each.exchange)


@pytest.mark.proves(webhooks.payload)
def test_payload(probe, deliveries):
    """A delivery has the documented members."""
    for each in taken_deliveries(deliveries):
        probe.judge(webhooks.payload, each.exchange, shapes=probe.shapes)


@pytest.mark.proves(webhooks.event)
def test_event(probe, deliveries):
    """The event names the way in which the execution ended."""
    for trail in deliveries.ended:
        for each in deliveries.of(trail, deliveries.open_box):
            probe.judge(webhooks.event, each.exchange, ending=trail.ending)


@pytest.mark.proves(webhooks.agrees)
def test_delivery_agrees_with_poll(probe, deliveries):
    """A delivery says what polling says, each of its own execution; a retry too."""
    boxes = [(trail, deliveries.open_box) for trail in deliveries.ended]
    for trail, box in (*boxes, (deliveries.refused, deliveries.refusing_box)):
        for each in deliveries.of(trail, box):
            probe.judge(webhooks.agrees, each.exchange, poll=trail.last, submitted=trail.submitted)


@pytest.mark.proves(webhooks.describes)
def test_delivery_describes_the_run(probe, subjects, deliveries):
    """A delivery names whose run it was, and of which model."""
    for trail in deliveries.ended:
        for each in deliveries.of(trail, deliveries.open_box):
            user_id = subjects.account_id(deliveries.open_box.persona)
            probe.judge(webhooks.describes, each.exchange, user_id=user_id, model_id=trail.resource.name)
