"""What is walked, and what a finding says of the requests that show it."""

import re
from collections import Counter
from dataclasses import replace

import pytest
from example_targets import make_target

from knouds_harness.contract.document import shipped_document
from knouds_harness.suite.generation.walk import Point, shown_in, values_of, values_words

OPERATIONS = shipped_document().operation_by_id
RUN = list(values_of(OPERATIONS["runModel"]))
FIRST, SECOND, _ = RUN[:3]
POINTS = [Point(value, beside) for value in RUN[:3] for beside in ("", "form=async", "resource=unknown")]


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_values_have_names_and_reasons_of_their_own(operation):
    values = list(values_of(operation))

    assert max(Counter(map(str, values)).values(), default=1) == 1
    assert all(each.check for each in values)


def test_values_that_a_profile_lacks_are_counted():
    nothing = replace(make_target(), personas={}, workflows={}, models={}, webhook=None, control=None)

    words = re.fullmatch(
        r"A check can try (\d+) of (\d+) values of requests; .+ adds (\d+)\.", values_words(nothing)
    )

    assert words is not None
    tried, of, added = map(int, words.groups())
    assert 0 < tried < of
    assert tried + added <= of


@pytest.mark.parametrize(
    ("showing", "words"),
    [
        (POINTS, "this finding shows in each of 9 requests"),
        (POINTS[1::3], "this finding shows only with form=async, of 9 requests"),
        (POINTS[3:6], f"this finding shows only with {SECOND}, of 9 requests"),
        (POINTS[4:5], f"this finding shows in 1 of 9 requests: {SECOND} and form=async"),
        (
            POINTS[:5],
            (
                f"this finding shows in 5 of 9 requests: {FIRST}, {FIRST} and form=async, "
                f"{FIRST} and resource=unknown and 2 more"
            ),
        ),
    ],
    ids=["all", "form", "value", "pair", "several"],
)
def test_finding_says_what_the_requests_that_show_it_have_in_common(showing, words):
    assert shown_in(showing, POINTS) == words
