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
    assert claim.observed.endswith(f"needs only: {dimension} other")
