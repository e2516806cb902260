"""Independent tests: one computes at a time, and all that wait do so at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from knouds_harness.conformance.side_by_side import SideBySide, Turn

WITHIN_S = 10


def named(*names):
    """Stand-ins for what pytest collects."""
    return [SimpleNamespace(nodeid=name) for name in names]


@pytest.fixture
def turn():
    """Nobody's."""
    return Turn()


@pytest.fixture
def begun(turn):
    """Begins tests side by side, and stops them in the end."""
    all_begun = []

    def begin(items, call, *, most_at_once=4):
        all_begun.append(SideBySide(items, call=call, turn=turn, most_at_once=most_at_once))
        return all_begun[-1]

    yield begin
    for each in all_begun:
        each.stop()


def test_they_wait_at_once(begun, turn):
    """All of them wait for their answers before the first one comes."""
    items, all_wait = named("a", "b", "c"), threading.Barrier(3, timeout=WITHIN_S)

    def call(_):
        with turn.passed_on():
            all_wait.wait()

    side_by_side = begun(items, call)
    for item in items:
        side_by_side.finish(item)

    assert not all_wait.broken


def test_one_computes_at_a_time(begun, turn):
    """Between waits a test is alone, however often others get their answers."""
    computing, most = set(), []

    def call(item):
        for _ in range(50):
            computing.add(item.nodeid)
            most.append(len(computing))
            computing.remove(item.nodeid)
            with turn.passed_on():
                pass

    items = named("a", "b", "c", "d")
    side_by_side = begun(items, call)
    for item in items:
        side_by_side.finish(item)

    assert most == [1] * 200


def test_no_more_than_so_many_have_begun(begun, turn):
    """What is in flight is bounded by the limit, not by the number of tests."""
    begun_names, may_end = [], threading.Event()
    first_two = threading.Barrier(3, timeout=WITHIN_S)

    def call(item):
        begun_names.append(item.nodeid)
        with turn.passed_on():
            if not may_end.is_set():
                first_two.wait()
            may_end.wait(WITHIN_S)

    items = named("a", "b", "c")
    side_by_side = begun(items, call, most_at_once=2)
    first_two.wait()

    assert begun_names == ["a", "b"]
    may_end.set()
    side_by_side.finish(items[-1])
    assert begun_names == ["a", "b", "c"]


def test_what_a_test_raises_is_raised_for_it(begun):
    """A failure belongs to the test that failed, whichever ended first."""

    def call(item):
        if item.nodeid == "bad":
            pytest.fail("broken", pytrace=False)

    items = named("bad", "good")
    side_by_side = begun(items, call)

    side_by_side.finish(items[1])
    with pytest.raises(pytest.fail.Exception, match="broken"):
        side_by_side.finish(items[0])


def test_stopping_begins_no_more(begun, turn):
    """Those that have begun end; those that have not never will."""
    begun_names, may_end, first = [], threading.Event(), threading.Event()

    def call(item):
        begun_names.append(item.nodeid)
        first.set()
        with turn.passed_on():
            may_end.wait(WITHIN_S)

    side_by_side = begun(named("a", "b"), call, most_at_once=1)
    first.wait(WITHIN_S)
    side_by_side._bodies["b"].add_done_callback(lambda _: may_end.set())  # noqa: SLF001 - it was called off
    side_by_side.stop()

    assert begun_names == ["a"]


def test_turn_is_taken_back_after_an_error(turn):
    """Whatever a request ends in, the test goes on computing alone."""
    with turn.taken():
        with pytest.raises(OSError, match="gone"), turn.passed_on():
            raise OSError("gone")

        assert not turn._lock.acquire(blocking=False)  # noqa: SLF001 - nothing else tells
    assert turn._lock.acquire(blocking=False)  # noqa: SLF001


def test_who_has_not_taken_the_turn_cannot_pass_it_on(turn):
    """Requests of the main thread, and those that one test sends at once, take part in no turns."""
    with turn.taken(), ThreadPoolExecutor(1) as other:

        def wait_like_a_sender():
            with turn.passed_on():
                return turn._lock.locked()  # noqa: SLF001

        assert other.submit(wait_like_a_sender).result(WITHIN_S)
