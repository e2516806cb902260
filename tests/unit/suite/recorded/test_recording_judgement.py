"""A recording is judged by its response, the rights of its key, and the rest of its story."""

import json
from collections import defaultdict
from dataclasses import replace

from recorded import document, recording, shapes, story_of

from knouds_harness.suite.recorded.recording_judgement import claims_about


def answering(recording, **members):
    """Return the recording with other members in its response."""
    body = json.dumps({**recording.exchange.json(), **members}).encode()
    return replace(recording, exchange=replace(recording.exchange, body=body))


def claims_by_check(recording, story=()):
    """Return the claims by check id."""
    found = defaultdict(list)
    for check, claim in claims_about(recording, document=document(), shapes=shapes(), story=story):
        found[check.id].append(claim)
    return found


def broken(recording, story=()):
    """Return the facts that do not hold."""
    return {
        claim.fact
        for claims in claims_by_check(recording, story).values()
        for claim in claims
        if not claim.holds
    }


def test_delivery_is_compared_with_the_poll_of_its_execution():
    """Both are in one story; the poll of another execution is not evidence."""
    delivery = recording("receiveExecutionFailed-204-taken")
    story = story_of(delivery)
    other_error = [
        answering(each, error={"code": "OTHER", "message": "x"})
        if each.name == "getExecution-200-delivered-failed"
        else each
        for each in story
    ]

    assert broken(delivery, story) == set()
    assert broken(delivery, other_error) == {"webhook.agrees-with-poll"}
    assert broken(recording("receiveExecutionCompleted-204-taken"), other_error) == set()


def test_check_that_needs_the_story_makes_no_claim_without_it():
    claims = claims_by_check(recording("receiveExecutionFailed-204-taken"))

    assert "webhooks.agrees" not in claims
    assert "webhooks.signature-fits" in claims


def test_status_is_compared_with_earlier_ones():
    late = recording("getExecution-200-still-completed")

    assert broken(late, story_of(late)) == set()
    assert {"execution.final-is-absorbing", "execution.cancel-after-end-changes-nothing"} <= broken(
        answering(late, status="cancelled"), story_of(late)
    )


def test_remaining_is_compared_with_the_run_before():
    second = recording("runWorkflow-200-second-of-window")
    headers = tuple((name, "99" if "remaining" in name else value) for name, value in second.exchange.headers)

    assert broken(second, story_of(second)) == set()
    assert "rate.remaining-falls" in broken(
        replace(second, exchange=replace(second.exchange, headers=headers)), story_of(second)
    )


def test_refusal_is_compared_with_the_rights_of_the_key():
    denied = recording("getWorkflow-403-bound")
    admitted = recording("getWorkflow-200-wildcard")

    assert broken(denied) == set()
    assert "capability.denied-names-required" in broken(answering(denied, required=["model:run"]))
    assert "capability.resource-wildcard-is-admitted" in broken(replace(admitted, exchange=denied.exchange))


def test_limit_is_compared_with_the_tier():
    run = recording("runWorkflow-200-limited")

    assert broken(run) == set()
    assert broken(replace(run, tier="business")) == {"tier.rate-limit-business"}
