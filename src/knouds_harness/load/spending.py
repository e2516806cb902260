"""What a load run may do to a target: kinds of action, a pace, and credits, kept in every process."""

from __future__ import annotations

import gevent
from gevent.event import Event

from knouds_harness.contract.operations import Action
from knouds_harness.errors import GuardStop
from knouds_harness.load.arrivals import Share
from knouds_harness.load.cast import Errand
from knouds_harness.load.crew_member import CrewMember
from knouds_harness.load.response import Response
from knouds_harness.target.budget import Budget
from knouds_harness.target.guards import Pacer
from knouds_harness.target.profile import Target


class LoadLimits:
    """Keeps a profile's limits while load goes on; one for all users of a process."""

    def __init__(self, target: Target, *, most_credits: float, member: CrewMember | None = None) -> None:
        """Begin with nothing spent; no request is admitted before there is a ``pace``.

        Args:
            target: Whose limits to keep.
            most_credits: The most that the run may cost.
            member: Of a distributed run, where the master hands credits out.
        """
        self._target = target
        self._allowed = tuple(target.limits.allow)  # to look into a set costs a call of Enum's hash
        self._member = member
        self._pacer = Pacer(None, sleep=gevent.sleep)
        self._is_paced = Event()
        self.budget = member.budget if member else Budget(most_credits)

    def pace(self, share: Share) -> None:
        """Keep this share of the pace that all have to keep together, from now on."""
        per_s = self._target.limits.requests_per_s
        if per_s:
            self._pacer.change(per_s / share.workers, delay_s=share.index / per_s)  # in turn
        self._is_paced.set()

    def admit(self, action: Action, *, what: str) -> None:
        """Let a request through when its turn comes.

        Raises:
            GuardStop: The profile does not allow this kind of action.
        """
        if action not in self._allowed:
            raise GuardStop(
                f'{what}: the profile does not allow "{action}"\n'
                f'  Add "{action}" to limits.allow in {self._target.source} if that is meant.'
            )
        if self._member is not None:
            self._is_paced.wait()
            self._member.await_company()
        self._pacer.wait()

    def reserve(self, errand: Errand) -> int:
        """Set aside the most that a run may cost.

        Raises:
            GuardStop: It does not fit into what is left.
        """
        member = self._member
        while True:
            try:
                reserved = self.budget.reserve(
                    errand.cost_credits, what=errand.operation, source=self._target.source
                )
            except GuardStop:
                if member is None or not member.get_credits(errand.cost_credits, what=errand.operation):
                    raise
            else:
                if member is not None:
                    member.ask_ahead()
                return reserved

    def settle(self, reserved: int, response: Response) -> None:
        """Turn what was set aside into what was charged, as far as the answer says.

        A refused run costs nothing; one that failed, or was only submitted, may cost all that was set aside.
        """
        self.budget.settle(reserved, _charged(response))


def _charged(response: Response) -> float | None:
    status_code = response.status_code
    if status_code >= 300 or not status_code:
        return 0.0 if 300 <= status_code < 500 else None
    try:
        body = response.json()
    except ValueError:
        return None
    cost = body.get("cost") if isinstance(body, dict) else None
    # The very types, as JSON has no others: a bool is an int to isinstance.
    return cost if type(cost) is int or type(cost) is float else None
