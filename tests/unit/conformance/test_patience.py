"""Patience: what is refused for its rate is sent again until it is admitted, and not for ever."""

from __future__ import annotations

import pytest
from exchanges import exchange

from knouds_harness.conformance.patience import Patience, told_wait_s


def throttled(wait=None):
    """A 429 that asks to wait."""
    headers = {} if wait is None else {"retry-after": wait}
    return exchange(429, {"error": "x", "code": "RATE_LIMIT_EXCEEDED"}, headers=headers)


@pytest.mark.parametrize(
    ("told", "wait_s"),
    [("7", 7), ("0", 1), ("3600", 65), (None, 60), ("soon", 60), ("Wed, 25 Nov 2026 00:00:00 GMT", 60)],
)
def test_wait_is_what_a_refusal_says_within_reason(told, wait_s):
    """At least a second, little more than a window, and a window where nothing is said."""
    assert told_wait_s(throttled(told)) == wait_s


def test_admitted_request_is_not_sent_again():
    """There is nothing to wait for."""
    patience = Patience(pass_time=lambda _: pytest.fail("waited"))

    assert patience.outlast(exchange(200), lambda: pytest.fail("sent again")).status == 200


def test_refused_request_is_sent_until_it_is_admitted():
    """Others may have used up the next window as well."""
    waits: list[float] = []
    answers = iter([throttled("60"), throttled("3"), exchange(200)])

    last = Patience(pass_time=waits.append).outlast(throttled("60"), lambda: next(answers))

    assert last.status == 200
    assert waits == [60, 60, 3]


def test_patience_ends():
    """What is refused through three windows will go on being refused."""
    waits: list[float] = []

    last = Patience(pass_time=waits.append).outlast(throttled("60"), lambda: throttled("60"))

    assert last.status == 429
    assert sum(waits) == 240
