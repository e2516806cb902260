"""Independent tests, side by side: while one waits for an answer, the others go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest


class Turn:
    """Which of several threads computes: one at a time, so that tests need no locks, nor does what they use.

    Only waiting for the target happens at the same time, which is where the time of a check goes.
    """

    def __init__(self) -> None:
        """It is nobody's at first."""
        self._lock = threading.Lock()
        self._own = threading.local()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, and have it while the context is open."""
        with self._lock:
            self._own.is_taken = True
            try:
                yield
            finally:
                self._own.is_taken = False

    @contextmanager
    def passed_on(self) -> Iterator[None]:
        """Let others have it while the context is open; nothing where the calling thread has not taken it."""
        if not getattr(self._own, "is_taken", False):
            yield
            return
        self._own.is_taken = False
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()
            self._own.is_taken = True


class SideBySide:
    """Tests whose bodies have begun, or will as soon as there is room; pytest asks for them one by one."""

    def __init__(
        self,
        items: Iterable[pytest.Function],
        *,
        call: Callable[[pytest.Function], None],
        turn: Turn,
        most_at_once: int,
    ) -> None:
        """Begin them in this order.

        Args:
            items: Tests that neither change what another of them sees, nor see what another changes.
            call: Runs the body of one.
            turn: Taken by each while it computes.
            most_at_once: How many have begun and not ended at any time.
        """

        def in_turn(item: pytest.Function) -> None:
            with turn.taken():
                call(item)

        self._threads = ThreadPoolExecutor(most_at_once, thread_name_prefix="independent-test")
        self._bodies = {item.nodeid: self._threads.submit(in_turn, item) for item in items}

    def finish(self, item: pytest.Function) -> None:
        """Wait for the body of a test to end, and raise what it raised."""
        self._bodies[item.nodeid].result()

    def stop(self) -> None:
        """Begin no more of them, and wait for those that have begun; they end at their next request."""
        self._threads.shutdown(cancel_futures=True)
