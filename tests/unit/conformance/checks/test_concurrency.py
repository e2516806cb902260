"""Checks of requests sent at once are pure: only what they are told of the others decides."""

from __future__ import annotations

import pytest
from exchanges import exchange, refusal

from knouds_harness.conformance.checks import concurrency


def broken(check, answer, **known):
    """The facts that an exchange breaks by this check."""
    return {claim.fact for claim in check.judge(answer, **known) if not claim.holds}


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        (exchange(201, {"slug": "twin-3"}), set()),
        (exchange(200, {"slug": "twin-2"}), {"workflows.create-suffixes-taken-slug"}),
        (exchange(201, {"id": 7}), set()),
        (exchange(201, ["twin"]), set()),
        (refusal(429, "RATE_LIMIT_EXCEEDED"), set()),
    ],
)
def test_distinct_slugs(answer, facts):
    """A slug that another create got too is no slug of one's own; a refused create has none."""
    assert broken(concurrency.distinct_slugs, answer, others=["twin", "twin-2"]) == facts


@pytest.mark.parametrize(("charged", "facts"), [(6, set()), (9, set()), (12, {"run.too-few-credits-is-402"})])
def test_overspending(charged, facts):
    """The last credit may be spent, and no more."""
    answer = exchange(200, {"cost": 3})

    assert broken(concurrency.no_overspending, answer, charged_credits=charged, had_credits=9) == facts


@pytest.mark.parametrize(("admitted", "facts"), [(4, set()), (3, set()), (5, {"rate.over-limit-is-429"})])
def test_burst(admitted, facts):
    """One more than the window had left is one too many."""
    assert broken(concurrency.burst, exchange(200, {}), admitted=admitted, left=4) == facts
