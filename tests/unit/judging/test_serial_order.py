"""A contradiction is found exactly if no serial order explains a history."""

import math
from dataclasses import replace
from datetime import timedelta
from itertools import combinations, permutations

import pytest
from exchanges import exchange
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.judging.serial_order import Access, TimedRequest, judge_history, register, steps_of


def alone(access: Access) -> list[tuple[str, Access]]:
    """Put all steps into one partition."""
    return [("", access)]


def described(access: Access, _: str) -> str:
    return f"{'write' if access.is_write else 'read'} {access.value}"


REGISTER = register(initial=lambda _: (0,), partition=alone, describe=described)
ANY_STEP = replace(REGISTER, is_read=lambda _: False)


def step(began, ended, kind, value):
    return TimedRequest(
        began_s=began,
        ended_s=math.inf if kind == "maybe" else ended,
        what=Access(is_write=kind != "read", value=value),
    )


@st.composite
def histories(draw):
    """Draw steps on a register, with times that often overlap, touch or follow each other."""
    steps = []
    for _ in range(draw(st.integers(0, 5))):
        began = draw(st.integers(0, 6))
        kind = draw(st.sampled_from(["read", "write", "maybe"]))
        steps.append(step(began, began + draw(st.integers(0, 4)), kind, draw(st.integers(0, 2))))
    return steps


def is_in_time(order):
    """Return whether no step comes before one that had ended when it began."""
    return not any(
        later.ended_s < earlier.began_s
        for number, earlier in enumerate(order)
        for later in order[number + 1 :]
    )


def is_explained(order):
    """Return whether a register, given the steps in order, can give each response."""
    state = 0
    for each in order:
        if each.what.is_write:
            state = each.what.value
        elif each.what.value != state:
            return False
    return True


def some_order_explains(steps):
    """Try all orders, with and without the steps that may never have taken effect."""
    maybe = [each for each in steps if each.ended_s == math.inf]
    sure = [each for each in steps if each.ended_s < math.inf]
    return any(
        is_in_time(order) and is_explained(order)
        for size in range(len(maybe) + 1)
        for taken in combinations(maybe, size)
        for order in permutations([*sure, *taken])
    )


@given(steps=histories())
@example(steps=[step(0, 1, "write", 1), step(2, 3, "read", 0)])
@example(steps=[step(0, 2, "write", 1), step(2, 3, "read", 0)])  # steps that touch overlap
@example(steps=[step(0, 9, "write", 0), step(1, 2, "write", 1), step(3, 4, "read", 0)])
@pytest.mark.parametrize("model", [REGISTER, ANY_STEP], ids=["reads are known", "any step may write"])
def test_search_agrees_with_trying_all_orders(model, steps):
    """On whether there is a contradiction, and on the requests that it shows."""
    verdict = judge_history(model, steps)

    assert verdict.is_consistent == some_order_explains(steps)
    if verdict.contradiction is not None:
        shown = verdict.contradiction
        assert shown.last in shown.requests
        assert not any(
            is_in_time(order) and is_explained([step(0, 0, "write", before), *order])
            for before in shown.before
            for order in permutations(shown.requests)
        )


def test_many_concurrent_writes_are_searched_quickly():
    steps = [step(0, 9, "write", number % 4) for number in range(10)] + [step(10, 11, "read", 7)]

    assert judge_history(REGISTER, steps).is_consistent is False


def test_search_that_takes_too_long_is_undecided():
    """Its history does not count as consistent."""
    steps = [step(0, 9, "write", number) for number in range(15)]

    assert judge_history(REGISTER, steps, most_steps=100).is_consistent is None


def test_many_uncertain_writes_are_searched_quickly():
    """Any may be what a later read shows; orders that use more of them than needed are not searched."""
    steps = [step(number, number, "maybe", number) for number in range(60)]

    assert judge_history(REGISTER, [*steps, step(99, 99, "read", 30)]).is_consistent
    assert judge_history(REGISTER, [*steps, step(99, 99, "read", 99)]).is_consistent is False


def test_contradiction_is_as_short_as_possible():
    """It begins with the last write before it, and leaves out reads that can be explained."""
    steps = [step(0, 1, "write", 1), step(2, 3, "read", 1), step(4, 5, "write", 2), step(6, 7, "read", 2)]

    shown = judge_history(REGISTER, [*steps, step(8, 9, "read", 1), step(10, 11, "write", 5)]).contradiction

    assert shown is not None
    assert shown.before == {1}
    assert [each.what.value for each in shown.requests] == [2, 1]


def test_picture_shows_when_each_request_was_in_flight():
    """A line for each, on a common axis, and which response fits no order."""
    steps = [step(0, 0.010, "write", 1), step(0.005, 1, "maybe", 2), step(0.020, 0.023, "read", 0)]

    shown = judge_history(REGISTER, steps).contradiction

    assert shown is not None
    assert shown.picture() == (
        "     0.0 ms |===========             | write 1\n"
        "     5.0 ms |     ==================>| write 2\n"
        "    20.0 ms |                    ====| read 0  <- fits no order"
    )
    assert str(shown) == "no order explains read 0, after write 1; write 2"


def test_partitions_are_judged_separately():
    """A write to one member says nothing about another; each has its own states."""

    def own(parts: list[tuple[str, Access]]) -> list[tuple[str, Access]]:
        return parts

    model = register(initial=lambda _: (0,), partition=own, describe=lambda parts, _: str(parts))
    write = TimedRequest(began_s=0, ended_s=1, what=[("a", Access(is_write=True, value=1))])
    read = [(name, Access(is_write=False, value=value)) for name, value in (("a", 1), ("b", 0))]

    verdict = judge_history(model, [write, TimedRequest(began_s=2, ended_s=3, what=read)])

    assert verdict.is_consistent
    assert verdict.states == {"a": {1}, "b": {0}}


@pytest.mark.parametrize(("apart_ms", "are_ordered"), [(5, True), (1.5, False)])
def test_exchanges_are_ordered_by_their_times(apart_ms, are_ordered):
    """Those that are nearer to each other than clocks are precise overlap."""
    first = exchange(200)
    second = replace(first, started_at=first.started_at + timedelta(milliseconds=apart_ms))

    earlier, later = steps_of([first, second])

    assert (earlier.ended_s < later.began_s) == are_ordered


@pytest.mark.parametrize("status", [None, 500, 504])
def test_request_without_a_certain_response_may_arrive_later(status):
    """After any other request."""
    (unknown,) = steps_of([exchange(status)])

    assert unknown.ended_s == math.inf
