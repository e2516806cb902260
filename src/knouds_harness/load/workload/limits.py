"""What a load run may do to a target: kinds of action, a pace, and credits, kept in every process."""

from __future__ import annotations

from typing import Protocol

import gevent
from gevent.event import Event

from knouds_harness.contract.operations import Action
from knouds_harness.errors import CreditsShort
from knouds_harness.exchange.pricing import charge_told
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.client.response import Response
from knouds_harness.load.workload.accounts import RunRequest
from knouds_harness.targets.budget import Budget, credits_of
from knouds_harness.targets.guards import Pacer, check_action
from knouds_harness.targets.profile import Target


class CreditLease(Protocol):
    """Credits that somebody else hands out, some at a time."""

    @property
    def budget(self) -> Budget:
        """What was granted so far, and not spent."""

    def ask_ahead(self) -> object:
        """Ask for more before they are needed."""

    def get_credits(self, needed: float, *, what: str) -> bool:
        """Wait for more; whether it is worth trying again."""


class LoadLimits:
    """Keeps a profile's limits while load goes on; one for all users of a process."""

    def __init__(self, target: Target, *, lease: CreditLease | None = None) -> None:
        """With a lease, no request is admitted before there is a ``pace``.

        Args:
            target: Whose limits to keep.
            lease: In a worker, which gets its credits from the master; None where all are this process's.
        """
        self._target = target
        self._credits_remedy = target.credits_remedy
        self._allowed: tuple[Action, ...] = ()  # to look into a set costs a call of Enum's hash
        self._lease = lease
        self._pacer = Pacer(target.limits.requests_per_s, sleep=gevent.sleep)
        self._is_paced = Event()
        if lease is None:
            self._is_paced.set()
        self.budget = lease.budget if lease else Budget(target.limits.credits)

    def pace(self, share: Share, *, since: float) -> None:
        """Keep the pace together with other workers, in turns that began then by the monotonic clock."""
        self._pacer.take_turns(index=share.index, sharers=share.workers, since=since)
        self._is_paced.set()

    def admit(self, action: Action, *, what: str) -> None:
        """Let a request through when its turn comes.

        Raises:
            GuardStop: The profile does not allow this kind of action.
        """
        if action not in self._allowed:
            check_action(self._target, action, what=what)
            self._allowed = (*self._allowed, action)
        if self._lease is not None:
            self._is_paced.wait()
        self._pacer.wait()

    def reserve(self, run_request: RunRequest) -> int:
        """Set aside the most that a run may cost.

        Raises:
            GuardStop: It does not fit into what is left, or a run has cost more than it could.
        """
        lease = self._lease
        while True:
            try:
                reserved = self.budget.reserve(
                    run_request.cost_credits, what=run_request.operation, remedy=self._credits_remedy
                )
            except CreditsShort:
                if lease is None or not lease.get_credits(
                    run_request.cost_credits, what=run_request.operation
                ):
                    raise
            else:
                if lease is not None:
                    lease.ask_ahead()
                return reserved

    def settle(self, reserved: int, response: Response) -> None:
        """Turn what was set aside into what was charged, as far as the answer says.

        A run that failed, or was only submitted, may cost all that was set aside.
        """
        charged = None
        if response.status_code:
            try:
                body = response.json()
            except (ValueError, RecursionError):
                body = None
            charged = charge_told(response.status_code, body, most_credits=credits_of(reserved))
        self.budget.settle(reserved, charged, what=f"{response.method} {response.url}")
