"""Guards: what decides, before a request is sent, whether and when it may be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from knouds_harness.contract.operations import Action
from knouds_harness.errors import GuardStop
from knouds_harness.target.address import host_of, is_production_host
from knouds_harness.target.budget import SharedBudget
from knouds_harness.target.profile import Target


def check_production(target: Target, *, yes_production: bool) -> None:
    """Refuse production unless the profile and the command line both agree.

    Args:
        target: Its profile may say ``production = true``.
        yes_production: Whether the command line says ``--yes-production``.

    Raises:
        GuardStop: One of the two is missing.
    """
    is_public_service = is_production_host(host_of(target.base_url))
    if is_public_service and not target.production:
        raise GuardStop(
            f"{target.source}: base_url: {target.base_url} is the production service, "
            "and the profile does not say so\n"
            "  Test a staging server instead, or write production = true and pass --yes-production."
        )
    if target.production and not yes_production:
        raise GuardStop(
            f"{target.source}: production = true: a run would use real accounts and real credits\n"
            "  Pass --yes-production if that is meant."
        )


class Pacer:
    """Spaces the starts of requests evenly, so that no second sees more than its share."""

    def __init__(
        self,
        requests_per_s: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start with the first request due at once.

        Args:
            requests_per_s: The most per second; None for no bound.
            clock: Monotonic seconds.
            sleep: Waits for so many seconds.
        """
        self._interval_s = 0.0
        self._clock = clock
        self._sleep = sleep
        self._next_start = 0.0
        self._lock = threading.Lock()
        self.change(requests_per_s)

    def change(self, requests_per_s: float | None, *, delay_s: float = 0.0) -> None:
        """Go on at another pace, also for those who wait already.

        Args:
            requests_per_s: The most per second; None for no bound.
            delay_s: For so long at least nothing starts.
        """
        self._interval_s = 1 / requests_per_s if requests_per_s else 0.0
        if delay_s:
            self._next_start = max(self._next_start, self._clock() + delay_s)

    def wait(self) -> None:
        """Return when the next request may start."""
        if not self._interval_s:
            return
        with self._lock:  # one waits for its turn, and all others for that one
            now = self._clock()
            start = max(now, self._next_start)
            if start > now:
                self._sleep(start - now)
            self._next_start = start + self._interval_s


class Guard:
    """Keeps one target's limits; one guard for everything that is sent to it."""

    def __init__(
        self,
        target: Target,
        *,
        yes_production: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Arm the guards.

        Args:
            target: Whose limits to keep.
            yes_production: Whether the command line says ``--yes-production``.
            clock: Monotonic seconds.
            sleep: Waits for so many seconds.

        Raises:
            GuardStop: The target is production and somebody has not agreed.
        """
        check_production(target, yes_production=yes_production)
        self._target = target
        self._host = host_of(target.base_url)
        self._pacer = Pacer(target.limits.requests_per_s, clock=clock, sleep=sleep)
        self._slots = threading.BoundedSemaphore(target.limits.concurrency)
        self.budget = SharedBudget(target.limits.credits)

    def admit(self, *, action: Action, host: str, cost_credits: float, what: str) -> int:
        """Let one request through, when its turn comes.

        Args:
            action: What it may do.
            host: Where it goes.
            cost_credits: The most it may cost.
            what: The request in words, for the message.

        Returns:
            The reservation, to be settled with ``budget.settle`` once the answer is there.

        Raises:
            GuardStop: It goes elsewhere, is of a kind that the profile does not allow, or may cost too much.
        """
        if host != self._host:
            raise GuardStop(
                f"{what}: goes to {host}, and the profile allows {self._host} alone\n"
                "  Write another profile for another host."
            )
        if action not in self._target.limits.allow:
            raise GuardStop(
                f'{what}: the profile does not allow "{action}"\n'
                f'  Add "{action}" to limits.allow in {self._target.source} if that is meant.'
            )
        reserved = self.budget.reserve(cost_credits, what=what, source=self._target.source)
        self._pacer.wait()
        return reserved

    def slot(self) -> AbstractContextManager[bool]:
        """One of the places for requests in flight; held while one is."""
        return self._slots
