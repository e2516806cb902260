"""What requests act on: resources that exist (made for the purpose where writing), and ones that do not."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from knouds_harness.conformance.claims import answer
from knouds_harness.conformance.needs import (
    FULL_KEY,
    LIMITED_WORKFLOW,
    OWN_WORKFLOW,
    POLLED_MODEL,
    PUBLIC_WORKFLOW,
    USABLE_MODEL,
    free_workflow,
    may_make_workflows,
)
from knouds_harness.conformance.probe import UNTESTED, Call, Probe
from knouds_harness.contract.operations import Operation
from knouds_harness.exchange.evidence import JSON, Exchange
from knouds_harness.target.personas import Persona
from knouds_harness.target.resources import Model, Workflow

NO_SUCH_WORKFLOW = "harness-no-such-workflow"
NO_SUCH_MODEL = "harness-no-such-model"
NO_SUCH_EXECUTION = str(uuid.UUID(int=0x4A8F_0000_0000_4000_8000_0000_0000_0001))
SCRATCH_NAME = "Harness scratch"
_DEADLINE_S = 60.0
_LONGEST_PAUSE_S = 2.0


def harmless_call(operation: Operation) -> Call:
    """A well-formed request without effect or cost, whoever sends it: its resource is unknown."""
    values = {"slug": NO_SUCH_WORKFLOW, "internalName": NO_SUCH_MODEL, "id": NO_SUCH_EXECUTION}
    bodies: dict[str, Any] = {
        "createWorkflow": {"name": ""},
        "updateWorkflow": {"description": "sent by the harness"},
        "moveWorkflow": {"folderId": None},
        "runWorkflow": {"inputs": {}},
        "runModel": {"inputs": {}},
    }
    path_values = {name: values[name] for name in operation.path_parameters}
    return _call(operation, path_values, bodies)


def _call(operation: Operation, path_values: dict[str, str], bodies: dict[str, Any]) -> Call:
    if operation.id in bodies:
        return Call(path_values=path_values, json=bodies[operation.id])
    return Call(path_values=path_values)


class Subjects:
    """Resources of the full key's account; what is made here is deleted again by ``clean_up``."""

    def __init__(self, probe: Probe) -> None:
        """Make nothing yet."""
        self.probe = probe
        self._made: list[tuple[Persona, str]] = []
        self._shared_by_name: dict[str, Future[str]] = {}

    def call_on_existing(self, operation: Operation) -> Call:
        """A valid request to a resource that exists; meant for keys that must be refused."""
        bodies: dict[str, Any] = {
            "createWorkflow": {"name": SCRATCH_NAME},
            "updateWorkflow": {"description": "must not be written"},
            "moveWorkflow": {"folderId": None},
        }
        if operation.id == "runWorkflow":
            bodies["runWorkflow"] = {"inputs": dict(self.probe.need(OWN_WORKFLOW).inputs)}
        if operation.id == "runModel":
            bodies["runModel"] = {"inputs": dict(self.probe.need(USABLE_MODEL).inputs)}
        return _call(
            operation, {name: self._existing(operation, name) for name in operation.path_parameters}, bodies
        )

    def _existing(self, operation: Operation, parameter: str) -> str:
        if parameter == "internalName":
            return self.probe.need(USABLE_MODEL).name
        if parameter == "id":
            return self.execution_id
        if operation.id in ("updateWorkflow", "moveWorkflow"):
            return self.scratch_slug
        if operation.id == "deleteWorkflow":  # its own: a delete that is let through must not show elsewhere
            return self._shared("to delete", self.make_workflow)
        if operation.id == "getPublicWorkflowSchema":
            return self.probe.need(PUBLIC_WORKFLOW).slug
        return self.probe.need(OWN_WORKFLOW).slug

    @property
    def scratch_slug(self) -> str:
        """A workflow that may be written at will."""
        return self._shared("scratch", self.make_workflow)

    def make_workflow(self, owner: Persona | None = None, **document: object) -> str:
        """Create a workflow that is deleted when the run ends.

        Returns:
            Its slug.
        """
        owner = owner or self.probe.need(FULL_KEY)
        created = self.probe.send("createWorkflow", owner, Call(json={"name": SCRATCH_NAME, **document}))
        body = created.json_or_none()
        slug = body.get("slug") if isinstance(body, dict) else None
        if not isinstance(slug, str):
            pytest.skip(f"{UNTESTED}a workflow to write to: creating one was answered {answer(created)}")
        self._made.append((owner, slug))
        return slug

    def create(self, owner: Persona, document: JSON) -> tuple[Exchange, str | None]:
        """Create a workflow that is deleted when the run ends, and tell where it is.

        Returns:
            The answer, and the slug: the answer's own, or (what create answers is assumed) that of the one
            listed workflow of this name; None where there is none.
        """
        created = self.probe.send("createWorkflow", owner, Call(json=document))
        if created.status is None or created.status >= 300:
            return created, None
        body = created.json_or_none()
        slug = body.get("slug") if isinstance(body, dict) else None
        if not isinstance(slug, str):
            summaries = self.probe.send("listWorkflows", owner).json_or_none()
            named = [
                summary.get("slug")
                for summary in (summaries if isinstance(summaries, list) else ())
                if isinstance(summary, dict) and summary.get("name") == document["name"]
            ]
            slug = named[0] if len(named) == 1 else None
        if not isinstance(slug, str):
            return created, None
        self._made.append((owner, slug))
        return created, slug

    def delete(self, owner: Persona, slug: str) -> Exchange:
        """Delete a workflow that was made here."""
        deleted = self.probe.send("deleteWorkflow", owner, Call(path_values={"slug": slug}))
        if deleted.status is not None and deleted.status < 300 and (owner, slug) in self._made:
            self._made.remove((owner, slug))
        return deleted

    def free_workflow(self, owner: Persona) -> Workflow:
        """A workflow of this account whose runs cost nothing: nothing in it generates. Deleted in the end."""
        slug = self._shared(
            f"free run of {owner.user}", lambda: self.make_workflow(owner, name="Harness free run")
        )
        workflow = Workflow(slug=slug, owner=owner.user, has_generator=False)
        if self.probe.price(workflow) != 0:
            pytest.skip(f"{UNTESTED}a workflow that costs nothing to run")
        return workflow

    def cheapest_workflow(self, owner: Persona) -> Workflow:
        """A workflow of this account whose runs cost nothing, where one is known or may be made; else any."""
        known = free_workflow(self.probe.target, owner)
        if known is None and may_make_workflows(self.probe.target, owner):
            return self.free_workflow(owner)
        return known or self.probe.need(LIMITED_WORKFLOW)

    def note_created(self, exchange: Exchange, owner: Persona | None = None) -> None:
        """Remember to delete what an answer says was created; by the full key, unless told otherwise."""
        body = exchange.json_or_none()
        slug = body.get("slug") if isinstance(body, dict) else None
        is_made = 200 <= (exchange.status or 0) < 300
        if exchange.request.operation_id == "createWorkflow" and is_made and slug:
            self._made.append((owner or self.probe.need(FULL_KEY), str(slug)))

    def note_listed(self, exchange: Exchange, name: str) -> None:
        """Remember to delete every workflow of a name that a list shows."""
        summaries = exchange.json_or_none()
        for summary in summaries if isinstance(summaries, list) else ():
            if isinstance(summary, dict) and summary.get("name") == name:
                self._made.append((self.probe.need(FULL_KEY), str(summary.get("slug"))))

    def account_id(self, persona: Persona) -> str | None:
        """The id of a key's account, as whoami gives it; None where it gives none."""
        body = self.probe.send("getWhoami", persona).json_or_none()
        user = body.get("user") if isinstance(body, dict) else None
        account_id = user.get("id") if isinstance(user, dict) else None
        return None if account_id is None else str(account_id)

    @property
    def execution_id(self) -> str:
        """An execution of the full key's account."""
        model, owner = self.probe.need(POLLED_MODEL), self.probe.need(FULL_KEY)
        return self._shared("execution", lambda: self.execution_id_of(self.run(model, owner, is_async=True)))

    def _shared(self, name: str, make: Callable[[], str]) -> str:
        """What the first test that asks for it makes; those beside it wait until it is there."""
        if name in self._shared_by_name:
            with self.probe.client.while_waiting():
                return self._shared_by_name[name].result()
        made = self._shared_by_name[name] = Future[str]()
        try:
            made.set_result(make())
        except BaseException as error:
            del self._shared_by_name[name]  # who asks later tries again
            made.set_exception(error)
            raise
        return made.result()

    def execution_id_of(self, submitted: Exchange) -> str:
        """The id that a submit was answered with."""
        body = submitted.json_or_none()
        execution_id = body.get("executionId") if isinstance(body, dict) else None
        if not isinstance(execution_id, str):
            pytest.skip(f"{UNTESTED}an execution: submitting one was answered {answer(submitted)}")
        return execution_id

    def await_end(self, submitted: Exchange, *, deadline_s: float | None) -> Exchange:
        """Poll an execution of the full key until it has ended or its deadline is over.

        Returns:
            The last poll.
        """
        call = Call(path_values={"id": self.execution_id_of(submitted)})
        waited_s, pause_s = 0.0, 0.02
        while True:
            poll = self.probe.send("getExecution", self.probe.need(FULL_KEY), call)
            body = poll.json_or_none()
            is_in_flight = isinstance(body, dict) and body.get("status") in ("processing", "cancel_requested")
            if not is_in_flight or waited_s >= (deadline_s or _DEADLINE_S):
                return poll
            self.probe.wait(pause_s)
            waited_s += pause_s
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    def run(
        self,
        resource: Workflow | Model,
        persona: Persona,
        *,
        is_async: bool = False,
        is_throttling_expected: bool = False,
    ) -> Exchange:
        """Run a workflow or model with the inputs of the profile; it may cost what the profile says."""
        return self.probe.send(
            *self.running(resource, persona, is_async=is_async), is_throttling_expected=is_throttling_expected
        )

    def running(
        self, resource: Workflow | Model, persona: Persona, *, is_async: bool = False
    ) -> tuple[str, Persona, Call]:
        """The request that runs a workflow or model with the inputs of the profile."""
        if isinstance(resource, Workflow):
            operation_id, path_values = "runWorkflow", {"slug": resource.slug}
        else:
            operation_id, path_values = "runModel", {"internalName": resource.name}
        call = Call(
            path_values=path_values,
            query=(("async", "true"),) if is_async else (),
            json={"inputs": dict(resource.inputs)},
            cost_credits=self.probe.price(resource),
        )
        return operation_id, persona, call

    def clean_up(self) -> None:
        """Delete what was made, whatever ended the run."""
        self.probe.halted_by = None
        while self._made:
            owner, slug = self._made.pop()
            self.probe.send("deleteWorkflow", owner, Call(path_values={"slug": slug}))
