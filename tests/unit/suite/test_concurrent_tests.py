"""Independent tests: one computes at a time, and all that wait do so at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from clocks import wait_until

from knouds_harness.suite.concurrent_tests import (
    ConcurrentTests,
    Reservations,
    RunLock,
    SharedValues,
    shared_once,
)

WITHIN_S = 10


def named(*names):
    return [SimpleNamespace(nodeid=name) for name in names]


def elsewhere(ask):
    with ThreadPoolExecutor(1) as other:
        return other.submit(ask).result(WITHIN_S)


@pytest.fixture
def lock():
    return RunLock()


@pytest.fixture
def begun(lock):
    """Begin tests side by side, and stop them in the end."""
    all_begun = []

    def begin(items, call, *, most_at_once=4, in_order=False):
        all_begun.append(ConcurrentTests(call=call, lock=lock, most_at_once=most_at_once))
        all_begun[-1].begin(items, in_order=in_order)
        return all_begun[-1]

    yield begin
    for each in all_begun:
        each.stop()


def test_tests_wait_at_the_same_time(begun, lock):
    items, all_wait = named("a", "b", "c"), threading.Barrier(3, timeout=WITHIN_S)

    def call(_):
        with lock.released():
            all_wait.wait()

    side_by_side = begun(items, call)
    for item in items:
        side_by_side.finish(item)

    assert not all_wait.broken


def test_one_test_computes_at_a_time(begun, lock):
    computing, most = set(), []

    def call(item):
        for _ in range(50):
            computing.add(item.nodeid)
            most.append(len(computing))
            computing.remove(item.nodeid)
            with lock.released():
                pass

    items = named("a", "b", "c", "d")
    side_by_side = begun(items, call)
    for item in items:
        side_by_side.finish(item)

    assert most == [1] * 200


def test_exception_of_a_test_is_raised_by_finish(begun):
    def call(item):
        if item.nodeid == "bad":
            pytest.fail("broken", pytrace=False)

    items = named("bad", "good")
    side_by_side = begun(items, call)

    side_by_side.finish(items[1])
    with pytest.raises(pytest.fail.Exception, match="broken"):
        side_by_side.finish(items[0])


def test_no_test_begins_after_stop(begun, lock):
    """Tests that have begun end; the others never begin."""
    begun_names, first = [], threading.Event()

    def call(item):
        begun_names.append(item.nodeid)
        first.set()
        lock.wait(WITHIN_S)

    side_by_side = begun(named("a", "b"), call, most_at_once=1)
    first.wait(WITHIN_S)
    side_by_side._bodies["b"].add_done_callback(lambda _: lock.end_waits())  # noqa: SLF001 - it was called off
    side_by_side.stop()

    assert begun_names == ["a"]


def test_lock_is_held_again_after_an_error(lock):
    with lock.held():
        with pytest.raises(OSError, match="gone"), lock.released():
            raise OSError("gone")

        assert not elsewhere(lock.is_free)
    assert elsewhere(lock.is_free)


def test_lock_taken_during_ctrl_c_is_given_up(lock):
    """Otherwise threads that wait for it would never end."""
    taken = lock.held()
    taken.__enter__()  # Ctrl-C comes here, so the context is never left

    assert not elsewhere(lock.is_free)
    lock.give_up()

    assert elsewhere(lock.is_free)


def test_ctrl_c_before_the_lock_is_taken_back_is_not_lost(lock):
    given_back = lock.released()

    def be_interrupted():
        with lock.held():
            given_back.__enter__()  # Ctrl-C comes here, so the context is never left
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()

    assert elsewhere(lock.is_free)


def test_only_the_holder_can_release_the_lock(lock):
    """Requests of the main thread, and concurrent ones of one test, do not take turns."""

    def wait_like_a_sender():
        with lock.released():
            return lock.is_free()

    with lock.held():
        assert not elsewhere(wait_like_a_sender)


def test_each_test_begins_when_the_one_before_waits(begun, lock):
    steps, may_end = [], threading.Event()

    def call(item):
        steps.append(f"{item.nodeid} begins")
        with lock.released():
            may_end.wait(WITHIN_S)
        steps.append(f"{item.nodeid} ends")

    side_by_side = begun(named("a", "b", "c"), call, in_order=True)

    with lock.held():
        assert steps == ["a begins", "b begins", "c begins"]
    may_end.set()
    side_by_side.stop()
    assert sorted(steps[3:]) == ["a ends", "b ends", "c ends"]
    assert side_by_side.are_done


def test_other_computation_does_not_delay_the_next_test(begun, lock):
    """In order: once a test waits for time to pass, the next one begins, however busy the rest is."""
    steps, is_over = [], threading.Event()

    def compute():
        while not is_over.wait(0.001):
            with lock.held():
                pass

    def call(item):
        steps.append(item.nodeid)
        lock.wait(2 * WITHIN_S)

    with ThreadPoolExecutor(2) as others:
        others.submit(compute)
        beginning = others.submit(begun, named("a", "b", "c"), call, in_order=True)
        try:
            beginning.result(WITHIN_S)
        finally:
            is_over.set()
            lock.end_waits()

    assert steps == ["a", "b", "c"]


def test_wait_releases_the_lock_and_can_be_ended(lock):
    """An interrupted run does not wait for minutes to pass."""
    with ThreadPoolExecutor(1) as other:

        def wait_long():
            with lock.held():
                lock.wait(10 * WITHIN_S)
                return not elsewhere(lock.is_free)

        waiting = other.submit(wait_long)
        with lock.held():
            lock.end_waits()

        assert waiting.result(WITHIN_S)


class Things:
    def __init__(self, lock):
        self.made = SharedValues(lock.released)
        self.times, self.lock, self.may_end = 0, lock, threading.Event()

    @shared_once
    def thing(self):
        self.times += 1
        with self.lock.released():
            self.may_end.wait(WITHIN_S)
        return object()

    def ask(self):
        with self.lock.held():
            return self.thing


def test_second_caller_waits_for_the_thing_being_made(lock):
    things = Things(lock)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(things.ask)
        wait_until(lambda: things.times)
        second = threads.submit(things.ask)
        with lock.held():
            things.may_end.set()

        assert first.result(WITHIN_S) is second.result(WITHIN_S)
    assert things.times == 1


class Running:
    """Threads that use or reserve keys, and say when they have them."""

    def __init__(self, lock):
        self.reservations = Reservations(lock.released)
        self._threads = ThreadPoolExecutor(4)
        self._may_end = threading.Event()

    def have(self, how, key, **options):
        """Return an event that is set once a thread has a key, which it keeps until all are let go."""
        has = threading.Event()

        def keep():
            with how(key, **options):
                has.set()
                self._may_end.wait(WITHIN_S)

        self._threads.submit(keep)
        return has

    def let_go(self):
        self._may_end.set()
        self._threads.shutdown(wait=False)


@pytest.fixture
def running(lock):
    threads = Running(lock)
    yield threads
    threads.let_go()


ACCOUNT = ("ada", "runWorkflow")
PORTRAIT = (*ACCOUNT, "portrait")


@pytest.mark.parametrize(
    ("key", "is_waiting"),
    [
        (ACCOUNT, True),
        (PORTRAIT, True),
        (("ada",), True),
        (("sam", "runWorkflow"), False),
        (("ada", "runModel"), False),
        ((*ACCOUNT, "sunset-clip"), False),
    ],
)
def test_runs_wait_while_they_are_reserved(running, key, is_waiting):
    """The account and operation, exactly that resource, or all that the account may run."""
    with running.reservations.made(key):
        runs = running.have(running.reservations.used, PORTRAIT)
        assert runs.wait(0.05 if is_waiting else WITHIN_S) is not is_waiting

    assert runs.wait(WITHIN_S)


def test_reservation_waits_for_runs_in_flight_and_later_runs_for_it(running):
    """So a test that counts runs begins without others, and they cannot keep it waiting forever."""
    assert running.have(running.reservations.used, PORTRAIT).wait(WITHIN_S)
    reserved = running.have(running.reservations.made, ACCOUNT)
    wait_until(lambda: running.reservations._reserved)  # noqa: SLF001 - its thread may begin late
    assert not reserved.wait(0.05)
    later = running.have(running.reservations.used, (*ACCOUNT, "sunset-clip"))
    assert not later.wait(0.05)

    running.let_go()

    assert reserved.wait(WITHIN_S)
    assert later.wait(WITHIN_S)


def test_ended_reservations_block_no_run(running):
    """An interrupted run must come to its end."""
    with running.reservations.made(ACCOUNT):
        runs = running.have(running.reservations.used, PORTRAIT)

        running.reservations.end()

        assert runs.wait(WITHIN_S)


def test_owner_of_a_reservation_can_run_while_others_wait_for_it(running):
    """Otherwise each would wait for the other."""
    with running.reservations.made(PORTRAIT):
        own, other = threading.get_ident(), running.have(running.reservations.made, ACCOUNT)
        assert not other.wait(0.05)

        assert running.have(running.reservations.used, PORTRAIT, owner=own).wait(WITHIN_S)
