"""Ends of runs by webhook: the process that leads takes deliveries, and tells those that send."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from knouds_harness.exchange.client import Client
from knouds_harness.exchange.minting import KeyMint
from knouds_harness.exchange.signature import SignatureRefused, verify
from knouds_harness.exchange.webhook_receiver import Delivery, Receiver, payload_of
from knouds_harness.load.load_setup import LoadSetup
from knouds_harness.load.workload.accounts import AccountKeys
from knouds_harness.load.workload.workload import HasTasks
from knouds_harness.targets.address import host_of, is_loopback
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.personas import NO_SECRET, Persona, Secret
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Webhook

Forward = Callable[[str, str, float, Sequence[str]], object]
"""Takes a delivery: its execution, its status, when it came, and labels of secrets that it is signed with."""
_RECEIVE: Final = "webhook:receive"
MINTED_LABEL: Final = "webhook-secret"
_LONGEST_ID: Final = 1_000
_DEADLINE_S: Final = 10.0
"""For deliveries of a sandbox on this machine, which take milliseconds unless the machine is busy."""


class Deliveries:
    """Passes on each delivery that is signed with a known secret.

    Attributes:
        webhook: Where deliveries come, and the secret that signs them.
        minted: URL and secret of a webhook for which each process mints keys; None for keys of the profile.
    """

    def __init__(
        self,
        webhook: Webhook,
        receivers: Sequence[Persona],
        *,
        receiver: Receiver,
        forward: Forward,
        minted: tuple[str, str] | None = None,
    ) -> None:
        self.webhook, self.receiver, self.minted = webhook, receiver, minted
        self._forward = forward
        self._secrets = {webhook.secret, *(each.webhook_secret for each in receivers)} - {NO_SECRET}
        self._refused = 0
        receiver.hand_on(self.take)

    def take(self, delivery: Delivery) -> None:
        """Pass a delivery on; ignore one with an invalid signature."""
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
        """Yield what readers must know.

        Args:
            unconfigured: Submits that were answered as not configured.
            refused: Deliveries that were signed with the secret of another key than the one that submitted.
        """
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
        own = Receiver()
        minted = own.url("/"), f"whsec_{secrets.token_urlsafe(24)}"
        return Deliveries(minted_webhook(*minted), (), receiver=own, forward=forward, minted=minted), ""
    webhook = target.webhook
    if webhook is None or webhook.receiver is None:
        return None, f"{target.source} has no [webhook] that leads to this machine"
    receivers = _of_profile(accounts)
    if not receivers:
        return None, f"no key with webhook = true in {target.source} may run anything and holds {_RECEIVE}"
    receiver = receiver or Receiver(*webhook.receiver)
    return Deliveries(webhook, receivers, receiver=receiver, forward=forward), ""


def receivers_of(setup: LoadSetup, scenarios: Sequence[type[HasTasks]]) -> list[Persona]:
    """Return the keys whose runs are delivered: those of the profile, or minted ones on a sandbox."""
    target, workload, minted = setup.target, setup.workload, setup.ahead.minted_webhook
    if target is None or workload is None:
        return []
    accounts = workload.accounts_of(scenarios)
    if minted is None:
        return _of_profile(accounts)
    webhook = minted_webhook(*minted)
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


def minted_webhook(url: str, secret: str) -> Webhook:
    return Webhook(url=url, secret=Secret(secret, MINTED_LABEL), deadline_s=_DEADLINE_S)


def _of_profile(accounts: Iterable[AccountKeys]) -> list[Persona]:
    return [
        key
        for account in accounts
        for key in account.keys
        if key.webhook and key.holds(_RECEIVE) and account.runs_with(key)
    ]
