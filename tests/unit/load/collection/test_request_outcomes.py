"""Kept, throttled, refused, failed and wrong."""

from __future__ import annotations

import json

import pytest

from knouds_harness.load.client.http_answer import Answer
from knouds_harness.load.client.response import error_code
from knouds_harness.load.collection.request_outcomes import RequestOutcome, outcome_of

FAILURE = ValueError("not as expected")


@pytest.mark.parametrize(
    ("status_code", "exception", "outcome"),
    [
        (200, None, RequestOutcome.KEPT),
        (204, None, RequestOutcome.KEPT),
        (404, None, RequestOutcome.KEPT),
        (500, None, RequestOutcome.KEPT),
        (429, FAILURE, RequestOutcome.THROTTLED),
        (429, None, RequestOutcome.THROTTLED),
        (402, FAILURE, RequestOutcome.REFUSED),
        (403, FAILURE, RequestOutcome.REFUSED),
        (500, FAILURE, RequestOutcome.FAILED),
        (503, FAILURE, RequestOutcome.FAILED),
        (0, FAILURE, RequestOutcome.FAILED),
        (200, FAILURE, RequestOutcome.WRONG),
        (302, None, RequestOutcome.WRONG),
        (401, FAILURE, RequestOutcome.WRONG),
        (404, FAILURE, RequestOutcome.WRONG),
    ],
)
def test_outcome_follows_status_and_what_the_caller_took_for_a_success(status_code, exception, outcome):
    """A status that the caller expected is kept, but being throttled stays being throttled."""
    assert outcome_of(status_code, exception) is outcome


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"code": "RATE_LIMIT_EXCEEDED"}, "RATE_LIMIT_EXCEEDED"),
        ({"code": "grant_exhausted"}, "grant_exhausted"),
        ({"error": "no"}, ""),
        ({"code": 17}, ""),
        ({"code": "a sentence, with words"}, ""),
        ({"code": "X" * 65}, ""),
        (["code"], ""),
    ],
)
def test_code_is_a_constant_for_programs(body, code):
    """Anything else would make a kind of error of every answer."""
    answer = Answer()
    answer.fill(400, b"HTTP/1.1 400 \r\n\r\n", 0, json.dumps(body).encode())

    assert error_code(answer) == code


@pytest.mark.parametrize("response", [None, Answer(), object()])
def test_no_readable_body_has_no_code(response):
    """Whatever a client gives."""
    assert error_code(response) == ""
