"""The stage on which outcomes are provoked: a target, and what was made there and is used again."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Final

import pytest

from knouds_harness.conformance.checks.rate_limits import standing_of
from knouds_harness.conformance.deliveries import Deliveries, Received
from knouds_harness.conformance.needs import (
    FAILING_POLLED_MODEL,
    FULL_KEY,
    LIMITED_KEY,
    OWN_POLLED_WORKFLOW,
    POLLED_MODEL,
    Need,
)
from knouds_harness.conformance.probe import UNTESTED, Call, Probe
from knouds_harness.conformance.session import ConformanceRun
from knouds_harness.conformance.statuses import statuses_in
from knouds_harness.conformance.subjects import Subjects
from knouds_harness.conformance.trails import Executions, Trail
from knouds_harness.conformance.windows import Window
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.target.personas import Persona

_LEAST_LIMIT: Final = 100
MOST_TRIES: Final = 3
"""How often an execution is made of which something has to be seen before it ends."""


class Stage:
    """What recipes act on; each thing is made when it is first asked for."""

    def __init__(self, run: ConformanceRun) -> None:
        """Send nothing yet."""
        self.probe: Probe = run.probe
        self.subjects: Subjects = run.subjects
        self.executions = Executions(self.probe, self.subjects)
        self._run = run

    def send(
        self,
        operation_id: str,
        key: Need[Persona] | None,
        call: Call | None = None,
        *,
        raw_key: str | None = None,
    ) -> Exchange:
        """Send one request with the key that the profile offers for it."""
        persona = self.probe.need(key) if key else None
        return self.probe.send(operation_id, persona, call, key=raw_key)

    def call(self, operation_id: str) -> Call:
        """A valid request to a resource that exists, for keys that must be refused."""
        operation = self.probe.document.operation_by_id[operation_id]
        if operation.path_parameters == ("id",):
            return Call(path_values={"id": self.id_of(self.completed)})
        return self.subjects.call_on_existing(operation)

    def id_of(self, trail: Trail) -> str:
        """The execution of a trail."""
        return self.subjects.execution_id_of(trail.submitted)

    @cached_property
    def completed(self) -> Trail:
        """An execution of a model, from submit to the end, that a poll saw in flight."""

        def run() -> Trail:
            return self.executions.to_end(self.executions.submit(self.probe.need(POLLED_MODEL)))

        return _tried(run, lambda trail: "processing" in statuses_in(trail.exchanges[1:]))

    @cached_property
    def completed_workflow(self) -> Trail:
        """An execution of a workflow, from submit to the end."""
        return self.executions.to_end(self.executions.submit(self.probe.need(OWN_POLLED_WORKFLOW)))

    @cached_property
    def failed(self) -> Trail:
        """An execution whose provider fails, from submit to the end."""
        return self.executions.to_end(self.executions.submit(self.probe.need(FAILING_POLLED_MODEL)))

    @cached_property
    def cancelled(self) -> Trail:
        """An execution that is cancelled in flight: submit, cancel, polls to the end."""

        def cancel() -> Trail:
            submitted = self.executions.submit(self.probe.need(POLLED_MODEL))
            return self.executions.to_end(self.executions.cancelled(submitted))

        return _tried(cancel, lambda trail: trail.ending == "cancelled")

    @cached_property
    def cancel_after_end(self) -> Exchange:
        """Cancelling the completed execution."""
        return self.executions.cancelled(self.completed).last

    @cached_property
    def deliveries(self) -> Deliveries:
        """Executions of a key with a webhook, and what was delivered of them."""
        return Deliveries(self.probe, self.executions, self._run.receiver)

    def delivered(self, ending: str) -> Trail:
        """The execution of the key with a webhook that ended in this way."""
        trails = [trail for trail in self.deliveries.ended if trail.ending == ending]
        if not trails:
            pytest.skip(f"{UNTESTED}an execution of a key with a webhook that ends as {ending}")
        return trails[0]

    def delivery(self, ending: str) -> Received:
        """What was delivered of it."""
        came = self.deliveries.of(self.delivered(ending), self.deliveries.open_box)
        if not came:
            pytest.skip(f"{UNTESTED}a delivery: none came of an execution that ended as {ending}")
        return came[0]

    def attempt(self, number: int) -> Received:
        """An attempt to deliver what was refused at first."""
        came = self.deliveries.of(self.deliveries.refused, self.deliveries.refusing_box)
        if len(came) <= number:
            pytest.skip(f"{UNTESTED}attempt {number + 1} of a delivery that was refused at first")
        return came[number]

    @cached_property
    def window(self) -> list[Exchange]:
        """A window of the pro account: its first runs, its last, one too many, the first of the next."""
        persona = self.probe.need(LIMITED_KEY)
        window = Window(
            probe=self.probe,
            subjects=self.subjects,
            persona=persona,
            workflow=self.subjects.cheapest_workflow(persona),
        )
        first, second = window.begin(), window.run()
        limit = standing_of(first).limit or _LEAST_LIMIT
        window.fill(first, limit - 3)
        last, refused = window.run(), window.run()
        window.outlast(refused)
        return [first, second, last, refused, window.run()]

    def over_limit_of_models(self, key: Need[Persona], call: Call) -> Exchange:
        """Send a model run that is refused anyway until it is refused for its rate."""
        self.probe.next_window()
        persona = self.probe.need(key)
        for _ in range(_LEAST_LIMIT + 1):
            exchange = self.probe.send("runModel", persona, call, is_throttling_expected=True)
            if exchange.status == 429:
                return exchange
        pytest.skip(f"{UNTESTED}a limit that counts refused requests")

    @property
    def owner(self) -> Persona:
        """Whose resources these are."""
        return self.probe.need(FULL_KEY)


def _tried(make: Callable[[], Trail], is_meant: Callable[[Trail], bool]) -> Trail:
    """The first trail that shows what is meant, or the last: the provider may have been faster."""
    trail = make()
    for _ in range(MOST_TRIES - 1):
        if is_meant(trail):
            break
        trail = make()
    return trail
