"""Throttled requests are sent again until they are admitted, but not forever."""

from dataclasses import replace

import pytest
from recorded import recording

from knouds_harness.suite.request_failures import RateLimitRetry

REFUSED = recording("runWorkflow-429-over-limit").exchange
ADMITTED = recording("runWorkflow-200-next-window").exchange


def throttled(wait=None):
    others = [(name, value) for name, value in REFUSED.headers if name.lower() != "retry-after"]
    return replace(REFUSED, headers=tuple(others if wait is None else [*others, ("retry-after", wait)]))


@pytest.mark.parametrize(
    ("told", "wait_s"),
    [("7", 7), ("0", 1), ("3600", 65), (None, 60), ("soon", 60), ("Wed, 25 Nov 2026 00:00:00 GMT", 60)],
)
def test_wait_follows_retry_after_within_bounds(told, wait_s):
    """At least a second and at most little more than a window; a window if there is no Retry-After."""
    assert throttled(told).retry_after_s == wait_s


def test_refused_request_is_sent_until_it_is_admitted():
    waits: list[float] = []
    answers = iter([throttled("60"), throttled("3"), ADMITTED])
    rate_limit_retry = RateLimitRetry(pass_time=waits.append)

    assert rate_limit_retry.retry(throttled("60"), lambda: next(answers)).status == 200
    assert rate_limit_retry.retry(ADMITTED, lambda: pytest.fail("sent again")).status == 200
    assert waits == [60, 60, 3]


def test_target_that_never_admits_is_not_waited_for_again_until_it_admits():
    """A target that throttles without end costs a few windows once, not for each test."""
    waits: list[float] = []
    rate_limit_retry = RateLimitRetry(pass_time=waits.append)
    other = replace(throttled("60"), request=replace(REFUSED.request, operation_id="runModel"))

    for refused in (throttled("60"), throttled("60"), other):
        assert rate_limit_retry.retry(refused, lambda: throttled("60")).status == 429
    assert sum(waits) == 240

    rate_limit_retry.retry(ADMITTED, lambda: ADMITTED)
    assert rate_limit_retry.retry(throttled("7"), lambda: ADMITTED).status == 200
    assert waits[-1] == 7
