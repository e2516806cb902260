"""Verifies the contract under load: each process observes, and the leading one judges all together."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import gevent

from knouds_harness.contract.capabilities import LIMIT_BY_TIER
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import RUN_OPERATIONS
from knouds_harness.errors import UsageError
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.exchange.webhook_receiver import Delivery, Receiver
from knouds_harness.load.client.response import Response
from knouds_harness.load.invariants.aggregation import Aggregation
from knouds_harness.load.invariants.answer_checks import Verifier
from knouds_harness.load.invariants.audit import Audit
from knouds_harness.load.invariants.invariants import OF_HISTORIES, ObservationBatch
from knouds_harness.load.invariants.observations import SHOWING_STATUS, Observations, hash_of
from knouds_harness.load.invariants.workflow_histories import WorkflowHistories, WorkflowRequest
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.workload.accounts import AccountKeys
from knouds_harness.load.workload.workload import HasTasks
from knouds_harness.runs.load_results import Invariant, LimitWindow
from knouds_harness.targets.address import host_of, is_loopback
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Webhook

_LOOK_EVERY_S: Final = 0.2
_SAMPLED_SHARE: Final = 0.01
"""Share of the responses that is judged if no share is asked for."""
_LIMITED: Final = {*RUN_OPERATIONS, *(f"{each} async" for each in RUN_OPERATIONS)}
_OBSERVED: Final = {*SHOWING_STATUS, *_LIMITED}


class LoadVerification:
    """Verifies responses; what workers saw reaches the leading process with their reports.

    Every success is looked at, and a share of the responses is judged by all checks. If a share is asked for,
    all runs, executions and rate limits are observed, as a part of them would prove nothing; otherwise only
    the windows of rate limits.

    Attributes:
        share: The share that is asked for; 0 if none is.
    """

    def __init__(
        self,
        options: LoadOptions,
        target: Target,
        *,
        share: float,
        process: int,
        is_alone: bool,
        audit: Audit | None = None,
    ) -> None:
        """Prepare; the leading process passes an ``audit``, and takes deliveries from now on."""
        self.share = share
        self._kept = _OBSERVED if share else _LIMITED
        self._verifier = Verifier(
            shipped_document(),
            waivers=target.waivers,
            redactor=Redactor.for_target(target),
            share=share or _SAMPLED_SHARE,
            draw=random.Random(f"{options.seed} verify {process}").random,
        )
        self._observations = Observations(chance=random.Random(f"{options.seed} history {process}"))
        self._histories = WorkflowHistories() if share else None
        self._aggregation = Aggregation(
            chance=random.Random(f"{options.seed} ledger"), most_in_flight=options.users, is_alone=is_alone
        )
        self._audit = audit
        self._target = target
        self.receiver: Receiver | None = None
        if audit and target.webhook and target.webhook.receiver:
            self.count_deliveries(Receiver(*target.webhook.receiver), target.webhook)

    def count_deliveries(self, receiver: Receiver, webhook: Webhook) -> None:
        """In the leading process: from now on, compare executions that end with deliveries here."""
        self.receiver, self._webhook = receiver, webhook
        receiver.hand_on(self._count_delivery)

    def _count_delivery(self, delivery: Delivery) -> None:
        if delivery.execution_id is not None:
            self._aggregation.deliveries.take(hash_of(delivery.execution_id))

    def begin_request(self, operation: str, path: str, sent: object) -> WorkflowRequest | None:
        return self._histories.begin(operation, path, sent) if self._histories else None

    def end_request(self, request: WorkflowRequest, response: Response, *, created: str | None) -> None:
        if self._histories:
            self._histories.end(request, response.status_code, parsed(response), created=created)

    def look(self, name: str, response: Response, sender: Persona | None, body: object) -> None:
        """Verify a response in its ``catch_response`` block; if it breaks the contract, it is a failure."""
        if sender is not None and (self.share or sender.tier in LIMIT_BY_TIER) and name in self._kept:
            body = parsed(response) if body is None else body
            self._observations.observe(name, response, sender, body)
        broken = self._verifier.judge(name, response, body)
        if broken is not None:
            response.failure(broken)

    def look_at_create(self, slug: str, *, is_own: bool) -> None:
        self._observations.observe_create(slug, is_own=is_own)

    def take(self) -> ObservationBatch:
        batch = self._observations.take()
        batch.tallies.add(self._verifier.take())
        if self._histories:
            batch.undecided = self._histories.judge(batch.tallies)
        return batch

    def receive(self, message: Mapping[str, Any]) -> None:
        self._aggregation.add(ObservationBatch.unpacked(message))

    def conclude(self, *, at_once: bool) -> Iterator[str]:
        """Check the accounts once load is over; ``at_once`` leaves out what takes time. Call it once.

        Yields:
            A sentence for each part that could not be checked.
        """
        self._aggregation.add(self.take())
        if undecided := self._aggregation.undecided:
            yield f"Reads of {undecided} workflows were not compared with what was written: it took too long."
        if self._audit is None:
            return
        if at_once:
            yield "The run was cut short: usage, deliveries and ended executions were not checked."
            return
        yield from self._audit.after(self._aggregation)
        if self.receiver is not None:
            with self.receiver:
                yield from self._await_deliveries()

    def _await_deliveries(self) -> Iterator[str]:
        webhook, deliveries = self._webhook, self._aggregation.deliveries
        deadline_s = time.monotonic() + webhook.deadline_s
        while not deliveries.are_all_here and time.monotonic() < deadline_s:
            gevent.sleep(_LOOK_EVERY_S)
        if webhook.is_direct and is_loopback(host_of(self._target.base_url)):
            deliveries.is_reached = True  # nothing is in between
        if deliveries.is_reached:
            gevent.sleep(_LOOK_EVERY_S)  # a second delivery may follow the first
            deliveries.judge(self._aggregation.tallies)
        elif not deliveries.are_all_here:
            yield (
                f"No delivery came: whether {webhook.url} is set for the keys and leads to this machine "
                "cannot be told from here."
            )

    def invariants(self) -> tuple[Invariant, ...]:
        """Return the counts of each invariant so far, in all processes that reported."""
        self._aggregation.add(self.take())
        found = self._aggregation.invariants()
        if self.share:
            return found
        return tuple(each for each in found if (each.fact, each.says) not in OF_HISTORIES)

    def verified_answers(self) -> tuple[int, int]:
        """Return how many responses were verified, of how many, as of the last call of ``invariants``."""
        return self._aggregation.tallies.verified, self._aggregation.tallies.answers

    def windows(self) -> tuple[LimitWindow, ...]:
        """Return the windows of rate limits that responses showed, as of the last call of ``invariants``."""
        return self._aggregation.windows()


def open_verification(
    options: LoadOptions,
    target: Target | None,
    scenarios: Sequence[type[HasTasks]],
    *,
    process: int,
    accounts: Sequence[AccountKeys] | None = None,
) -> LoadVerification | None:
    """Set up verification for scenarios, or if a share is asked for; a worker passes no ``accounts``."""
    is_alone = any(each.crosses_limit for each in scenarios)
    share = 1.0 if is_alone else options.verified_share
    if target is None:
        if share:
            raise UsageError("--verify needs a target: --target sandbox, or another profile in targets/")
        return None
    if not (share or scenarios):
        return None
    audit = None
    if share and accounts is not None:
        readers = [each.key_for("getExecution") or each.keys[0] for each in accounts]
        audit = Audit(target, readers, yes_production=options.yes_production)
        audit.before()
    return LoadVerification(options, target, share=share, is_alone=is_alone, process=process, audit=audit)


def parsed(response: Response) -> Any:  # noqa: ANN401 - JSON
    """Return the body; None if there is none, or if it is not JSON."""
    try:
        return response.json() if response.status_code else None
    except ValueError:
        return None
