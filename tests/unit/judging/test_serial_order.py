"""Serial orders are found exactly where there are some."""

import math
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise, permutations

import pytest
from exchanges import exchange
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.judging.serial_order import TimedRequest, serial_order, steps_of


def register(state, what):
    """A value that is written and read; a write that may have failed, too."""
    kind, value = what
    if kind == "write":
        return [value]
    if kind == "maybe":
        return [state, value]
    return [state] if state == value else []


def step(began, ended, kind, value):
    return TimedRequest(began_s=began, ended_s=ended, what=(kind, value))


@st.composite
def histories(draw):
    """Some steps on a register, with instants few enough to overlap, to touch and to follow."""
    steps = []
    for _ in range(draw(st.integers(0, 5))):
        began = draw(st.integers(0, 6))
        kind = draw(st.sampled_from(["read", "write", "maybe"]))
        ended = math.inf if kind == "maybe" else began + draw(st.integers(0, 4))
        steps.append(step(began, ended, kind, draw(st.integers(0, 2))))
    return steps


def is_in_time(order):
    """Whether nothing stands before what had ended when it began."""
    return not any(
        later.ended_s < earlier.began_s
        for number, earlier in enumerate(order)
        for later in order[number + 1 :]
    )


def is_explained(order):
    """Whether the register, told step by step, can give each answer."""
    states = {0}
    for each in order:
        states = {after for state in states for after in register(state, each.what)}
    return bool(states)


@given(steps=histories())
@example(steps=[step(0, 1, "write", 1), step(2, 3, "read", 0)])
@example(steps=[step(0, 2, "write", 1), step(2, 3, "read", 0)])  # what touches overlaps
def test_order_is_found_exactly_where_trying_all_finds_one(steps):
    exists = any(is_in_time(order) and is_explained(order) for order in permutations(steps))

    found = serial_order(steps, initial=0, outcomes=register)

    assert (found is not None) == exists
    if found is not None:
        assert sorted(map(id, found)) == sorted(map(id, steps))
        assert is_in_time(found)
        assert is_explained(found)


def test_many_steps_at_once_are_searched_in_no_time():
    """Sixteen overlapping requests, and an answer that no order gives: dead ends are met only once."""
    steps = [step(0, 9, "write", number % 4) for number in range(15)] + [step(10, 11, "read", 7)]

    assert serial_order(steps, initial=0, outcomes=register) is None


def test_exchanges_follow_each_other_by_their_instants():
    first = exchange(200)
    second = replace(first, started_at=first.started_at + timedelta(milliseconds=5))

    earlier, later = steps_of([first, second])

    assert earlier.ended_s < later.began_s


@pytest.mark.parametrize("status", [None, 500, 504])
def test_what_became_of_a_request_without_a_certain_answer_is_open(status):
    """What was sent may arrive later than anything."""
    (unknown,) = steps_of([exchange(status)])

    assert unknown.ended_s == math.inf


def test_clocks_are_not_trusted_to_the_microsecond():
    first = exchange(200)
    second = replace(first, started_at=first.started_at + timedelta(milliseconds=1.5))

    for earlier, later in pairwise(steps_of([first, second])):
        assert earlier.ended_s >= later.began_s
