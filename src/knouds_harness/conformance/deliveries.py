"""Executions of keys with a webhook, and what came of them at the receiver."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import pytest

from knouds_harness.conformance.needs import (
    DEAF_KEY,
    FAILING_POLLED_MODEL,
    FULL_KEY,
    MAY_CANCEL,
    POLLED_MODEL,
    REACHABLE_RECEIVER,
    RECEIVING_KEY,
    mints_webhooks,
)
from knouds_harness.conformance.probe import UNTESTED, Probe
from knouds_harness.conformance.receiver import Delivery, Receiver
from knouds_harness.conformance.trails import Executions, Trail
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.signature import HEADER, Signature
from knouds_harness.target.address import host_of, is_loopback
from knouds_harness.target.personas import Persona, Secret
from knouds_harness.target.resources import Model, Webhook

_RUN: Final = frozenset({"model:run", "workflow:run"})
_RECEIVE: Final = "webhook:receive"
_MINTED_DEADLINE_S: Final = 15.0


@dataclass(frozen=True, kw_only=True)
class Mailbox:
    """A key with a webhook, and which deliveries are of it.

    Attributes:
        path: Where its deliveries arrive, and no other key's; None where keys share an address.
        webhook: Address and signing secret, as the key has them.
        persona: The key.
        execution_ids: What was submitted with it, and is judged by what came to this mailbox.
    """

    path: str | None
    webhook: Webhook
    persona: Persona
    execution_ids: set[str] = field(default_factory=set)

    def holds(self, delivery: Delivery) -> bool:
        """Whether a delivery is of this mailbox.

        At a shared address arrives what others do with these keys, and whatever finds its way there. So only
        that counts which names an execution of this mailbox, or names none and has the right signature.
        """
        if self.path is not None:
            return delivery.path == self.path
        if delivery.execution_id is None:
            return self.persona_receives and self._has_signed(delivery)
        return delivery.execution_id in self.execution_ids

    @property
    def persona_receives(self) -> bool:
        """Whether the key may receive."""
        return _RECEIVE in self.persona.capabilities or "webhook:*" in self.persona.capabilities

    def _has_signed(self, delivery: Delivery) -> bool:
        values = [value for name, value in delivery.headers if name.lower() == HEADER.lower()]
        signature = Signature.read(", ".join(values))
        return signature is not None and signature.covers(delivery.body, secret=self.webhook.secret.reveal())


@dataclass(frozen=True, kw_only=True)
class Received:
    """A delivery with what is needed to judge it.

    Attributes:
        raw: Its bytes as they came.
        secret: What signs deliveries to this mailbox.
        exchange: The same as evidence, redacted.
        execution_id: The execution that it names.
        is_taken: Whether the receiver took it.
    """

    raw: bytes
    secret: str
    exchange: Exchange
    execution_id: str | None
    is_taken: bool


class Deliveries:
    """Executions that end in each way, made once when first asked for, and what was delivered of them."""

    def __init__(self, probe: Probe, executions: Executions, receiver: Receiver) -> None:
        """Submit nothing yet."""
        self.probe = probe
        self.executions = executions
        self.receiver = receiver
        self._received: dict[int, Received] = {}

    @cached_property
    def open_box(self) -> Mailbox:
        """Of a key that may receive; everything is taken."""
        return self._mailbox("/open", receives=True)

    @cached_property
    def refusing_box(self) -> Mailbox:
        """Of a key that may receive; the first delivery of each execution is refused."""
        box = self._mailbox("/refusing", receives=True)
        known = self.open_box.execution_ids | self._closed_ids
        self.receiver.refuse_first(
            lambda delivery: (
                delivery.path == box.path
                if box.path
                else delivery.execution_id is not None and delivery.execution_id not in known
            )
        )
        return box

    @cached_property
    def closed_box(self) -> Mailbox:
        """Of a key that has a webhook, and may not receive."""
        return self._mailbox("/closed", receives=False)

    @property
    def _closed_ids(self) -> set[str]:
        """The executions of the key that may not receive, if there is such a key."""
        return self.closed_box.execution_ids if DEAF_KEY.find(self.probe.target) else set()

    @cached_property
    def unentitled(self) -> Trail:
        """An ended execution of the key that may not receive, ended before all others."""
        return self._run_to_end(self.closed_box)

    @cached_property
    def ended(self) -> list[Trail]:
        """Ended executions of the key that may receive: completed, failed, cancelled, of what there is."""
        if DEAF_KEY.find(self.probe.target):
            _ = self.unentitled
        trails = [self._run_to_end(self.open_box)]
        if FAILING_POLLED_MODEL.find(self.probe.target):
            failing = self.probe.need(FAILING_POLLED_MODEL)
            trails.append(self.executions.to_end(self._submit(self.open_box, failing)))
        if MAY_CANCEL.find(self.probe.target):
            in_flight = self._submit(self.open_box, self.probe.need(POLLED_MODEL))
            trails.append(self.executions.to_end(self.executions.cancelled(in_flight)))
        return trails

    @cached_property
    def refused(self) -> Trail:
        """An ended execution whose first delivery is refused; the others were submitted before it."""
        _ = self.ended
        return self._run_to_end(self.refusing_box)

    @property
    def have_come(self) -> bool:
        """Whether all has come that has to: one for each execution, and another attempt for the refused one.

        Waits for it, until a deadline. By then whatever came of an earlier execution is here as well. Where
        nothing at all came, and only the profile says that the URL leads here, that is the likelier reason:
        the running test counts as untested.
        """
        is_enough = self._have_come
        box = self.open_box
        if not (self._is_reached or self._leads_here(box.webhook)):
            pytest.skip(
                f"{UNTESTED}a way from {box.webhook.url} to {self.receiver.url('/')}: nothing came within "
                f"{box.webhook.deadline_s:g} s (is it the one in the dashboard, and does it lead there?)"
            )
        return is_enough

    @cached_property
    def _have_come(self) -> bool:
        wanted = {self._execution_id(trail) for trail in self.ended}
        _ = self.refused

        def is_enough(came: Sequence[Delivery]) -> bool:
            named = {each.execution_id for each in came if self.open_box.holds(each)}
            attempts = [each for each in came if self.refusing_box.holds(each)]
            return wanted <= named and len(attempts) > 1 and attempts[-1].is_taken

        has_come = self.receiver.wait_until(is_enough, timeout_s=self.open_box.webhook.deadline_s)
        self.receiver.take_all()
        return has_come

    @property
    def _is_reached(self) -> bool:
        boxes = (self.open_box, self.refusing_box)
        return any(box.holds(each) for each in self.receiver.deliveries for box in boxes)

    def _leads_here(self, webhook: Webhook) -> bool:
        """Whether a target on this machine cannot but reach the receiver."""
        return webhook.is_direct and is_loopback(host_of(self.probe.target.base_url))

    def to(self, mailbox: Mailbox) -> list[Received]:
        """What has come to a mailbox, kept as evidence."""
        _ = self.have_come
        return [self._keep(each, mailbox) for each in self.receiver.deliveries if mailbox.holds(each)]

    def of(self, trail: Trail, mailbox: Mailbox) -> list[Received]:
        """What has come to a mailbox and names an execution."""
        return [each for each in self.to(mailbox) if each.execution_id == self._execution_id(trail)]

    def _run_to_end(self, mailbox: Mailbox) -> Trail:
        return self.executions.to_end(self._submit(mailbox, self.probe.need(POLLED_MODEL)))

    def _submit(self, mailbox: Mailbox, model: Model) -> Trail:
        trail = self.executions.submit(model, mailbox.persona)
        mailbox.execution_ids.add(self._execution_id(trail))
        return trail

    def _mailbox(self, path: str, *, receives: bool) -> Mailbox:
        self.probe.need(REACHABLE_RECEIVER)
        key = self.probe.need(RECEIVING_KEY if receives else DEAF_KEY)
        webhook = self.probe.target.webhook
        if mints_webhooks(self.probe.target):
            return self._minted_mailbox(path, _RUN | {_RECEIVE} if receives else _RUN)
        assert webhook is not None  # noqa: S101 - for the type checker: the needs ask for it
        return Mailbox(path=None, webhook=webhook, persona=key)

    def _minted_mailbox(self, path: str, capabilities: frozenset[str]) -> Mailbox:
        assert self.probe.mint is not None  # noqa: S101 - for the type checker: the target has a control plane
        webhook = Webhook(
            url=self.receiver.url(path),
            secret=Secret(f"whsec_{secrets.token_urlsafe(24)}", f"webhook{path.replace('/', '-')}"),
            listen=self.receiver.address,
            deadline_s=_MINTED_DEADLINE_S,
        )
        owner = self.probe.need(FULL_KEY)
        persona = self.probe.mint.mint(capabilities, account=owner.user, webhook=webhook)
        return Mailbox(path=path, webhook=webhook, persona=persona)

    def _keep(self, delivery: Delivery, mailbox: Mailbox) -> Received:
        if delivery.number not in self._received:
            exchange = delivery.as_exchange(mailbox.webhook.url, self.probe.client.redactor)
            self.probe.recorder.writer.add_exchange(exchange)
            self.probe.recorder.gatherer.add_delivery(exchange)
            self._received[delivery.number] = Received(
                raw=delivery.body,
                secret=mailbox.webhook.secret.reveal(),
                exchange=exchange,
                execution_id=delivery.execution_id,
                is_taken=delivery.is_taken,
            )
        return self._received[delivery.number]

    def _execution_id(self, trail: Trail) -> str:
        return self.executions.subjects.execution_id_of(trail.submitted)
