"""What a difference between two spellings of a request breaks."""

import pytest
from exchanges import exchange, refusal

from knouds_harness.judging.checks import spellings

PLAIN = exchange(200, {"user": {}})


def judged(came, **form):
    (claim,) = spellings.answered_alike.judge(came, plain=PLAIN, form=form, statuses={200, 401, 429})
    return claim


def test_same_answer_is_alike():
    assert judged(exchange(200, {"user": {"id": "other"}}), Accept="*/*").holds


@pytest.mark.parametrize(
    ("came", "dimension", "fact"),
    [
        (refusal(401, "UNAUTHORIZED"), "header names", "auth.key-in-x-api-key"),
        (refusal(401, "UNAUTHORIZED"), "Accept", spellings.HEADERS),
        (refusal(406, "NO"), "Accept", "ground.status-is-documented"),
        (refusal(429, "NO"), "Accept", spellings.HEADERS),
        (exchange(200, raw=b"{"), "User-Agent", "ground.responses-are-json-objects"),
        (exchange(403, raw=b"<p>", headers={"content-type": "text/html"}), "User-Agent", spellings.HEADERS),
    ],
    ids=["no key", "401 by Accept", "undocumented status", "documented status", "no JSON", "a proxy's page"],
)
def test_difference_breaks_what_a_page_says(came, dimension, fact):
    claim = judged(came, **{dimension: "other"})

    assert (claim.holds, claim.fact) == (False, fact)
    assert claim.observed.endswith(f"sent with {dimension} other")


@pytest.mark.parametrize(
    ("elsewhere", "claims"),
    [
        (None, [False]),
        (refusal(404, "NOT_FOUND"), [False]),
        (exchange(200, {}), [True]),
        (exchange(503, raw=b"no healthy upstream"), []),
        (exchange(None), []),
    ],
)
def test_success_is_let_in_unless_anything_is_answered_alike(elsewhere, claims):
    """Nothing is claimed if a proxy, or nothing, answered for the route that does not exist."""
    came = exchange(200, {"user": {}}, operation_id=None)
    told = spellings.guarded.judge(came, refused_by=spellings.WITHOUT_KEY, elsewhere=elsewhere)

    assert [each.holds for each in told] == claims
