"""The limits of a profile, kept in every process of a load run: kinds of action, request rate, credits."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final
from urllib.parse import urlsplit

import gevent
from gevent.event import Event
from gevent.lock import RLock
from locust.runners import WorkerRunner

from knouds_harness.contract.effects import Effect, effect_of
from knouds_harness.contract.operations import Action
from knouds_harness.errors import CreditsShort, GuardStop, NotSent
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Exchange, Request
from knouds_harness.exchange.pricing import highest_price_credits, reported_charge
from knouds_harness.exchange.usage import ChargesShown, ShownCharges
from knouds_harness.load import messages
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.client.response import Response
from knouds_harness.load.workload.accounts import RunRequest
from knouds_harness.load.workload.preflight import NOT_LOOKED, Preflight
from knouds_harness.targets.budget import Budget, credits_of
from knouds_harness.targets.guards import Guard, Pacer, check_effect
from knouds_harness.targets.profile import Target

_ANSWER_WITHIN_S: Final = 15.0
_MOST_EFFECTS: Final = 4096
_TRACE: Final = re.compile(rb"\r\ntraceparent: [^\r]*")
_SENT_BY: Final = {Action.RUN: "send_run", Action.WRITE: "call", Action.CANCEL: "call"}
"""The methods of ``ScenarioUser`` that send what its client does not, because they note what came of it."""


class LeasedCredits:
    """The credits of a process that sends, which the leading process grants in parts."""

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self.budget = Budget(0.0)
        self._answered: Event | None = None
        self._granted = 0.0
        runner.register_message(messages.CREDITS, self._on_credits)

    def ask_ahead(self) -> None:
        """Ask for more once half of the last grant is used, unless a request is open."""
        if self._answered is None and self.budget.left_credits <= self._granted / 2:
            self._ask(0.0, "")

    def get_credits(self, needed: float, *, what: str) -> bool:
        """Get more from the leading process, and wait for them; return whether to try again."""
        answered = self._answered
        if answered is not None:  # a request is open already
            return answered.wait(_ANSWER_WITHIN_S)
        return self._ask(needed, what).wait(_ANSWER_WITHIN_S) and self._granted > 0

    def _ask(self, needed: float, what: str) -> Event:
        self._answered = answered = Event()
        self._runner.send_message(messages.ASK_CREDITS, {"needed": needed, "what": what})
        return answered

    def _on_credits(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        self._granted = float(msg.data["granted"])
        self.budget.extend(self._granted)
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.set()


class LoadLimits:
    """Enforces a profile's limits during the load; all users of a process share one."""

    def __init__(
        self, target: Target, *, lease: LeasedCredits | None = None, ahead: Preflight = NOT_LOOKED
    ) -> None:
        """With a lease, no request is admitted before ``pace`` is called."""
        self._target = target
        self._credits_remedy = target.credits_remedy
        self._effects: dict[bytes, Effect] = {}
        self._base_path = urlsplit(target.base_url).path
        self._lease = lease
        self._pacer = Pacer(target.limits.requests_per_s, sleep=gevent.sleep)
        self._paced = None if lease is None else Event()
        self.runs = 0  # sent, or refused as credits were lacking
        self.budget = lease.budget if lease else Budget(target.limits.credits)
        self.budget.settle(0, ahead.spent_credits, what="what was sent before the load")
        self._client = Client(target=target, guard=Guard(target, yes_production=True))  # checked before
        self._charges_shown = ChargesShown(self._send, ahead.marks, settle_s=target.limits.settle_s)
        for user in ahead.marks:
            self._charges_shown.begin(user, target.personas.values())
        self._reading = RLock()
        self._dearest_credits = highest_price_credits(target, ahead.prices)

    def pace(self, share: Share, *, since: float) -> None:
        """Share the request rate with other workers, in turns that began at this monotonic time."""
        self._pacer.take_turns(index=share.index, sharers=share.workers, since=since)
        if self._paced is not None:
            self._paced.set()
            self._paced = None

    def judged(self, head: bytes, *, added: Collection[tuple[str, str]]) -> Effect:
        """Return what a request with this head may do, but for headers that the profile and the client add.

        The head ends before what each request has of its own, such as its length. The same is judged once.
        Raises ``GuardStop`` if the profile does not allow it, or the document does not have it.
        """
        effect = self._effects.get(head)
        if effect is None:
            line, *lines = head.decode("latin-1").removesuffix("\r\n").split("\r\n")
            method, _, target = line.removesuffix(" HTTP/1.1").partition(" ")
            headers = ((name, value) for name, _, value in (each.partition(": ") for each in lines))
            own = [each for each in headers if each not in added and each[0] != "Content-Length"]
            effect, what = effect_of(method, target.removeprefix(self._base_path), own), _described(head)
            try:
                check_effect(self._target, effect, is_deliberate=False, what=what)
            except NotSent as refused:
                raise GuardStop(str(refused)) from refused
            if len(self._effects) >= _MOST_EFFECTS:
                self._effects.clear()
            self._effects[head] = effect
        return effect

    def admit(self, head: bytes, *, added: Collection[tuple[str, str]], is_reserved: bool = False) -> Effect:
        """Wait for the turn of a request, and return what it may do; as ``judged``.

        Refuses one that would run something if nothing ``is_reserved`` for it.
        """
        effect = self._effects.get(head) or self.judged(head, added=added)
        if not is_reserved and Action.RUN in effect.actions:
            raise GuardStop(f"{_described(head)}: nothing is reserved for this run\n  Send it by send_run.")
        self._await_turn()
        return effect

    def admit_bytes(self, request: bytes, *, added: Collection[tuple[str, str]]) -> None:
        """Wait for the turn of a request that is sent as it is; refuse one that runs or changes anything."""
        head = _TRACE.sub(b"", request.partition(b"\r\n\r\n")[0]) + b"\r\n"
        effect = self.judged(head, added=added)
        for action, method_of_user in _SENT_BY.items():
            if action in effect.actions:
                raise GuardStop(
                    f"{_described(head)}: self.client sends nothing that runs or changes something\n"
                    f"  Send it by self.{method_of_user}."
                )
        self._await_turn()

    def _await_turn(self) -> None:
        if self._paced is not None:
            self._paced.wait()
        self._pacer.wait()

    def reserve(self, run_request: RunRequest) -> int:
        """Set aside the most that a run may cost.

        Raises ``GuardStop`` if too few credits are left, or an earlier run cost more than it could.
        """
        lease = self._lease
        self.runs += 1
        cost_credits, what = run_request.cost_credits, run_request.operation
        if self.budget.is_usage_due(cost_credits):
            with self._reading:
                if self.budget.is_usage_due(cost_credits):  # no other greenlet has read it meanwhile
                    self._read_usage()
        while True:
            try:
                reserved = self.budget.reserve(cost_credits, what=what, remedy=self._credits_remedy)
            except CreditsShort:
                if lease is None or not lease.get_credits(cost_credits, what=what):
                    raise
            else:
                if lease is not None:
                    lease.ask_ahead()
                return reserved

    def settle(
        self, reserved: int, response: Response, run_request: RunRequest, *, may_be_throttled: bool = False
    ) -> None:
        """Count the charge that the response states in place of what was set aside.

        All that was set aside counts if the run failed, was only submitted, or was wrongly refused.
        """
        persona, status = run_request.persona, response.status_code
        try:
            told = response.content, response.json() if status else None
            charged = reported_charge(
                status,
                *told,
                most_credits=credits_of(reserved),
                is_to_run=not (status == 429 and may_be_throttled),
                is_granted=persona.credits == "granted",
            )
        except (ValueError, RecursionError):  # what cannot be read tells no charge
            charged = None
        self.budget.settle(
            reserved,
            charged,
            account=persona.user,
            what=run_request.operation,
            doubted_credits=self._dearest_credits,
        )
        self._charges_shown.note_run(persona.user)
        self._require_kept()

    def conclude(self, *, has_just_ended: bool = False) -> ShownCharges:
        """Compare what usage shows with the limit, and return it; call it when nothing else is sent.

        ``has_just_ended`` says that other processes may have run something until now.
        """
        if has_just_ended:
            self._charges_shown.note_end()
        with self._reading:
            shown = self._read_usage(is_last=True)
        self._client.close()
        self._require_kept()
        return shown

    def _require_kept(self) -> None:
        if self.budget.overcharge is not None:
            raise GuardStop(self.budget.overcharge)

    def _read_usage(self, *, is_last: bool = False) -> ShownCharges:
        """Count what usage shows; a worker knows only its own runs, so it compares all with the limit."""
        shown = self._charges_shown.read(is_last=is_last)
        if shown.credits is None and is_last:
            return shown
        counted, most_credits = shown.credits, self._target.limits.credits
        if self._lease is not None and counted is not None:
            if counted > most_credits:
                self.budget.stop(f"usage shows {counted:g} credits, and {most_credits:g} are allowed")
            counted = 0.0
        rows = shown.settled_rows if is_last and self._lease is None else None
        self.budget.note_usage(counted, unread=shown.unread, settled_rows=rows)
        return shown

    def _send(self, request: Request) -> Exchange:
        self._pacer.wait()
        return self._client.send(request)


def _described(head: bytes) -> str:
    method, target, *_ = head.decode("latin-1").split(" ", 2)
    return f"{method} {target.partition('?')[0]}"
