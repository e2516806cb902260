"""What something in front of the API answered, and what the API itself did."""

from dataclasses import replace

import pytest
from exchanges import broken, exchange

from knouds_harness.judging.checks import schemas, spellings
from knouds_harness.judging.context import Case, Context
from knouds_harness.judging.rule.outside import is_from_outside

CONTEXT = Context()
PAGE, JSON, NONE = {"content-type": "text/html"}, {"content-type": "application/json"}, {"content-type": ""}


@pytest.mark.parametrize(
    ("method", "status", "headers", "raw", "is_outside"),
    [
        ("GET", 503, PAGE, b"no healthy upstream", True),
        ("GET", 503, JSON, b'{"error": "Later."}', False),
        ("GET", 404, PAGE, b"not here", False),
        ("HEAD", 503, PAGE, b"", True),
        ("HEAD", 503, JSON, b"", False),
        ("HEAD", 403, NONE, b"", False),
        ("HEAD", 404, PAGE, b"", False),
    ],
)
def test_answer_from_outside_has_no_envelope(method, status, headers, raw, is_outside):
    answered = exchange(status, headers=headers, raw=raw)

    assert is_from_outside(replace(answered, request=replace(answered.request, method=method))) == is_outside


def test_balancer_says_nothing_about_an_operation():
    """Nor what an answer is compared with."""
    busy = exchange(503, headers=PAGE, raw=b"no healthy upstream", operation_id="getHealth")
    admitted = exchange(200, {"status": "ok"})

    assert not schemas.public_health.applies_to(Case(exchange=busy, context=CONTEXT))
    assert broken(spellings.guarded, admitted, refused_by="auth.unknown-key-is-401", elsewhere=busy) == set()
