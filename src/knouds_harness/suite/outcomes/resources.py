"""What outcomes are provoked with: a target, and what was made there and is used again."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Final

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.execution_status import statuses_in
from knouds_harness.judging.checks.rate_limits import window_headers_of
from knouds_harness.suite.session import ConformanceRun
from knouds_harness.suite.support.call import Call
from knouds_harness.suite.support.execution_traces import Executions, ExecutionTrace
from knouds_harness.suite.support.rate_limit_window import RateLimitWindow
from knouds_harness.suite.support.subjects import Subjects
from knouds_harness.suite.support.webhook_executions import Deliveries, Received
from knouds_harness.suite.tester import Tester
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.need import KeyAndResource, Need
from knouds_harness.targets.needs.rate_limits import FILLABLE_WINDOW
from knouds_harness.targets.needs.runs import (
    ASYNC_MODEL_RUN,
    ASYNC_WORKFLOW_RUN,
    CANCELLED_MODEL_RUN,
    FAILING_MODEL_RUN,
)
from knouds_harness.targets.personas import Persona, Secret
from knouds_harness.targets.resources import Model

_LEAST_LIMIT: Final = 100
MOST_TRIES: Final = 3
"""How often an execution is made of which something has to be seen before it ends."""


class OutcomeResources:
    """What outcomes act on; each thing is made when it is first asked for."""

    def __init__(self, run: ConformanceRun) -> None:
        self.tester: Tester = run.tester
        self.subjects: Subjects = run.subjects
        self.executions: Executions = run.executions
        self._run = run

    def send(
        self,
        operation_id: str,
        key: Need[Persona] | None,
        call: Call | None = None,
        *,
        raw_key: Secret | None = None,
    ) -> Exchange:
        """Send one request with the key that the profile offers for it."""
        persona = self.tester.need(key) if key else None
        return self.tester.send(operation_id, persona, call, key=raw_key)

    def call(self, operation_id: str) -> Call:
        """A valid request to a resource that exists, for keys that must be refused."""
        operation = self.tester.document.operation_by_id[operation_id]
        if operation.path_parameters == ("id",):
            return Call(path_values={"id": self.id_of(self.completed)})
        return self.subjects.call_on_existing(operation)

    def id_of(self, trace: ExecutionTrace) -> str:
        """The execution of a trace."""
        return self.subjects.execution_id_of(trace.submitted)

    @property
    def _async_model_run(self) -> KeyAndResource[Model]:
        """A model that runs asynchronously, and a key that may also cancel it, if there is one."""
        may_cancel = CANCELLED_MODEL_RUN.missing(self.tester.target) is None
        return self.tester.need(CANCELLED_MODEL_RUN if may_cancel else ASYNC_MODEL_RUN)

    @cached_property
    def completed(self) -> ExecutionTrace:
        """An execution of a model, from submit to the end, that a poll saw in flight."""

        def run() -> ExecutionTrace:
            return self.executions.to_end(self.executions.submit(self._async_model_run))

        return _tried(run, lambda trace: "processing" in statuses_in(trace.exchanges[1:]))

    @cached_property
    def completed_workflow(self) -> ExecutionTrace:
        """An execution of a workflow, from submit to the end."""
        return self.executions.to_end(self.executions.submit(self.tester.need(ASYNC_WORKFLOW_RUN)))

    @cached_property
    def failed(self) -> ExecutionTrace:
        """An execution whose provider fails, from submit to the end."""
        return self.executions.to_end(self.executions.submit(self.tester.need(FAILING_MODEL_RUN)))

    @cached_property
    def cancelled(self) -> ExecutionTrace:
        """An execution that is cancelled in flight: submit, cancel, polls to the end."""

        def cancel() -> ExecutionTrace:
            submitted = self.executions.submit(self._async_model_run)
            return self.executions.to_end(self.executions.cancelled(submitted))

        return _tried(cancel, lambda trace: trace.ending == "cancelled")

    @cached_property
    def cancel_after_end(self) -> Exchange:
        """Cancelling the completed execution."""
        return self.executions.cancelled(self.completed).last

    @property
    def deliveries(self) -> Deliveries:
        """Executions of a key with a webhook, and what was delivered of them."""
        return self._run.deliveries

    def delivered(self, ending: str) -> ExecutionTrace:
        """The execution of the key with a webhook that ended in this way."""
        traces = [trace for trace in self.deliveries.ended if trace.ending == ending]
        if not traces:
            raise Untested(f"an execution of a key with a webhook that ends as {ending}")
        return traces[0]

    def delivery(self, ending: str) -> Received:
        """What was delivered of it."""
        came = self.deliveries.of(self.delivered(ending), self.deliveries.open_box)
        if not came:
            raise Untested(f"a delivery: none came of an execution that ended as {ending}")
        return came[0]

    def attempt(self, number: int) -> Received:
        """An attempt to deliver what was refused at first."""
        came = self.deliveries.of(self.deliveries.refused, self.deliveries.refusing_box)
        if len(came) <= number:
            raise Untested(f"attempt {number + 1} of a delivery that was refused at first")
        return came[number]

    @cached_property
    def window(self) -> list[Exchange]:
        """A window of the pro account: its first runs, its last, one too many, the first of the next."""
        persona = self.tester.need(FILLABLE_WINDOW)
        window = RateLimitWindow(
            tester=self.tester,
            subjects=self.subjects,
            persona=persona,
            workflow=self.subjects.cheapest_workflow(persona),
        )
        (first, counted), second = window.begin(), window.run()
        limit = window_headers_of(first).limit or _LEAST_LIMIT
        window.fill(first, limit - counted - 2)
        last, refused = window.run(), window.run()
        window.outlast(refused)
        return [first, second, last, refused, window.run()]

    def over_limit_of_models(self, key: Need[Persona], call: Call) -> Exchange:
        """Send a model run that is refused anyway until it is refused for its rate."""
        self.tester.next_window()
        persona = self.tester.need(key)
        for _ in range(_LEAST_LIMIT + 1):
            exchange = self.tester.send("runModel", persona, call, is_throttling_expected=True)
            if exchange.status == 429:
                return exchange
        raise Untested("a limit that counts refused requests")


def _tried(make: Callable[[], ExecutionTrace], is_meant: Callable[[ExecutionTrace], bool]) -> ExecutionTrace:
    """The first trace that shows what is meant, or the last: the provider may have been faster."""
    trace = make()
    for _ in range(MOST_TRIES - 1):
        if is_meant(trace):
            break
        trace = make()
    return trace
