"""Guards: decide, before a request is sent, whether and when it may be sent."""

import threading
import time
from collections.abc import Callable

from knouds_harness.contract.effects import Effect
from knouds_harness.errors import GuardStop, NotSent
from knouds_harness.targets.address import host_of, is_loopback, is_production_host
from knouds_harness.targets.budget import Budget
from knouds_harness.targets.profile import Target


def check_production(target: Target, *, yes_production: bool) -> None:
    """Refuse production unless the profile and the command line both agree."""
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
            "  Pass --yes-production if you intend that."
        )


def check_effect(target: Target, effect: Effect, *, is_deliberate: bool, what: str) -> None:
    """Refuse a request that may do what the profile does not allow, or what is unknown.

    Raises:
        GuardStop: An action that it may be is not in ``limits.allow``.
        NotSent: A header may end it early or names another server; or a server may take it for something that
            the document does not have, and it was not sent for that.
    """
    if not effect.is_bounded:
        raise NotSent(f"{what}: its headers may send it elsewhere, or hide a second request in its body")
    if not (effect.is_documented or is_deliberate):
        raise NotSent(f"{what}: not exactly a request of the document, so a server may take it for any other")
    for action in sorted(effect.actions - target.limits.allow):
        raise GuardStop(
            f'{what}: the profile does not allow "{action}"\n'
            f'  Add "{action}" to limits.allow in {target.place} if you intend that.'
        )


def check_load(target: Target, *, starts_per_s: float, in_flight: int, yes: bool) -> None:
    """Refuse load that the profile does not allow, before any of it is sent.

    ``starts_per_s`` is 0 without a fixed rate. ``yes`` allows load on another machine.

    Raises:
        GuardStop: The target is another machine without ``yes``, or the load exceeds the profile's limits.
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
            f"{target.base_url} is another machine, and load can disturb its users\n"
            "  Pass --yes if you may put load on it."
        )
    if in_flight > limits.concurrency:
        raise GuardStop(
            f"{in_flight} users: the profile allows {limits.concurrency} requests in flight\n"
            f"  Pass --users {limits.concurrency}, or raise limits.concurrency in {target.place}."
        )


class Pacer:
    """Spaces the starts of requests evenly, so that no second has more than its share."""

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
        """Share the pace with other pacers: each starts requests only in its own turns.

        A turn lasts one interval of the shared pace. So any period has at most two starts more than the pace
        allows, no matter how many pacers share it or how long some of them paused. ``since`` is the start of
        the first turn of pacer 0, by the clock of this pacer.
        """
        self._sharers = sharers
        self._first_turn = since + index * self._interval_s

    def wait(self) -> None:
        if not self._interval_s:
            return
        with self._lock:  # one thread waits for its turn, the others for the lock
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
    """Enforces the limits of one target; a single guard sees every request to it.

    Raises:
        GuardStop: The target is production, and the profile or the command line does not agree.
    """

    def __init__(
        self, target: Target, *, yes_production: bool = False, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        check_production(target, yes_production=yes_production)
        self._target = target
        self._credits_remedy = target.credits_remedy
        self._host = host_of(target.base_url)
        self._pacer = Pacer(target.limits.requests_per_s, sleep=sleep)
        self.slots = threading.BoundedSemaphore(target.limits.concurrency)
        """Held while a request is in flight."""
        self.budget = Budget(target.limits.credits, is_shared=True)

    def check(self, effect: Effect, *, is_deliberate: bool, host: str, what: str) -> None:
        """Refuse a request that goes to another host, by a GuardStop, or as ``check_effect`` does."""
        if host != self._host:
            raise GuardStop(
                f"{what}: goes to {host}, but the profile allows only {self._host}\n"
                "  Write another profile for another host."
            )
        check_effect(self._target, effect, is_deliberate=is_deliberate, what=what)

    def admit(self, *, is_run: bool, cost_credits: float, what: str) -> int:
        """Admit one request that ``check`` passed; wait until the pace allows it.

        Returns the reservation, for ``budget.settle`` once there is a response.

        Raises:
            CreditsShort: It may cost more credits than are left.
            GuardStop: Earlier runs exceeded the limit of credits.
        """
        reserved = 0
        if is_run or cost_credits:
            reserved = self.budget.reserve(cost_credits, what=what, remedy=self._credits_remedy)
        try:
            self._pacer.wait()
        except BaseException:
            self.budget.settle(reserved, 0.0)
            raise
        return reserved
