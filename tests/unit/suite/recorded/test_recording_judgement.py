"""A recording is judged by its response, the rights of its key, and the rest of its story."""

from collections import defaultdict

from recorded import recording

from knouds_harness.suite.recorded.recording_judgement import claims_about


def claims_by_check(recording, story=()):
    """Return the claims by check id."""
    found = defaultdict(list)
    for check, claim in claims_about(recording, story=story):
        found[check.id].append(claim)
    return found


def test_check_that_needs_the_story_makes_no_claim_without_it():
    claims = claims_by_check(recording("receiveExecutionFailed-204-taken"))

    assert "webhooks.agrees" not in claims
    assert "webhooks.signature-fits" in claims
