"""Ends of asynchronous runs as webhooks tell them: who is to get deliveries, and waiting for one."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import gevent
from gevent.event import AsyncResult

from knouds_harness.conformance.receiver import HOST, payload_of
from knouds_harness.contract.capabilities import meets
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.minting import KeyMint
from knouds_harness.exchange.signature import SignatureRefused, verify
from knouds_harness.load.deliveries import DeliveryServer, Post
from knouds_harness.target.address import host_of, is_loopback
from knouds_harness.target.guards import Guard
from knouds_harness.target.personas import Persona, Secret
from knouds_harness.target.profile import Target
from knouds_harness.target.resources import Webhook

_RECEIVE: Final = "webhook:receive"
_MOST_UNCLAIMED: Final = 10_000
_DEADLINE_S: Final = 10.0
"""For deliveries of a sandbox on this machine, which come within milliseconds where it is not busy."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A delivery that may be believed.

    Attributes:
        status: The final status that it names.
        at_unix_s: When it came.
    """

    status: str
    at_unix_s: float


class Mailbox:
    """Takes deliveries, and gives each to the user who waits for it.

    Attributes:
        persona_by_user: The keys whose executions are delivered here, by account.
        webhook: What those keys have.
        server: Where it leads to.
        refused: Deliveries whose signature does not hold.
        unconfigured: Submits whose answer says that nothing is going to be delivered.
        is_over: Nobody is to wait any more.
    """

    def __init__(
        self, webhook: Webhook, persona_by_user: Mapping[str, Persona], *, server: DeliveryServer
    ) -> None:
        """Take what comes from now on.

        Args:
            webhook: Whose secret signs deliveries.
            persona_by_user: The keys whose executions are delivered here, by account.
            server: Where the webhook leads to.
        """
        self.persona_by_user = persona_by_user
        self.webhook = webhook
        self.server = server
        self.refused = self.unconfigured = 0
        self.is_over = False
        self._awaited: dict[str, AsyncResult[Arrival | None]] = {}
        self._unclaimed: OrderedDict[str, Arrival] = OrderedDict()
        server.on_post = self.take

    def take(self, post: Post) -> None:
        """A delivery came."""
        try:
            secret = self.webhook.secret.reveal()
            verify(post.body, post.signature, secret=secret, now_unix_s=post.at_unix_s)
        except SignatureRefused:
            self.refused += 1
            return
        payload = payload_of(post.body)
        execution_id = payload.get("executionId") if isinstance(payload, dict) else None
        if not isinstance(execution_id, str):
            return
        arrival = Arrival(status=str(payload.get("status")), at_unix_s=post.at_unix_s)
        if waiter := self._awaited.get(execution_id):
            waiter.set(arrival)
            return
        self._unclaimed[execution_id] = arrival  # came before the answer to its submit, or once more
        while len(self._unclaimed) > _MOST_UNCLAIMED:
            self._unclaimed.popitem(last=False)

    def notes(self) -> Iterator[str]:
        """What readers of the figures have to know."""
        if self.unconfigured:
            yield (
                f"{self.unconfigured} submits were answered with webhookDelivery.configured not true, "
                "and polled for instead."
            )
        if self.refused:
            yield f"{self.refused} deliveries had a signature that does not hold, and were not believed."

    def await_arrival(self, execution_id: str, *, timeout_s: float) -> Arrival | None:
        """Wait for the delivery of an execution; None where it did not come in time, or waiting is over."""
        early = self._unclaimed.pop(execution_id, None)
        if early or self.is_over:
            return early
        waiter = self._awaited[execution_id] = AsyncResult()
        try:
            return waiter.get(timeout=max(0.0, timeout_s))
        except gevent.Timeout:
            return None
        finally:
            del self._awaited[execution_id]

    def end_waits(self) -> None:
        """Have nobody wait any more, so that there is time to ask how executions ended."""
        self.is_over = True
        for waiter in list(self._awaited.values()):
            waiter.set(None)


def open_mailbox(
    target: Target,
    personas: Iterable[Persona],
    needs: Collection[str],
    *,
    server: DeliveryServer | None,
    yes_production: bool,
) -> tuple[Mailbox | None, str]:
    """Have executions delivered here, where that is possible.

    Args:
        target: Whose executions.
        personas: The keys that load is sent with, one of each account.
        needs: What a key has to hold besides.
        server: One that listens at the profile's ``webhook.listen`` already.
        yes_production: Whether the command line says so.

    Returns:
        The mailbox, or None and why there can be none.

    Raises:
        HarnessError: The port cannot be bound, or the control plane refuses.
    """
    if target.control and is_loopback(host_of(target.base_url)):
        return _minted(target, personas, yes_production=yes_production), ""
    webhook = target.webhook
    if webhook is None or webhook.listen is None:
        return None, f"{target.source} has no [webhook] that leads to this machine"
    receiving = {
        persona.user: persona
        for persona in target.personas.values()
        if persona.webhook and all(meets(persona.capabilities, need) for need in {*needs, _RECEIVE})
    }
    if not receiving:
        return None, f"no key with webhook = true in {target.source} holds {', '.join([*needs, _RECEIVE])}"
    return Mailbox(webhook, receiving, server=server or DeliveryServer(webhook.listen)), ""


def _minted(target: Target, personas: Iterable[Persona], *, yes_production: bool) -> Mailbox:
    server = DeliveryServer((HOST, 0))
    webhook = Webhook(
        url=f"http://{HOST}:{server.port}/",
        secret=Secret(f"whsec_{secrets.token_urlsafe(24)}", "webhook-secret"),
        listen=(HOST, server.port),
        deadline_s=_DEADLINE_S,
    )
    with Client(target=target, guard=Guard(target, yes_production=yes_production)) as client:
        mint = KeyMint(client)
        minted = {
            each.user: replace(
                mint.mint({*each.capabilities, _RECEIVE}, account=each.user, webhook=webhook), webhook=True
            )
            for each in personas
        }
    return Mailbox(webhook, minted, server=server)
