"""Tests side by side: while one waits for a response, or for a run to end, others go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, cast

if TYPE_CHECKING:
    import pytest

T = TypeVar("T")
S = TypeVar("S", bound="HasMade")
Key = tuple[str, ...]
_Entry = tuple[int, Key]
_QUIET_S: Final = 0.03
_GLANCE_S: Final = 0.001
_LONG_WAIT_S: Final = 3.0  # only a throttled account is waited for that long at a time
WhileWaiting = Callable[[], AbstractContextManager[None]]


class RunLock:
    """Lets one thread compute at a time, so that neither tests nor what they use need locks.

    Only waiting overlaps, and a check spends its time waiting. Ctrl-C may interrupt the main thread anywhere,
    even just after it took the lock; ``give_up`` then lets the others go on.

    Attributes:
        on_long_wait: Called with the seconds before a wait that people notice.
    """

    def __init__(self) -> None:
        self.on_long_wait: Callable[[float], None] = lambda _: None
        self._lock = threading.RLock()  # only its owner can release it
        self._held_until_s = 0.0
        self._idle_threads: set[int] = set()
        self._is_over = threading.Event()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock, and hold it while the context is open."""
        self._lock.acquire()
        try:
            yield
        finally:
            self._held_until_s = time.monotonic()
            with suppress(RuntimeError):  # Ctrl-C came before it was taken again
                self._lock.release()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Release it while the context is open, if the calling thread holds it."""
        try:
            self._lock.release()
        except RuntimeError:  # another thread holds it, or none
            yield
            return
        self._held_until_s = time.monotonic()
        try:
            yield
        finally:
            self._take_back()

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Release it likewise, to wait for something other than a response."""
        own = threading.get_ident()
        self._idle_threads.add(own)
        try:
            with self.released():
                yield
        finally:
            self._idle_threads.discard(own)

    def _take_back(self) -> None:
        interrupt: KeyboardInterrupt | None = None
        while True:
            try:
                self._lock.acquire()
                break
            except KeyboardInterrupt as error:  # raised once the lock is held, as the ending test releases it
                interrupt = error
        if interrupt:
            raise interrupt

    def give_up(self) -> None:
        """Release what the calling thread still holds, if Ctrl-C came just after it took the lock."""
        with suppress(RuntimeError):
            while True:
                self._lock.release()

    def wait(self, seconds: float) -> None:
        """Wait that many seconds with the lock released, or until all waits end."""
        if seconds >= _LONG_WAIT_S and not self._is_over.is_set():
            self.on_long_wait(seconds)
        with self.idle():
            self._is_over.wait(seconds)

    def await_idle(self, thread_id: int, *, or_when: Callable[[], bool]) -> None:
        """Wait until a thread is idle, or until no thread has held the lock for a moment."""
        while not (thread_id in self._idle_threads or or_when()):
            if self.is_free() and time.monotonic() - self._held_until_s >= _QUIET_S:
                return
            time.sleep(_GLANCE_S)

    def is_free(self) -> bool:
        is_taken = self._lock.acquire(blocking=False)
        if is_taken:
            self._lock.release()
        return is_taken

    def end_waits(self) -> None:
        """End all waits for time to pass, now and later."""
        self._is_over.set()


class ConcurrentTests:
    """Tests whose bodies run in threads, ahead of pytest, which then asks for them one by one."""

    def __init__(self, *, call: Callable[[pytest.Function], None], lock: RunLock, most_at_once: int) -> None:
        self._call = call
        self._lock = lock
        self._threads = ThreadPoolExecutor(most_at_once, thread_name_prefix="test-side-by-side")
        self._bodies: dict[str, Future[None]] = {}

    def begin(self, items: Iterable[pytest.Function], *, in_order: bool = False) -> None:
        """Begin tests in this order. If this is interrupted, ``stop`` ends those that have begun.

        No test may change what another of them sees. With ``in_order``, each begins only when the one before
        it waits for something that takes long.
        """

        def in_turn(item: pytest.Function, begun: Future[int]) -> None:
            with self._lock.held():
                begun.set_result(threading.get_ident())
                self._call(item)

        for item in items:
            begun = Future[int]()
            body = self._bodies[item.nodeid] = self._threads.submit(in_turn, item, begun)
            if in_order:
                self._lock.await_idle(begun.result(), or_when=body.done)

    def finish(self, item: pytest.Function) -> None:
        """Wait for the body of a test to end, and raise what it raised."""
        self._bodies[item.nodeid].result()

    @property
    def are_done(self) -> bool:
        return all(body.done() for body in self._bodies.values())

    def stop(self) -> None:
        """Begin no more tests, and wait for those that have begun, which end at their next request."""
        self._threads.shutdown(cancel_futures=True)


class SharedValues:
    """Values that are made when a test first asks for them; other tests wait until they are there."""

    def __init__(self, while_waiting: WhileWaiting) -> None:
        self._while_waiting = while_waiting
        self._futures: dict[str, Future[Any]] = {}

    def get(self, name: str, make: Callable[[], T]) -> T:
        """Return the value of this name; making it is tried again on the next call if it failed."""
        if name in self._futures:
            with self._while_waiting():
                return cast("T", self._futures[name].result())
        made = self._futures[name] = Future[T]()
        try:
            made.set_result(make())
        except BaseException as error:
            del self._futures[name]
            made.set_exception(error)
            raise
        return made.result()


class HasMade(Protocol):
    made: SharedValues


class shared_once(Generic[S, T]):  # noqa: N801 - stands where cached_property would
    """A cached property for tests side by side, which wait while it is being made."""

    def __init__(self, make: Callable[[S], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, instance: S, owner: type[S]) -> T:
        return instance.made.get(self._make.__name__, lambda: self._make(instance))


class Reservations:
    """Keeps runs away from an account, or from one workflow or model of it, while a test counts them.

    A key names what is reserved: an account and an operation, and perhaps a resource.
    """

    def __init__(self, while_waiting: WhileWaiting) -> None:
        self._while_waiting = while_waiting
        self._changed = threading.Condition()
        self._reserved: list[_Entry] = []
        self._in_use: list[_Entry] = []
        self._is_over = False

    @contextmanager
    def made(self, key: Key) -> Iterator[None]:
        """Reserve a key, and all that begin with it, for the calling thread while the context is open.

        Waits for earlier reservations and for uses in flight; later ones wait for this one.
        """
        own = (threading.get_ident(), key)
        with self._changed:
            self._reserved.append(own)
        try:
            self._await(own, lambda: [*self._reserved[: self._reserved.index(own)], *self._in_use])
            yield
        finally:
            self._leave(self._reserved, own)

    @contextmanager
    def used(self, key: Key, *, owner: int | None = None) -> Iterator[None]:
        """Use one resource while the context is open; wait first while another thread has reserved it.

        ``owner`` is the thread on whose behalf it is used, by default the calling one.
        """
        own = (owner or threading.get_ident(), key)

        def ahead() -> list[_Entry]:
            is_own = any(thread == own[0] and _overlap(reserved, key) for thread, reserved in self._reserved)
            return [] if is_own else self._reserved

        self._await(own, ahead, then=lambda: self._in_use.append(own))
        try:
            yield
        finally:
            self._leave(self._in_use, own)

    def end(self) -> None:
        """End all waits, now and later."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _await(
        self, own: _Entry, others: Callable[[], list[_Entry]], *, then: Callable[[], None] = lambda: None
    ) -> None:
        def is_free() -> bool:
            return self._is_over or not any(
                thread != own[0] and _overlap(key, own[1]) for thread, key in others()
            )

        with self._changed:
            if is_free():  # the usual case: the run's lock need not be released
                then()
                return
        with self._while_waiting(), self._changed:
            self._changed.wait_for(is_free)
            then()

    def _leave(self, entries: list[_Entry], own: _Entry) -> None:
        with self._changed:
            entries.remove(own)
            self._changed.notify_all()


def _overlap(one: Key, other: Key) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]
