"""Ends of runs by webhook: the process that leads takes deliveries, users in the others wait for them."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import gevent
from gevent.event import AsyncResult

from knouds_harness.exchange.client import Client
from knouds_harness.exchange.execution_status import is_final
from knouds_harness.exchange.minting import KeyMint
from knouds_harness.exchange.signature import SignatureRefused, verify
from knouds_harness.exchange.webhook_receiver import Delivery, Receiver, payload_of
from knouds_harness.load.workload.accounts import AccountKeys
from knouds_harness.targets.address import host_of, is_loopback
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.personas import NO_SECRET, Persona, Secret
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Webhook

Forward = Callable[[str, str, float, Sequence[str]], object]
"""Takes a delivery: its execution, its status, when it came, and labels of secrets that it is signed with."""
_RECEIVE: Final = "webhook:receive"
_USUAL_LABEL: Final = "webhook-secret"
"""Label of the secret of ``[webhook]``, or of the webhook for which keys are minted."""
_MOST_UNCLAIMED: Final = 10_000
_LONGEST_ID: Final = 1_000
_DEADLINE_S: Final = 10.0
"""For deliveries of a sandbox on this machine, which take milliseconds unless the machine is busy."""


class Deliveries:
    """Passes on each delivery that is signed with a known secret; runs of ``keys`` are delivered."""

    def __init__(
        self, webhook: Webhook, keys: Sequence[Persona], *, receiver: Receiver, forward: Forward
    ) -> None:
        self.webhook, self.keys, self.receiver = webhook, keys, receiver
        self._forward = forward
        self._secrets = {webhook.secret, *(each.webhook_secret for each in keys)} - {NO_SECRET}
        self._refused = 0
        receiver.hand_on(self.take)

    def take(self, delivery: Delivery) -> None:
        signed_with = [each.label for each in self._secrets if _is_signed(delivery, each)]
        if not signed_with:
            self._refused += 1
            return
        execution_id = delivery.execution_id
        if execution_id is not None and len(execution_id) <= _LONGEST_ID:
            status = payload_of(delivery.body).get("status")
            text = status if isinstance(status, str) else ""
            self._forward(execution_id, text, delivery.received_at.timestamp(), signed_with)

    def notes(self, *, unconfigured: int, refused: int) -> Iterator[str]:
        """Yield what readers must know; ``refused`` were signed with the secret of another key."""
        if unconfigured:
            yield (
                f"{unconfigured} submits were answered without webhookDelivery.configured = true, "
                "so the executions were polled."
            )
        if refused := self._refused + refused:
            yield f"{refused} deliveries had an invalid signature, and were ignored."


def _is_signed(delivery: Delivery, secret: Secret) -> bool:
    at_unix_s = delivery.received_at.timestamp()
    try:
        verify(delivery.body, delivery.signature, secret=secret.reveal(), now_unix_s=at_unix_s)
    except SignatureRefused:
        return False
    return True


def open_deliveries(
    target: Target, accounts: Iterable[AccountKeys], *, receiver: Receiver | None, forward: Forward
) -> tuple[Deliveries | None, str]:
    """Have executions delivered here; return None and the reason if that cannot be."""
    if target.control and is_loopback(host_of(target.base_url)):
        receiver = Receiver()
        secret = Secret(f"whsec_{secrets.token_urlsafe(24)}", _USUAL_LABEL)
        own = Webhook(url=receiver.url("/"), secret=secret, deadline_s=_DEADLINE_S)
        return Deliveries(own, _minted(target, accounts, own), receiver=receiver, forward=forward), ""
    webhook = target.webhook
    if webhook is None or webhook.receiver is None:
        return None, f"{target.source} has no [webhook] that leads to this machine"
    keys = [
        key
        for account in accounts
        for key in account.keys
        if key.webhook and key.holds(_RECEIVE) and account.runs_with(key)
    ]
    if not keys:
        return None, f"no key with webhook = true in {target.source} may run anything and holds {_RECEIVE}"
    receiver = receiver or Receiver(*webhook.receiver)
    return Deliveries(webhook, keys, receiver=receiver, forward=forward), ""


def _minted(target: Target, accounts: Iterable[AccountKeys], webhook: Webhook) -> list[Persona]:
    with Client(target=target, guard=Guard(target, yes_production=True)) as client:  # checked before
        mint = KeyMint(client)
        return [
            replace(
                mint.mint(
                    {_RECEIVE}.union(*(key.capabilities for key in each.keys)),
                    account=each.user,
                    webhook=webhook,
                ),
                webhook=True,
            )
            for each in accounts
        ]


# In the processes that send


def as_told(key: Persona, target: Target) -> list[Any]:
    """Return a key whose runs are delivered as other processes are told of it: one of the profile by name."""
    if key.name in target.personas:
        return [key.name]
    capabilities = sorted(key.capabilities)
    return [key.name, key.secret.reveal(), capabilities, key.user, key.tier, key.role, key.credits]


def key_told(target: Target, name: str, *minted: Any) -> Persona:  # noqa: ANN401 - Locust's message
    if not minted:
        return target.personas[name]
    secret, capabilities, user, tier, role, has_credits = minted
    return Persona(
        name=name,
        secret=Secret(secret, f"key:{name}"),
        capabilities=frozenset(capabilities),
        user=user,
        tier=tier,
        role=role,
        credits=has_credits,
        webhook=True,
    )


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A delivery with a valid signature.

    Attributes:
        status: The final status that it names, or empty.
        signed_with: Labels of the known secrets with which its signature holds.
    """

    status: str
    at_unix_s: float
    signed_with: Sequence[str]


class DeliveryWaiter:
    """Passes each delivery to the user who waits for it.

    Attributes:
        unconfigured: Submits that were answered without ``webhookDelivery.configured = true``.
        refused: Deliveries that were signed with the secret of another key than the one that submitted.
        is_over: Waiting is over: ends of runs are found by polling.
    """

    def __init__(self) -> None:
        self.unconfigured = self.refused = 0
        self.is_over = False
        self._awaited: dict[str, tuple[AsyncResult[Arrival | None], str]] = {}
        self._unclaimed: OrderedDict[str, Arrival] = OrderedDict()

    def on_delivered(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        self.take(*msg.data)

    def take(self, execution_id: str, status: str, at_unix_s: float, signed_with: Sequence[str]) -> None:
        arrival = Arrival(
            status=status if is_final(status) else "", at_unix_s=at_unix_s, signed_with=signed_with
        )
        if execution_id in self._awaited:
            waiter, label = self._awaited[execution_id]
            if label in signed_with:
                waiter.set(arrival)
            else:
                self.refused += 1
            return
        self._unclaimed[execution_id] = arrival  # before the response to its submit, or a repeated one
        while len(self._unclaimed) > _MOST_UNCLAIMED:
            self._unclaimed.popitem(last=False)

    def await_arrival(
        self, execution_id: str, *, timeout_s: float, submitter: Persona | None = None
    ) -> Arrival | None:
        """Wait for the delivery of an execution; None if it did not come in time, or waiting is over.

        Only a delivery that is signed with the secret of the key that submitted the execution counts.
        """
        own = submitter.webhook_secret if submitter else NO_SECRET
        label = _USUAL_LABEL if own == NO_SECRET else own.label
        early = self._unclaimed.pop(execution_id, None)
        if early and label not in early.signed_with:
            self.refused += 1
            early = None
        if early or self.is_over:
            return early
        waiter: AsyncResult[Arrival | None] = AsyncResult()
        self._awaited[execution_id] = waiter, label
        try:
            return waiter.get(timeout=max(0.0, timeout_s))
        except gevent.Timeout:
            return None
        finally:
            del self._awaited[execution_id]

    def end_waits(self) -> None:
        """End all waiting, so that there is time to poll how executions ended."""
        self.is_over = True
        for waiter, _ in list(self._awaited.values()):
            waiter.set(None)
