"""Users who wait for the end of a run until the process that leads says that it was delivered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import gevent
from gevent.event import AsyncResult

from knouds_harness.exchange.execution_status import is_final
from knouds_harness.load.load_setup import LoadSetup
from knouds_harness.load.workload.deliveries import MINTED_LABEL, receivers_of
from knouds_harness.load.workload.workload import HasTasks
from knouds_harness.targets.personas import NO_SECRET, Persona

_MOST_UNCLAIMED: Final = 10_000


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
        receivers: The keys whose runs are delivered.
        unconfigured: Submits that were answered without ``webhookDelivery.configured = true``.
        refused: Deliveries that were signed with the secret of another key than the one that submitted.
        is_over: Waiting is over: ends of runs are found by polling.
    """

    def __init__(self, setup: LoadSetup, scenarios: Sequence[type[HasTasks]]) -> None:
        self.receivers = receivers_of(setup, scenarios)
        self.unconfigured = self.refused = 0
        webhook = None if setup.ahead.minted_webhook else setup.target and setup.target.webhook
        self._usual = webhook.secret.label if webhook else MINTED_LABEL
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
        label = self._usual if own == NO_SECRET else own.label
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
