"""Completion of asynchronous runs by webhook: which keys get deliveries, and waiting for one."""

import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

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

_RECEIVE: Final = "webhook:receive"
_MOST_UNCLAIMED: Final = 10_000
_LONGEST_ID: Final = 1_000
_DEADLINE_S: Final = 10.0
"""For deliveries of a sandbox on this machine, which take milliseconds unless the machine is busy."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A delivery with a valid signature.

    Attributes:
        status: The final status that it names, or empty.
        signed_with: Those of the known secrets with which its signature holds.
    """

    status: str
    at_unix_s: float
    signed_with: frozenset[Secret] = frozenset()


class WebhookWaiter:
    """Takes deliveries, and passes each to the user who waits for it."""

    def __init__(self, webhook: Webhook, receivers: Sequence[Persona], *, receiver: Receiver) -> None:
        self.receivers = receivers
        self.webhook = webhook
        self.receiver = receiver
        own = {each.webhook_secret for each in receivers}
        self._secrets = {webhook.secret, *own} - {NO_SECRET}
        self._refused = self._unconfigured = 0
        self.is_over = False
        self._awaited: dict[str, tuple[AsyncResult[Arrival | None], Secret]] = {}
        self._unclaimed: OrderedDict[str, Arrival] = OrderedDict()
        receiver.hand_on(self.take)

    def take(self, delivery: Delivery) -> None:
        """Pass a delivery to the user who waits for it; ignore one with an invalid signature."""
        at_unix_s = delivery.received_at.timestamp()
        signed_with = frozenset(each for each in self._secrets if _is_signed(delivery, each))
        if not signed_with:
            self._refused += 1
            return
        execution_id = delivery.execution_id
        if execution_id is None or len(execution_id) > _LONGEST_ID:
            return
        status = payload_of(delivery.body).get("status")
        arrival = Arrival(
            status=status if is_final(status) else "", at_unix_s=at_unix_s, signed_with=signed_with
        )
        if execution_id in self._awaited:
            waiter, secret = self._awaited[execution_id]
            if secret in signed_with:
                waiter.set(arrival)
            else:
                self._refused += 1
            return
        self._unclaimed[execution_id] = arrival  # before the response to its submit, or a repeated one
        while len(self._unclaimed) > _MOST_UNCLAIMED:
            self._unclaimed.popitem(last=False)

    def count_unconfigured(self) -> None:
        self._unconfigured += 1

    def notes(self) -> Iterator[str]:
        if self._unconfigured:
            yield (
                f"{self._unconfigured} submits were answered without webhookDelivery.configured = true, "
                "so the executions were polled."
            )
        if self._refused:
            yield f"{self._refused} deliveries had an invalid signature, and were ignored."

    def await_arrival(
        self, execution_id: str, *, timeout_s: float, submitter: Persona | None = None
    ) -> Arrival | None:
        """Wait for the delivery of an execution; None if it did not come in time, or waiting is over.

        Only a delivery that is signed with the secret of the key that submitted the execution counts.
        """
        own = submitter.webhook_secret if submitter else NO_SECRET
        secret = self.webhook.secret if own == NO_SECRET else own
        early = self._unclaimed.pop(execution_id, None)
        if early and secret not in early.signed_with:
            self._refused += 1
            early = None
        if early or self.is_over:
            return early
        waiter: AsyncResult[Arrival | None] = AsyncResult()
        self._awaited[execution_id] = waiter, secret
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


def _is_signed(delivery: Delivery, secret: Secret) -> bool:
    at_unix_s = delivery.received_at.timestamp()
    try:
        verify(delivery.body, delivery.signature, secret=secret.reveal(), now_unix_s=at_unix_s)
    except SignatureRefused:
        return False
    return True


def open_webhook_waiter(
    target: Target, accounts: Iterable[AccountKeys], *, receiver: Receiver | None, yes_production: bool
) -> tuple[WebhookWaiter | None, str]:
    """Have executions delivered here; return a waiter, or None and the reason why there can be none."""
    if target.control and is_loopback(host_of(target.base_url)):
        return _minted(target, accounts, yes_production=yes_production), ""
    webhook = target.webhook
    if webhook is None or webhook.receiver is None:
        return None, f"{target.source} has no [webhook] that leads to this machine"
    receivers = [
        key
        for account in accounts
        for key in account.keys
        if key.webhook and key.holds(_RECEIVE) and account.runs_with(key)
    ]
    if not receivers:
        return None, f"no key with webhook = true in {target.source} may run anything and holds {_RECEIVE}"
    return WebhookWaiter(webhook, receivers, receiver=receiver or Receiver(*webhook.receiver)), ""


def _minted(target: Target, accounts: Iterable[AccountKeys], *, yes_production: bool) -> WebhookWaiter:
    receiver = Receiver()
    webhook = Webhook(
        url=receiver.url("/"),
        secret=Secret(f"whsec_{secrets.token_urlsafe(24)}", "webhook-secret"),
        deadline_s=_DEADLINE_S,
    )
    with Client(target=target, guard=Guard(target, yes_production=yes_production)) as client:
        mint = KeyMint(client)
        minted = [
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
    return WebhookWaiter(webhook, minted, receiver=receiver)
