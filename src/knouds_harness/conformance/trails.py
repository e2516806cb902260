"""Trails: everything that was answered about one execution, from its submit on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from knouds_harness.conformance.needs import (
    FAILING_POLLED_MODEL,
    FULL_KEY,
    MAY_CANCEL,
    OWN_POLLED_WORKFLOW,
    POLLED_MODEL,
)
from knouds_harness.conformance.probe import Call, Probe
from knouds_harness.conformance.statuses import FINAL, IN_FLIGHT, body_of, status_in
from knouds_harness.conformance.subjects import Subjects
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.target.personas import Persona
from knouds_harness.target.resources import Model, Workflow

_DEADLINE_S = 60.0
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 2.0
_WATCH_S = 1.0
_WATCH_PAUSE_S = 0.1
_SAMPLES = 5
_CANCELLED_AGAIN = 2


@dataclass(frozen=True, kw_only=True)
class Trail:
    """What was answered about one execution.

    Attributes:
        resource: What runs.
        exchanges: The submit, then polls and cancels, in the order of sending.
    """

    resource: Workflow | Model
    exchanges: tuple[Exchange, ...]

    @property
    def submitted(self) -> Exchange:
        """The answer to the submit."""
        return self.exchanges[0]

    @property
    def last(self) -> Exchange:
        """The newest answer."""
        return self.exchanges[-1]

    @property
    def ending(self) -> str | None:
        """The final status, if the newest answer shows one."""
        status = status_in(self.last)
        return status if status in FINAL else None

    @property
    def cancelled_at(self) -> int | None:
        """Where the first answer to a cancel stands."""
        places = (i for i, each in enumerate(self.exchanges) if is_cancel(each))
        return next(places, None)

    @property
    def polls(self) -> list[Exchange]:
        """The answers to polls."""
        return [each for each in self.exchanges if each.request.operation_id == "getExecution"]

    @property
    def request_id(self) -> object:
        """The ``requestId`` of the submit, by which usage knows the run."""
        return body_of(self.submitted).get("requestId")

    def with_more(self, *exchanges: Exchange) -> Trail:
        """The trail prolonged."""
        return Trail(resource=self.resource, exchanges=(*self.exchanges, *exchanges))


def is_cancel(exchange: Exchange) -> bool:
    """Whether an answer is one to a cancel."""
    return exchange.request.operation_id == "cancelExecution"


class Executions:
    """Executions of the full key's account, each made when first asked for, and made once."""

    def __init__(self, probe: Probe, subjects: Subjects) -> None:
        """Submit nothing yet."""
        self.probe = probe
        self.subjects = subjects

    @cached_property
    def of_model(self) -> Trail:
        """A run of a model that nobody cancels, just submitted."""
        return self.submit(self.probe.need(POLLED_MODEL))

    @cached_property
    def of_workflow(self) -> Trail:
        """A run of a workflow that nobody cancels, just submitted."""
        return self.submit(self.probe.need(OWN_POLLED_WORKFLOW))

    @cached_property
    def of_failing_model(self) -> Trail:
        """A run of a model that fails, just submitted."""
        return self.submit(self.probe.need(FAILING_POLLED_MODEL))

    @cached_property
    def samples(self) -> list[Trail]:
        """Several runs of one model, submitted on a warm connection and, where allowed, cancelled at once.

        The first ones are cancelled again if that did not end them.
        """
        self.probe.send("getWhoami", self.owner)
        trails: list[Trail] = []
        for _ in range(_SAMPLES):
            trail = self.submit(self.probe.need(POLLED_MODEL))
            if MAY_CANCEL.find(self.probe.target):
                trail = self.polled(self.cancelled(trail))
                if len(trails) < _CANCELLED_AGAIN and status_in(trail.last) in IN_FLIGHT:
                    trail = self.polled(self.cancelled(trail))
            trails.append(trail)
        return trails

    @cached_property
    def cancelled_samples(self) -> list[Trail]:
        """The samples that were cancelled, polled until they ended."""
        self.probe.need(MAY_CANCEL)
        return [self.to_end(trail) for trail in self.samples]

    @cached_property
    def left_alone(self) -> list[Trail]:
        """Executions that nobody cancelled, of a model, a workflow and a failing model: of what there is.

        All are on their way before the first is waited for; each is polled until it ended.
        """
        trails = [self.of_model]
        if OWN_POLLED_WORKFLOW.find(self.probe.target):
            trails.append(self.of_workflow)
        if FAILING_POLLED_MODEL.find(self.probe.target):
            trails.append(self.of_failing_model)
        return [self.to_end(trail) for trail in trails]

    @property
    def owner(self) -> Persona:
        """Whose executions these are."""
        return self.probe.need(FULL_KEY)

    def submit(self, resource: Workflow | Model, persona: Persona | None = None) -> Trail:
        """Submit a run with the profile's inputs; untested where that gives no execution."""
        submitted = self.subjects.run(resource, persona or self.owner, is_async=True)
        self.subjects.execution_id_of(submitted)
        return Trail(resource=resource, exchanges=(submitted,))

    def polled(self, trail: Trail) -> Trail:
        """The trail with one more poll."""
        return trail.with_more(self.probe.send("getExecution", self.owner, self._call(trail)))

    def cancelled(self, trail: Trail) -> Trail:
        """The trail with the answer to a cancel, whatever that is."""
        return trail.with_more(self.probe.send("cancelExecution", self.owner, self._call(trail)))

    def to_end(self, trail: Trail) -> Trail:
        """Poll until an answer shows no execution in flight, or the profile's deadline is over."""
        deadline_s = trail.resource.deadline_s or _DEADLINE_S
        waited_s, pause_s = 0.0, _FIRST_PAUSE_S
        while True:
            if len(trail.exchanges) > 1 and not is_cancel(trail.last):
                if status_in(trail.last) not in IN_FLIGHT or waited_s >= deadline_s:
                    return trail
                self.probe.wait(pause_s)
                waited_s, pause_s = waited_s + pause_s, min(pause_s * 1.5, _LONGEST_PAUSE_S)
            trail = self.polled(trail)

    def watched(self, trails: Sequence[Trail]) -> list[Trail]:
        """Poll ended executions again and again for a second; one that shows another status is left alone."""
        followed = list(trails)
        for _ in range(round(_WATCH_S / _WATCH_PAUSE_S)):
            self.probe.wait(_WATCH_PAUSE_S)
            followed = [
                self.polled(each) if each.ending == before.ending else each
                for each, before in zip(followed, trails, strict=True)
            ]
        return followed

    def _call(self, trail: Trail) -> Call:
        return Call(path_values={"id": self.subjects.execution_id_of(trail.submitted)})
