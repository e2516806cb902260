"""Executions of keys with a webhook, and their deliveries at the receiver."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.webhooks import Delivery, Receiver, Signature
from knouds_harness.suite.concurrent_tests import SharedValues, shared_once
from knouds_harness.suite.recorder import Received
from knouds_harness.suite.support.execution_traces import SAMPLES, Executions, ExecutionTrace, Shared
from knouds_harness.suite.support.workflow_authoring import text_fields
from knouds_harness.suite.tester import Tester
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.address import host_of, is_loopback
from knouds_harness.targets.needs import MAY_CANCEL, KeyAndResource, Receiving, webhooks
from knouds_harness.targets.needs.runs import once
from knouds_harness.targets.needs.webhooks import mints_webhooks
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Persona, Webhook, Workflow
from knouds_harness.targets.secrets import Secret

_RUN: Final = frozenset({"model:run", "workflow:run"})
_RECEIVE: Final = "webhook:receive"
_MINTED_DEADLINE_S: Final = 15.0
_PAUSE_S: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class WebhookKey:
    """A key with a webhook, and its deliveries.

    Attributes:
        path: The path where only its deliveries arrive; None if keys share an address.
        own: What it runs, and a key of its account that polls the executions.
    """

    path: str | None
    webhook: Webhook
    persona: Persona
    own: KeyAndResource[Workflow | Model]
    execution_ids: set[str] = field(default_factory=set)

    def holds(self, delivery: Delivery) -> bool:
        """Return whether a delivery belongs to this mailbox.

        A shared address also gets what is not ours: there, a delivery has to name an execution of this
        mailbox, or to name none and be correctly signed.
        """
        if self.path is not None:
            return delivery.path == self.path
        if delivery.execution_id is None:
            return self.persona.holds(_RECEIVE) and self.has_signed(delivery)
        return delivery.execution_id in self.execution_ids

    def has_signed(self, delivery: Delivery) -> bool:
        signature = Signature.read(delivery.signature)
        return signature is not None and signature.covers(delivery.body, secret=self.webhook.secret.reveal())


@dataclass(frozen=True, kw_only=True)
class EndedExecutions:
    """Ended executions; of each kind there may be none.

    Attributes:
        received: Of the key that may receive: completed, failed, cancelled.
        refused: The one whose first delivery is refused.
        not_receiving: Of the key that may not receive.
        bystanders: Of keys without a webhook, of the same account and of another one.
        polls: The poll that was sent as soon as the delivery had arrived, by execution id.
    """

    received: list[ExecutionTrace]
    refused: list[ExecutionTrace]
    not_receiving: list[ExecutionTrace]
    bystanders: list[ExecutionTrace]
    polls: Mapping[str, Exchange]


def _may_cancel(target: Target) -> bool:
    found = webhooks.RECEIVING.find(target)
    return found is not None and MAY_CANCEL.missing(target) is None and found.reader.holds("execution:cancel")


def _before_last(target: Target) -> list[Workflow | Model]:
    """Return what the key that may receive runs besides the last one: to complete, and to fail."""
    own, found = once(webhooks.RECEIVING)(target), webhooks.RECEIVING.find(target)
    if not own or found is None:
        return []
    key = replace(found.key, capabilities=_RUN | {_RECEIVE}) if mints_webhooks(target) else found.key
    failing = webhooks.failing_async_run_of(target, key)
    completed = own if _may_cancel(target) else []
    return completed if failing is None else [*completed, failing]


def more_submits(target: Target) -> list[Workflow | Model]:
    """Return what the key that may receive runs until it has as many answers as are timed."""
    return once(webhooks.RECEIVING)(target) * (SAMPLES - 1 - len(_before_last(target)))


def _refusing(target: Target) -> Receiving | None:
    """Return the key whose first delivery is refused, by preference one with another secret."""
    return next(iter(webhooks.keys_with_another_secret(target)), webhooks.RECEIVING.find(target))


def _refused(target: Target) -> list[Workflow | Model]:
    found = _refusing(target) if once(webhooks.RECEIVING)(target) else None
    return [found.resource] if found else []


def _bystanders(target: Target) -> list[Workflow | Model]:
    found = webhooks.RECEIVING.find(target)
    own = KeyAndResource(found.reader, found.resource) if found else None
    return [each.resource for each in webhooks.runs_without_webhook(target, own)] if own else []


SHARED_DELIVERIES: Final[Mapping[str, Shared]] = {
    "last_delivered": once(webhooks.RECEIVING),
    "more_delivered": _before_last,
    "refused": _refused,
    "not_receiving": once(webhooks.NOT_RECEIVING),
    "bystanders": _bystanders,
}
"""What is run for the deliveries that tests share, in parts that are paid for apart."""


class DeliveredExecutions:
    """Executions with each final status, made on first use, and their deliveries."""

    def __init__(self, tester: Tester, executions: Executions, receiver: Receiver) -> None:
        self.tester = tester
        self.executions = executions
        self.receiver = receiver
        self.made = SharedValues(tester.idle)
        self._received: dict[int, Received] = {}

    @shared_once
    def open_box(self) -> WebhookKey:
        """The mailbox of a key that may receive; every delivery is accepted."""
        return self._mailbox("/open", self.tester.need(webhooks.RECEIVING))

    @shared_once
    def refusing_box(self) -> WebhookKey:
        """The mailbox of a key that may receive; the first delivery of each execution is refused."""
        found = self.tester.need(webhooks.RECEIVING)
        box = self._mailbox("/refusing", _refusing(self.tester.target) or found)
        self.receiver.refuse_first(
            lambda delivery: (
                delivery.path == box.path
                if box.path
                else delivery.execution_id is not None
                and not any(delivery.execution_id in each.execution_ids for each in self._taking_boxes)
            )
        )
        return box

    @shared_once
    def closed_box(self) -> WebhookKey:
        """The mailbox of a key that has a webhook but may not receive."""
        return self._mailbox("/closed", self.tester.need(webhooks.NOT_RECEIVING))

    @property
    def _taking_boxes(self) -> list[WebhookKey]:
        has_closed_box = webhooks.NOT_RECEIVING.missing(self.tester.target) is None
        return [self.open_box, self.closed_box] if has_closed_box else [self.open_box]

    @shared_once
    def ended(self) -> EndedExecutions:
        """All executions, in flight at the same time except one.

        That one is submitted after those that must not be delivered have ended. So once its delivery has
        arrived, any wrong delivery of theirs has arrived too. Of the others, some may not be paid for.
        """
        target, box, refusing = self.tester.target, self.open_box, self.refusing_box
        self.executions.test_data.require_paid("last_delivered")
        is_paid, to_end = self.executions.test_data.is_paid, self.executions.to_end
        closed = self._taking_boxes[1:] if is_paid("not_receiving") else ()
        not_receiving = [self._submit(each) for each in closed]
        others = webhooks.runs_without_webhook(target, box.own) if is_paid("bystanders") else ()
        bystanders = [self.executions.submit(each) for each in others]
        before_last = _before_last(target) if is_paid("more_delivered") else ()
        received = [self._submit(box, each) for each in before_last]
        refused = [self._submit(refusing)] if is_paid("refused") else []
        polls = self._polls_at_delivery(received)
        not_receiving, bystanders = [*map(to_end, not_receiving)], [*map(to_end, bystanders)]
        last = self._submit(box)
        received.append(self.executions.cancelled(last) if _may_cancel(target) else last)
        polls |= self._polls_at_delivery(received[-1:])
        return EndedExecutions(
            received=[*map(to_end, received)],
            refused=[*map(to_end, refused)],
            not_receiving=not_receiving,
            bystanders=bystanders,
            polls=polls,
        )

    def _polls_at_delivery(self, traces: Sequence[ExecutionTrace]) -> dict[str, Exchange]:
        """Poll each execution as soon as its delivery has arrived; return the polls by execution id."""
        trace_by_id = {each.execution_id: each for each in traces}
        polls: dict[str, Exchange] = {}
        deadline_s = time.monotonic() + self.open_box.webhook.deadline_s
        while trace_by_id.keys() > polls.keys() and time.monotonic() < deadline_s:
            with self.tester.idle():
                self.receiver.wait_until(
                    lambda came: any(each.execution_id in trace_by_id.keys() - polls for each in came),
                    timeout_s=_PAUSE_S,
                )
            came = {each.execution_id for each in self.receiver.deliveries}
            for execution_id in trace_by_id.keys() - polls.keys() & came:
                polls[execution_id] = self.executions.polled(trace_by_id[execution_id]).last
        return polls

    @property
    def all_delivered(self) -> bool:
        """Whether all deliveries have arrived: one per execution, and a second attempt for the refused one.

        Waits for them until a deadline, when those of earlier executions have arrived too. If none arrived,
        and only the profile says that the URL leads here, the profile is probably wrong, so the test is
        untested.
        """
        is_enough = self._have_come
        box = self.open_box
        if self.receiver.dropped:
            raise Untested(
                f"a receiver that gets only the target's deliveries: so many other requests came to "
                f"{self.receiver.url('/')} that {self.receiver.dropped} could not be kept"
            )
        boxes = (box, self.refusing_box)
        is_reached = any(each.holds(came) for came in self.receiver.deliveries for each in boxes)
        is_here = box.webhook.is_direct and is_loopback(host_of(self.tester.target.base_url))
        if not (is_reached or is_here):
            raise Untested(
                f"a way from {box.webhook.url} to {self.receiver.url('/')}: nothing came within "
                f"{box.webhook.deadline_s:g} s (is this URL set in the dashboard, and does it lead there?)"
            )
        return is_enough

    @shared_once
    def _have_come(self) -> bool:
        ended = self.ended
        wanted = {trace.execution_id for trace in ended.received}

        def is_enough(came: Sequence[Delivery]) -> bool:
            named = {each.execution_id for each in came if self.open_box.holds(each)}
            attempts = [each for each in came if self.refusing_box.holds(each)]
            is_retried = len(attempts) > 1 and attempts[-1].is_taken
            return wanted <= named and (is_retried or not ended.refused)

        deadline_s = self.open_box.webhook.deadline_s
        waited_s = 0.0 if len(ended.polls) == len(ended.received) else deadline_s  # polls waited that long
        while not (has_come := is_enough(self.receiver.deliveries)) and waited_s < deadline_s:
            self.tester.wait(_PAUSE_S)
            waited_s += _PAUSE_S
        self.receiver.take_all()
        return has_come

    def to(self, mailbox: WebhookKey) -> list[Received]:
        """Return the deliveries to a mailbox, and keep them as evidence."""
        _ = self.all_delivered
        return [self._keep(each, mailbox) for each in self.receiver.deliveries if mailbox.holds(each)]

    def signed(self) -> list[Received]:
        """Return the correctly signed deliveries of any execution; test deliveries are of none."""
        _ = self.all_delivered
        boxes = (self.open_box, self.refusing_box)
        came = [each for each in self.receiver.deliveries if each.execution_id and not each.is_test]
        signed_by = [
            (each, [box for box in boxes if box.path in (None, each.path) and box.has_signed(each)])
            for each in came
        ]
        return [self._keep(each, of[0]) for each, of in signed_by if of]

    def naming(self, trace: ExecutionTrace) -> list[Delivery]:
        return [each for each in self.receiver.deliveries if each.execution_id == trace.execution_id]

    def of(self, trace: ExecutionTrace, mailbox: WebhookKey) -> list[Received]:
        return [each for each in self.to(mailbox) if each.execution_id == trace.execution_id]

    def of_text(self, workflow: Workflow, text: str) -> tuple[ExecutionTrace, list[Received]]:
        """Run a workflow on a text with the key that may receive; return the execution and its deliveries."""
        box, _ = self.open_box, self.all_delivered
        inputs = dict.fromkeys(text_fields(self.tester, box.own.key, workflow), text)
        trace = self._submit(box, replace(workflow, inputs={**workflow.inputs, **inputs}))
        trace = self.executions.to_end(trace)
        with self.tester.idle():
            self.receiver.wait_until(
                lambda came: any(each.execution_id == trace.execution_id and each.is_taken for each in came),
                timeout_s=box.webhook.deadline_s,
            )
        return trace, self.of(trace, box)

    @shared_once
    def submits(self) -> list[Exchange]:
        """Submits of the key that may receive, as many as its answers are timed by."""
        submitted = [trace.submitted for trace in self.ended.received]
        while len(submitted) < SAMPLES:
            submitted.append(self._submit(self.open_box).submitted)
        return submitted

    def _submit(self, mailbox: WebhookKey, resource: Workflow | Model | None = None) -> ExecutionTrace:
        own = KeyAndResource(mailbox.own.key, resource or mailbox.own.resource)
        trace = self.executions.submit(own, submitter=mailbox.persona)
        mailbox.execution_ids.add(trace.execution_id)
        return trace

    def _mailbox(self, path: str, found: Receiving) -> WebhookKey:
        key, resource, reader = found
        own = KeyAndResource(reader, resource)
        if not mints_webhooks(self.tester.target):
            of_profile = self.tester.target.webhook_of(key)
            assert of_profile is not None  # noqa: S101 - for the type checker: the needs ask for it
            return WebhookKey(path=None, webhook=of_profile, persona=key, own=own)
        webhook = Webhook(
            url=self.receiver.url(path),
            secret=Secret(f"whsec_{secrets.token_urlsafe(24)}", f"webhook{path.replace('/', '-')}"),
            deadline_s=_MINTED_DEADLINE_S,
        )
        held = _RUN if path == "/closed" else _RUN | {_RECEIVE}
        persona = self.tester.minted(held, account=reader.user, webhook=webhook)
        return WebhookKey(path=path, webhook=webhook, persona=persona, own=own)

    def _keep(self, delivery: Delivery, mailbox: WebhookKey) -> Received:
        if delivery.number not in self._received:
            exchange = delivery.as_exchange(mailbox.webhook.url, self.tester.client.redactor)
            self.tester.recorder.writer.add_exchange(exchange)
            self.tester.recorder.gatherer.add_delivery(exchange)
            self._received[delivery.number] = Received(
                raw=delivery.body,
                secret=mailbox.webhook.secret.reveal(),
                exchange=exchange,
                execution_id=delivery.execution_id,
                is_taken=delivery.is_taken,
            )
        return self._received[delivery.number]
