"""The requests about each execution and their responses, from its submit on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from knouds_harness.contract.operations import FINAL, IN_FLIGHT
from knouds_harness.exchange.evidence import Call, Exchange, body_of, status_in
from knouds_harness.suite.concurrent_tests import SharedValues, shared_once
from knouds_harness.suite.support.test_data import TestData
from knouds_harness.suite.tester import Tester
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs import KeyAndResource, Need
from knouds_harness.targets.needs.runs import (
    ASYNC_RUN,
    ASYNC_WORKFLOW_RUN,
    CANCELLED_RUN,
    CHARGED_CANCELLED_RUN,
    FAILING_ASYNC_RUN,
    FREE_ASYNC_RUN,
    is_paid,
    once,
)
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Persona, Workflow

_WATCH_S = 1.0
_WATCH_PAUSE_S = 0.1
SAMPLES = 5
_CANCELLED_AGAIN = 2
_WATCHED = 2


@dataclass(frozen=True, kw_only=True)
class ExecutionTrace:
    """All exchanges about one execution.

    Attributes:
        reader: The key that polls and cancels, of the account that submitted it.
        exchanges: The submit, then polls and cancels, in the order of sending.
    """

    reader: Persona
    resource: Workflow | Model
    exchanges: tuple[Exchange, ...]

    @property
    def run(self) -> KeyAndResource[Workflow | Model]:
        return KeyAndResource(self.reader, self.resource)

    @property
    def submitted(self) -> Exchange:
        return self.exchanges[0]

    @property
    def execution_id(self) -> str:
        return str(self.submitted.members["executionId"])

    @property
    def last(self) -> Exchange:
        return self.exchanges[-1]

    @property
    def ending(self) -> str | None:
        """The final status, if the last response shows one."""
        status = status_in(self.last)
        return status if status in FINAL else None

    @property
    def cancelled_at(self) -> int | None:
        """The index of the first cancel."""
        places = (i for i, each in enumerate(self.exchanges) if is_cancel(each))
        return next(places, None)

    @property
    def polls(self) -> list[Exchange]:
        return [each for each in self.exchanges if each.request.operation_id == "getExecution"]

    @property
    def request_id(self) -> object:
        """The ``requestId`` of the submit, which identifies the run in usage."""
        return body_of(self.submitted).get("requestId")

    def with_more(self, *exchanges: Exchange) -> ExecutionTrace:
        return replace(self, exchanges=(*self.exchanges, *exchanges))


def is_cancel(exchange: Exchange) -> bool:
    return exchange.request.operation_id == "cancelExecution"


Shared = Callable[[Target], list[Workflow | Model]]
"""Return what is run for a part of what tests share."""


def is_any_a_workflow(target: Target) -> bool:
    """Return whether the run of a workflow is the same as that of any resource."""
    return ASYNC_WORKFLOW_RUN.find(target) == ASYNC_RUN.find(target)


def _sample(target: Target) -> list[Workflow | Model]:
    return once(CANCELLED_RUN)(target) or once(ASYNC_RUN)(target)


SHARED_EXECUTIONS: Final[Mapping[str, Shared]] = {
    "of_any": once(ASYNC_RUN),
    "of_workflow": lambda target: [] if is_any_a_workflow(target) else once(ASYNC_WORKFLOW_RUN)(target),
    "of_failing": once(FAILING_ASYNC_RUN),
    "sample": _sample,
    "samples": lambda target: _sample(target) * (SAMPLES - 1),  # those besides it
}
"""What is run for the executions that tests share, in parts that are paid for apart."""


class Executions:
    """Executions of the profile's accounts, each made once, on first use."""

    def __init__(self, tester: Tester, test_data: TestData) -> None:
        self.tester = tester
        self.test_data = test_data
        self.made = SharedValues(tester.idle)

    @shared_once
    def of_any(self) -> ExecutionTrace:
        """A run of any resource that can run asynchronously, just submitted and never cancelled."""
        self.test_data.require_paid("of_any")
        return self.submit(self.tester.need(ASYNC_RUN))

    @shared_once
    def of_workflow(self) -> ExecutionTrace:
        """A run of a workflow, just submitted and never cancelled."""
        found = self.tester.need(ASYNC_WORKFLOW_RUN)
        if found == self.tester.need(ASYNC_RUN):
            return self.of_any
        self.test_data.require_paid("of_workflow")
        return self.submit(found)

    @shared_once
    def of_failing(self) -> ExecutionTrace:
        self.test_data.require_paid("of_failing")
        return self.submit(self.tester.need(FAILING_ASYNC_RUN))

    @shared_once
    def samples(self) -> list[ExecutionTrace]:
        """Several runs of one resource, submitted on a warm connection and, if allowed, cancelled at once.

        The first ones are cancelled again if the cancel did not end them. It is one run if the credits do not
        suffice for several.
        """
        cancelled = CANCELLED_RUN.met_by(self.tester.target)
        found = cancelled or self.tester.need(ASYNC_RUN)
        self.test_data.require_paid("sample")
        self.tester.send("getWhoami", found.key)
        traces: list[ExecutionTrace] = []
        for _ in range(SAMPLES if self.test_data.is_paid("samples") else 1):
            trace = self.submit(found)
            if cancelled:
                trace = self.polled(self.cancelled(trace))
                if len(traces) < _CANCELLED_AGAIN and status_in(trace.last) in IN_FLIGHT:
                    trace = self.polled(self.cancelled(trace))
            traces.append(trace)
        return traces

    @shared_once
    def submits(self) -> list[Exchange]:
        """Submits of the samples, or of a free workflow if the credits do not suffice for all samples."""
        free = FREE_ASYNC_RUN.find(self.tester.target)
        if free is None or self.test_data.is_paid("samples"):
            return [trace.submitted for trace in self.samples]
        self.tester.send("getWhoami", free.key)
        return [self.submit(free).submitted for _ in range(SAMPLES)]

    @shared_once
    def cancelled_samples(self) -> list[ExecutionTrace]:
        self.tester.need(CANCELLED_RUN)
        return [self.to_end(trace) for trace in self.samples]

    @shared_once
    def cancelled_at_a_price(self) -> list[ExecutionTrace]:
        """The cancelled samples; if they cost nothing, one cancelled run that costs something."""
        found = self.tester.need(CHARGED_CANCELLED_RUN)
        if is_paid(self.cancelled_samples[0].resource):
            return self.cancelled_samples
        return [self.to_end(self.cancelled(self.submit(found)))]

    @shared_once
    def left_alone(self) -> list[ExecutionTrace]:
        """Executions that were not cancelled: of any resource, a workflow and one that fails, as available.

        All are submitted and polled once before the first is polled to its end.
        """
        traces = [self.polled(self.of_any)] if self._has("of_any", ASYNC_RUN) else []
        if not is_any_a_workflow(self.tester.target) and self._has("of_workflow", ASYNC_WORKFLOW_RUN):
            traces.append(self.polled(self.of_workflow))
        if self._has("of_failing", FAILING_ASYNC_RUN):
            traces.append(self.polled(self.of_failing))
        return [self.to_end(trace) for trace in traces]

    def _has(self, part: str, need: Need[Any]) -> bool:
        return need.missing(self.tester.target) is None and self.test_data.is_paid(part)

    @property
    def ended(self) -> list[ExecutionTrace]:
        """Executions that ended without a cancel; if none did, the running test is untested."""
        ended = [each for each in self.left_alone if each.ending is not None]
        if not ended:
            raise Untested("an execution that ends by its deadline")
        return ended

    @shared_once
    def watched(self) -> list[ExecutionTrace]:
        """Ended executions, some of them cancelled, that were watched before any further cancel."""
        return self.watch([*self.ended, *self.cancelled_if_any[:_WATCHED]])

    @property
    def cancelled_if_any(self) -> list[ExecutionTrace]:
        """The cancelled samples; none if the profile does not allow a cancel, or the credits no sample."""
        return self.cancelled_samples if self._has("sample", CANCELLED_RUN) else []

    def watch(self, traces: Sequence[ExecutionTrace]) -> list[ExecutionTrace]:
        """Poll ended executions repeatedly for a second; stop polling one that shows another status."""
        followed = list(traces)
        for _ in range(round(_WATCH_S / _WATCH_PAUSE_S)):
            self.tester.wait(_WATCH_PAUSE_S)
            followed = [
                self.polled(each) if each.ending == before.ending else each
                for each, before in zip(followed, traces, strict=True)
            ]
        return followed

    def submit(
        self, found: KeyAndResource[Workflow | Model], *, submitter: Persona | None = None
    ) -> ExecutionTrace:
        """Submit a run with the profile's inputs; if that gives no execution, the test is untested.

        The key of ``found`` polls the execution; ``submitter`` is another one of the account.
        """
        submitted = self.test_data.run(found.resource, submitter or found.key, is_async=True)
        self.test_data.execution_id_of(submitted)
        return ExecutionTrace(reader=found.key, resource=found.resource, exchanges=(submitted,))

    def polled(self, trace: ExecutionTrace) -> ExecutionTrace:
        return trace.with_more(self.tester.send("getExecution", trace.reader, self._call(trace)))

    def cancelled(self, trace: ExecutionTrace) -> ExecutionTrace:
        return trace.with_more(self.tester.send("cancelExecution", trace.reader, self._call(trace)))

    def to_end(self, trace: ExecutionTrace) -> ExecutionTrace:
        """Poll until the execution is not in flight, or the profile's deadline is over."""
        is_polled = trace.last.request.operation_id == "getExecution"
        if is_polled and status_in(trace.last) not in IN_FLIGHT:
            return trace
        deadline_s = trace.resource.deadline_s
        return trace.with_more(
            *self.test_data.await_end(trace.submitted, trace.reader, deadline_s=deadline_s)
        )

    def _call(self, trace: ExecutionTrace) -> Call:
        return Call(path_values={"id": trace.execution_id})
