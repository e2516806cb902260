"""Executions of keys with a webhook, and what came of them at the receiver."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import pytest

from knouds_harness.conformance.needs import (
    FAILING_POLLED_MODEL,
    FULL_KEY,
    MAY_CANCEL,
    POLLED_MODEL,
    REACHABLE_RECEIVER,
)
from knouds_harness.conformance.probe import UNTESTED, Probe
from knouds_harness.conformance.receiver import Delivery, Receiver, payload_of
from knouds_harness.conformance.statuses import body_of
from knouds_harness.conformance.trails import Executions, Trail
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.target.personas import Persona, Secret
from knouds_harness.target.resources import Webhook

RUN: Final = frozenset({"model:run", "workflow:run"})
RECEIVE: Final = "webhook:receive"
_DEADLINE_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Mailbox:
    """A key with a webhook, and where its deliveries arrive.

    Attributes:
        path: At the receiver.
        webhook: Address and signing secret, as the key was minted with.
        persona: The key.
    """

    path: str
    webhook: Webhook
    persona: Persona


@dataclass(frozen=True, kw_only=True)
class Received:
    """A delivery with what is needed to judge it.

    Attributes:
        raw: Its bytes as they came.
        secret: What signs deliveries to this mailbox.
        exchange: The same as evidence, redacted.
        is_taken: Whether the receiver took it.
    """

    raw: bytes
    secret: str
    exchange: Exchange
    is_taken: bool

    @property
    def execution_id(self) -> object:
        """The execution that it names."""
        return execution_named(self.raw)


def execution_named(body: bytes) -> object:
    """The ``executionId`` in a delivery's body."""
    payload = payload_of(body)
    return payload.get("executionId") if isinstance(payload, dict) else None


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
        return self._mailbox("/open", RUN | {RECEIVE})

    @cached_property
    def refusing_box(self) -> Mailbox:
        """Of a key that may receive; the first delivery is refused."""
        self.receiver.refuse("/refusing", times=1)
        return self._mailbox("/refusing", RUN | {RECEIVE})

    @cached_property
    def closed_box(self) -> Mailbox:
        """Of a key that has a webhook, and may not receive."""
        return self._mailbox("/closed", RUN)

    @cached_property
    def unentitled(self) -> Trail:
        """An ended execution of the key that may not receive, ended before those of ``ended`` began."""
        return self._run_to_end(self.closed_box)

    @cached_property
    def ended(self) -> list[Trail]:
        """Ended executions of the key that may receive: completed, failed, cancelled, of what there is.

        All are on their way before the first is waited for.
        """
        trails = [self._submit(self.open_box)]
        if FAILING_POLLED_MODEL.find(self.probe.target):
            failing = self.probe.need(FAILING_POLLED_MODEL)
            trails.append(self.executions.submit(failing, self.open_box.persona))
        if MAY_CANCEL.find(self.probe.target):
            trails.append(self.executions.cancelled(self._submit(self.open_box)))
        return [self.executions.to_end(trail) for trail in trails]

    @cached_property
    def refused(self) -> Trail:
        """An ended execution whose first delivery is refused."""
        return self._run_to_end(self.refusing_box)

    @cached_property
    def have_come(self) -> bool:
        """Whether all has come that has to: one for each execution, and another attempt for the refused one.

        Waits for it, until a deadline. By then whatever came of an earlier execution is here as well.
        """
        _ = self.refused  # first: while the target waits before it tries again, the others run
        _ = self.unentitled
        wanted = {_execution_id(trail) for trail in self.ended}

        def is_enough(came: Sequence[Delivery]) -> bool:
            opened = [each for each in came if each.path == self.open_box.path]
            attempts = [each for each in came if each.path == self.refusing_box.path]
            named = {execution_named(each.body) for each in opened}
            return wanted <= named and len(attempts) > 1 and attempts[-1].is_taken

        return self.receiver.wait_until(is_enough, timeout_s=_DEADLINE_S)

    def to(self, mailbox: Mailbox) -> list[Received]:
        """What has come to a mailbox, kept as evidence."""
        _ = self.have_come
        return [self._keep(each, mailbox) for each in self.receiver.deliveries(mailbox.path)]

    def of(self, trail: Trail, mailbox: Mailbox) -> list[Received]:
        """What has come to a mailbox and names an execution."""
        return [each for each in self.to(mailbox) if each.execution_id == _execution_id(trail)]

    def _run_to_end(self, mailbox: Mailbox) -> Trail:
        return self.executions.to_end(self._submit(mailbox))

    def _submit(self, mailbox: Mailbox) -> Trail:
        return self.executions.submit(self.probe.need(POLLED_MODEL), mailbox.persona)

    def _mailbox(self, path: str, capabilities: frozenset[str]) -> Mailbox:
        self.probe.need(REACHABLE_RECEIVER)
        if self.probe.mint is None:
            pytest.skip(f"{UNTESTED}{REACHABLE_RECEIVER.says}")
        secret = Secret(f"whsec_{secrets.token_urlsafe(24)}", f"webhook{path.replace('/', '-')}")
        webhook = Webhook(url=self.receiver.url(path), secret=secret)
        owner = self.probe.need(FULL_KEY)
        persona = self.probe.mint.mint(capabilities, account=owner.user, webhook=webhook)
        return Mailbox(path=path, webhook=webhook, persona=persona)

    def _keep(self, delivery: Delivery, mailbox: Mailbox) -> Received:
        if delivery.number not in self._received:
            exchange = delivery.as_exchange(mailbox.webhook.url, self.probe.client.redactor)
            self.probe.recorder.writer.add_exchange(exchange)
            self._received[delivery.number] = Received(
                raw=delivery.body,
                secret=mailbox.webhook.secret.reveal(),
                exchange=exchange,
                is_taken=delivery.is_taken,
            )
        return self._received[delivery.number]


def _execution_id(trail: Trail) -> object:
    return body_of(trail.submitted).get("executionId")
