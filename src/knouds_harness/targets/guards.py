"""Guards: what decides, before a request is sent, whether and when it may be."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from knouds_harness.contract.operations import Action
from knouds_harness.errors import GuardStop
from knouds_harness.targets.address import host_of, is_loopback, is_production_host
from knouds_harness.targets.budget import SharedBudget
from knouds_harness.targets.profile import Target


def check_production(target: Target, *, yes_production: bool) -> None:
    """Refuse production unless the profile and the command line both agree.

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


def check_action(target: Target, action: Action, *, what: str) -> None:
    """Refuse a kind of action that the profile does not allow.

    Raises:
        GuardStop: It is not among ``limits.allow``.
    """
    if action not in target.limits.allow:
        raise GuardStop(
            f'{what}: the profile does not allow "{action}"\n'
            f'  Add "{action}" to limits.allow in {target.place} if that is meant.'
        )


def check_load(target: Target, *, starts_per_s: float, in_flight: int, yes: bool) -> None:
    """Refuse load that the profile does not allow, before any of it is sent.

    ``starts_per_s`` is 0 where no rate is asked for; ``yes``, load may go to another machine.

    Raises:
        GuardStop: It would go to another machine unasked, or is more than the profile's limits allow.
    """
    limits = target.limits
    if limits.requests_per_s and starts_per_s > limits.requests_per_s:
        raise GuardStop(
            f"{starts_per_s:g} arrivals per second: the profile allows {limits.requests_per_s:g}\n"
            f"  Ask for less, or raise limits.requests_per_s in {target.place}."
        )
    if is_loopback(host_of(target.base_url)):
        return
    if not yes:
        raise GuardStop(
            f"{target.base_url} is another machine, and load may be felt there\n"
            "  Say --yes if it is yours to load."
        )
    if in_flight > limits.concurrency:
        raise GuardStop(
            f"{in_flight} users: the profile allows {limits.concurrency} requests in flight\n"
            f"  Say --users {limits.concurrency}, or raise limits.concurrency in {target.place}."
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
        self._interval_s = 1 / requests_per_s if requests_per_s else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next_start = 0.0
        self._first_turn = 0.0
        self._sharers = 1
        self._lock = threading.Lock()

    def take_turns(self, *, index: int, sharers: int, since: float) -> None:
        """Keep the pace together with others: each starts requests only while it is its turn.

        A turn is as long as one request of all takes, so any time holds at most two starts more than the
        pace admits, however many share it and however long some of them paused. ``since`` is when the first
        turn of the first one began, by the clock of this pacer.
        """
        self._sharers = sharers
        self._first_turn = since + index * self._interval_s

    def wait(self) -> None:
        if not self._interval_s:
            return
        with self._lock:  # one waits for its turn, and all others for that one
            now = self._clock()
            start = max(now, self._next_start)
            turn, round_s = start, self._interval_s * self._sharers
            if self._sharers > 1:
                turn = self._first_turn + (start - self._first_turn) // round_s * round_s
                if start - turn >= self._interval_s:
                    turn = start = turn + round_s
            if start > now:
                self._sleep(start - now)
            self._next_start = turn + round_s


class Guard:
    """Keeps one target's limits; one guard for everything that is sent to it."""

    def __init__(
        self, target: Target, *, yes_production: bool = False, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Arm the guards.

        Raises:
            GuardStop: The target is production, and the profile or the command line does not agree.
        """
        check_production(target, yes_production=yes_production)
        self._target = target
        self._credits_remedy = target.credits_remedy
        self._host = host_of(target.base_url)
        self._pacer = Pacer(target.limits.requests_per_s, sleep=sleep)
        self._slots = threading.BoundedSemaphore(target.limits.concurrency)
        self.budget = SharedBudget(target.limits.credits)

    def admit(self, *, action: Action, host: str, cost_credits: float, what: str) -> int:
        """Let one request through, when its turn comes.

        Returns:
            The reservation, to be settled with ``budget.settle`` once the answer is there.

        Raises:
            CreditsShort: It may cost more than is left.
            GuardStop: It goes elsewhere, is of a kind that the profile does not allow, or is a run after one
                that cost too much.
        """
        if host != self._host:
            raise GuardStop(
                f"{what}: goes to {host}, and the profile allows {self._host} alone\n"
                "  Write another profile for another host."
            )
        check_action(self._target, action, what=what)
        reserved = 0
        if action is Action.RUN or cost_credits:
            reserved = self.budget.reserve(cost_credits, what=what, remedy=self._credits_remedy)
        try:
            self._pacer.wait()
        except BaseException:
            self.budget.settle(reserved, 0.0)
            raise
        return reserved

    def slot(self) -> AbstractContextManager[bool]:
        """One of the places for requests in flight; held while one is."""
        return self._slots
