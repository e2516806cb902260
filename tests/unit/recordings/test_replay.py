"""Every recording, sent through the client and the checks; each response once, and nothing else."""

from dataclasses import replace

import httpx
import pytest
from recorded import breaches, recording, recordings, replayed, serving, story_of

from knouds_harness.exchange.redaction import Redactor
from knouds_harness.exchange.webhooks import Receiver
from knouds_harness.suite.recorded.verification import claims_about

ANEW = "checks see otherwise than when it was recorded: knouds-harness record --update"
ANSWERS = [name for name, each in recordings().items() if each.kind == "answer"]
DELIVERIES = [name for name, each in recordings().items() if each.kind == "delivery"]


def facts_shown(recording):
    """Return the facts of which every claim holds."""
    claims = [claim for _, claim in claims_about(recording, story=story_of(recording))]
    return {claim.fact for claim in claims if claim.holds} - {
        claim.fact for claim in claims if not claim.holds
    }


@pytest.mark.parametrize("name", ANSWERS)
def test_replayed_response_shows_the_recorded_facts(name):
    """The client returns the recorded exchange, and the checks find what they found when it was recorded."""
    recorded = recording(name)

    exchange = replayed(recorded)

    assert replace(
        recorded.exchange,
        id=exchange.id,
        started_at=exchange.started_at,
        elapsed_ms=exchange.elapsed_ms,
        url=exchange.url,
    ) == replace(
        exchange,
        request=replace(exchange.request, cost_credits=0.0, is_deliberate=False),
        sent_headers=tuple(pair for pair in exchange.asked_headers if pair[0] != "Host"),
    )
    again = replace(recorded, exchange=exchange)
    assert breaches(again) == ()
    assert facts_shown(again) == set(recorded.facts), ANEW


@pytest.mark.parametrize("name", DELIVERIES)
def test_received_delivery_shows_the_recorded_facts(name):
    """It is sent to a receiver on this machine, byte for byte."""
    recorded = recording(name)
    request = recorded.exchange.request

    with Receiver() as receiver:
        if recorded.exchange.status == 503:
            receiver.refuse_first(lambda _: True)
        answer = httpx.post(receiver.url(request.path), content=request.body, headers=list(request.headers))
        (delivery,) = receiver.deliveries

    assert answer.status_code == recorded.exchange.status
    assert delivery.body == request.body
    exchange = replace(
        delivery.as_exchange("https://receiver.example/webhook", Redactor()),
        started_at=recorded.exchange.started_at,
    )
    again = replace(recorded, exchange=exchange)
    assert breaches(again) == ()
    assert facts_shown(again) == set(recorded.facts), ANEW


def test_unused_recording_fails():
    with pytest.raises(AssertionError, match="not asked for"), serving(recording("getWhoami-200-user")):
        pass
