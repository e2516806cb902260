"""Hands each arrival to an idle user when it is due; without one it is dropped and counted, never delayed."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import gevent
from gevent.hub import Waiter, get_hub

from knouds_harness.load.arrivals.timer import Timer

_LONGEST_WAIT_S: Final = 0.1
"""How soon a stop is noticed between arrivals that are far apart."""


class Dispatcher:
    """The arrivals of one process, and the users that wait for them.

    Attributes:
        handed: Arrivals that a user took.
        dropped: Arrivals for which no user was idle.
        in_flight: Arrivals that are being served now.
    """

    def __init__(
        self, *, on_taken: Callable[[float], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Have no user wait yet.

        Args:
            on_taken: Called for each arrival with the seconds by which it was taken late.
            clock: Seconds, as ``time.perf_counter`` counts them.
        """
        self.handed = 0
        self.dropped = 0
        self.in_flight = 0
        self._on_taken = on_taken
        self._clock = clock
        self._idle: list[Waiter[float]] = []

    @property
    def idle(self) -> int:
        """How many wait for an arrival."""
        return len(self._idle)

    def await_arrival(self) -> float:
        """Wait for an arrival, as the greenlet that serves it.

        Returns:
            The instant at which it was due, in seconds of ``time.perf_counter``.
        """
        waiter: Waiter[float] = Waiter()
        self._idle.append(waiter)
        try:
            due_s: float = waiter.get()
        except BaseException:  # killed while idle: nothing must be handed to it
            with suppress(ValueError):
                self._idle.remove(waiter)
            raise
        self._on_taken(self._clock() - due_s)
        return due_s

    def serve(
        self,
        arrivals: Iterable[float],
        *,
        timer: Timer,
        is_stopped: Callable[[], bool],
    ) -> None:
        """Hand arrivals over until they end.

        Args:
            arrivals: Instants in order, in seconds of ``time.perf_counter``; the next is asked for once the
                one before has been dealt with.
            timer: Wakes at them.
            is_stopped: Ends it early.
        """
        later = get_hub().loop.run_callback
        for due_s in arrivals:
            left_s = due_s - self._clock()
            while left_s > _LONGEST_WAIT_S and not is_stopped():
                timer.wait_until(self._clock() + _LONGEST_WAIT_S)
                left_s = due_s - self._clock()
            if is_stopped():
                return
            if left_s > 0:
                timer.wait_until(due_s)
            else:
                gevent.sleep(0)  # behind schedule: those who were handed an arrival have to run
            if self._idle:
                self.handed += 1
                later(self._idle.pop().switch, due_s)
            else:
                self.dropped += 1
