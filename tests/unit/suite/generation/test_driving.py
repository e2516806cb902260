"""A sequence is shortened to what still breaks something, within a bound."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.suite.generation.driving import shorten


def never():
    return False


def holds(*needed):
    return lambda calls: set(needed) <= set(calls)


@given(noise=st.lists(st.sampled_from("abc"), max_size=10), place=st.integers(0, 10))
def test_only_the_needed_calls_are_left(noise, place):
    calls = [*noise[:place], "make", *noise[place:], "show"]

    shortest = shorten(calls, breaks=holds("make", "show"), is_enough=never)

    assert list(shortest) == ["make", "show"]


def test_calls_that_need_each_other_are_kept():
    def breaks(calls):
        return "make" in calls and calls.count("a") == calls.count("b") == 1

    calls = ["make", "a", "b", "show"]

    assert shorten(calls, breaks=breaks, is_enough=never) == calls


def test_bound_returns_the_shortest_so_far():
    tries = itertools.count(1)
    tried = []

    def breaks(calls):
        tried.append(calls)
        return True

    shortest = shorten("abcdefg", breaks=breaks, is_enough=lambda: next(tries) > 3)

    assert len(tried) == 3
    assert "".join(shortest) == "abcg"
