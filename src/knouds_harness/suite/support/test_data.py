"""What requests act on: resources that exist, made for the purpose if written to, and ones that do not."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from knouds_harness.contract.operations import IN_FLIGHT, Operation
from knouds_harness.exchange.created_workflows import CreatedWorkflows, fresh_name
from knouds_harness.exchange.evidence import (
    JSON,
    NO_BODY,
    Call,
    Exchange,
    effectless_call,
    members_of,
    status_in,
)
from knouds_harness.judging.checks.concurrency import created_slug
from knouds_harness.suite.concurrent_tests import SharedValues
from knouds_harness.suite.request_failures import DEADLINE_S
from knouds_harness.suite.tester import Tester
from knouds_harness.suite.untested import Untested, more_credits
from knouds_harness.targets.needs.keys import AUTHOR
from knouds_harness.targets.needs.rate_limits import free_workflow, may_make_workflows, own_workflow_run
from knouds_harness.targets.needs.runs import ASYNC_RUN, is_runnable, may_run
from knouds_harness.targets.needs.workflows import (
    ANY_MODEL,
    ANY_WORKFLOW,
    PUBLIC_WORKFLOW,
    account_with_resource,
)
from knouds_harness.targets.resources import Model, Persona, Workflow

_LONGEST_PAUSE_S = 2.0
EXECUTION: Final = "an execution"
"""What of the credits pays for the execution that requests ask for if it has to exist."""


def disputed_slug(exchange: Exchange, created: CreatedWorkflows) -> str | None:
    """Return the slug in a create's response if nothing proves that it belongs to a new workflow."""
    slug = created_slug(exchange) if exchange.request.operation_id == "createWorkflow" else None
    return None if slug is None or created.may_write(slug) else slug


class TestData:
    """Resources of the profile's accounts; created ones are deleted when the run ends."""

    __test__ = False  # its name looks like that of a test class

    def __init__(self, tester: Tester, *, unpaid: Collection[str] = ()) -> None:
        """Make nothing yet; of what tests share, the credits do not suffice for ``unpaid``."""
        self.tester = tester
        self._unpaid = unpaid
        self._shared = SharedValues(tester.idle)
        self._refusals: dict[str, str] = {}
        self._submitted: list[tuple[Exchange, Persona, float | None]] = []

    def is_paid(self, part: str) -> bool:
        return part not in self._unpaid

    def require_paid(self, part: str) -> None:
        """Skip the test if the credits do not suffice for a part of what tests share."""
        if not self.is_paid(part):
            raise Untested(more_credits(self.tester.client.target), "profile")

    def call_on_existing(self, operation: Operation) -> Call:
        """Return a valid request to an existing resource, for keys that must be refused."""
        bodies: dict[str, Any] = {
            "createWorkflow": {"name": fresh_name("scratch")},
            "updateWorkflow": {"description": "must not be written"},
            "moveWorkflow": {"folderId": None},
        }
        if operation.id == "runWorkflow":
            bodies["runWorkflow"] = {"inputs": dict(self._known_workflow.inputs)}
        if operation.id == "runModel":
            bodies["runModel"] = {"inputs": dict(self.tester.need(ANY_MODEL).inputs)}
        values = {name: self._existing(operation, name) for name in operation.path_parameters}
        return Call(path_values=values, json=bodies.get(operation.id, NO_BODY))

    def call_without_key(self, operation: Operation) -> Call:
        """Return a valid request to send without a key, to an existing resource if the profile offers one."""
        has_one = self.account_if_any(operation) is not None
        return self.call_on_existing(operation) if has_one else effectless_call(operation)

    def account_if_any(self, operation: Operation) -> str | None:
        """Return the account of the resource in ``call_on_existing``; None if the profile offers none."""
        return account_with_resource(operation).met_by(self.tester.target)

    def account_of(self, operation: Operation) -> str:
        """Return the account of the resource in ``call_on_existing``, or a user of one without an owner."""
        return self.tester.need(account_with_resource(operation))

    def _existing(self, operation: Operation, parameter: str) -> str:
        if parameter == "internalName":
            return self.tester.need(ANY_MODEL).name
        if parameter == "id":
            return self.execution_id
        if operation.id in ("updateWorkflow", "moveWorkflow"):
            return self.scratch_slug
        if operation.id == "deleteWorkflow":  # one of its own, so that a wrong delete does not show elsewhere
            return self._shared.get("to delete", self.make_workflow)
        if operation.id == "getPublicWorkflowSchema":
            return self.tester.need(PUBLIC_WORKFLOW).slug
        return self._known_workflow.slug

    @property
    def _known_workflow(self) -> Workflow:
        """A workflow of the profile, or a new one if it has none."""
        known = ANY_WORKFLOW.find(self.tester.target)
        return known or Workflow(slug=self.scratch_slug, owner=self.tester.need(AUTHOR).user)

    def workflow_for(self, operation: Operation, owner: Persona) -> str:
        return self._shared.get(f"{operation.id} of {owner.user}", lambda: self.make_workflow(owner))

    @property
    def scratch_slug(self) -> str:
        """A workflow that tests may change freely."""
        return self._shared.get("scratch", self.make_workflow)

    def make_workflow(self, owner: Persona | None = None, **document: JSON) -> str:
        """Create a workflow that is deleted when the run ends, by default as AUTHOR; return its slug."""
        _, slug = self.make(owner or self.tester.need(AUTHOR), {"name": fresh_name("scratch"), **document})
        return slug

    def make(self, owner: Persona, document: JSON) -> tuple[Exchange, str]:
        """Create a workflow as ``create`` does; if that is refused, the test is untested."""
        created, slug = self.create(owner, document)
        if slug is None:
            raise Untested(f"a workflow to write to: creating one was answered {created.answer}")
        return created, slug

    def create(self, owner: Persona, document: JSON) -> tuple[Exchange, str | None]:
        """Create a workflow that is deleted when the run ends; untested if nothing proves that it is new.

        The slug is that in the response, or (as its form is only assumed) of the only listed workflow of this
        name; None if there is none.
        """
        created = self.tester.send("createWorkflow", owner, Call(json=document))
        if created.status is None or created.status >= 300:
            return created, None
        ledger = self.tester.client.created
        if slug := disputed_slug(created, ledger):
            raise Untested(
                f'a workflow that this run has created: create answered "{slug}", '
                "which does not show the name that was sent"
            )
        slug = created_slug(created)
        if slug is None:
            summaries = self.tester.send("listWorkflows", owner).json_or_none()
            slug = ledger.found(str(document["name"]), summaries)
        return created, slug

    def delete(self, owner: Persona, slug: str) -> Exchange:
        return self.tester.send("deleteWorkflow", owner, Call(path_values={"slug": slug}))

    def free_workflow(self, owner: Persona) -> Workflow:
        """Return a new workflow of this account without generator nodes, so that its runs cost nothing."""
        slug = self._shared.get(
            f"free run of {owner.user}", lambda: self.make_workflow(owner, name=fresh_name("free run"))
        )
        workflow = Workflow(slug=slug, owner=owner.user, has_generator=False)
        if self.tester.price(workflow) != 0:
            raise Untested("a workflow that costs nothing to run")
        return workflow

    def cheapest_workflow(self, owner: Persona) -> Workflow:
        """Return a workflow of this account that is free to run, if one is known or may be made; or any."""
        known = free_workflow(self.tester.target, owner)
        if known is None and may_make_workflows(self.tester.target, owner):
            return self.free_workflow(owner)
        known = known or own_workflow_run(self.tester.target, owner)
        if known is None:
            raise Untested("a workflow that this key may run", "profile")
        return known

    def account_id(self, persona: Persona) -> str | None:
        """Return the id of a key's account from whoami; None if it gives none."""
        account_id = members_of(self.tester.send("getWhoami", persona).members.get("user")).get("id")
        return None if account_id is None else str(account_id)

    @property
    def execution_id(self) -> str:
        key, resource = self.tester.need(ASYNC_RUN)
        self.require_paid(EXECUTION)
        return self._shared.get(
            "execution", lambda: self.execution_id_of(self.run(resource, key, is_async=True))
        )

    def execution_id_of(self, submitted: Exchange) -> str:
        execution_id = submitted.members.get("executionId")
        if not isinstance(execution_id, str):
            raise Untested(f"an execution: submitting one was answered {submitted.answer}")
        return execution_id

    def await_end(self, submitted: Exchange, reader: Persona, *, deadline_s: float | None) -> list[Exchange]:
        """Poll an execution until it has ended or its deadline is over; return the polls."""
        call = Call(path_values={"id": self.execution_id_of(submitted)})
        polls: list[Exchange] = []
        waited_s, pause_s = 0.0, 0.02
        while True:
            polls.append(self.tester.send("getExecution", reader, call))
            if status_in(polls[-1]) not in IN_FLIGHT or waited_s >= (deadline_s or DEADLINE_S):
                return polls
            self.tester.wait(pause_s)
            waited_s += pause_s
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    def await_all_ends(self) -> None:
        """Wait until everything submitted here has ended, or its deadline is over."""
        while self._submitted:
            submitted, reader, deadline_s = self._submitted.pop()
            self.await_end(submitted, reader, deadline_s=deadline_s)

    def run(
        self,
        resource: Workflow | Model,
        persona: Persona,
        *,
        is_async: bool = False,
        is_throttling_expected: bool = False,
    ) -> Exchange:
        """Run a workflow or model with the inputs of the profile; it may cost what the profile says.

        If a run fails that should succeed by the profile, the test is untested.
        """
        sending = self.running(resource, persona, is_async=is_async)
        exchange = self.tester.send(*sending, is_throttling_expected=is_throttling_expected)
        if not is_async or resource.polled:
            self.require_success(exchange, resource, persona)
            if is_async and self.tester.recorder.keeps_answers:  # only `record` waits for all of them
                self._submitted.append((exchange, persona, resource.deadline_s))
        return exchange

    def run_at_once(
        self, runs: Sequence[tuple[Persona, Workflow | Model]], *, may_fail: bool = False
    ) -> list[Exchange]:
        """Run several workflows or models at once; those that get a 429 are run again later.

        If a run fails that should succeed by the profile, the test is untested, unless it ``may_fail``.
        """
        sendings = [self.running(resource, key) for key, resource in runs]
        answers = [
            self.tester.send(*sending) if exchange.status == 429 else exchange
            for sending, exchange in zip(sendings, self.tester.send_at_once(sendings), strict=True)
        ]
        for (key, resource), exchange in zip(runs, () if may_fail else answers, strict=not may_fail):
            self.require_success(exchange, resource, key)
        return answers

    def require_success(self, exchange: Exchange, resource: Workflow | Model, persona: Persona) -> None:
        """Skip the test if a run was refused or failed that should succeed by the profile; ignores a 429."""
        is_to_succeed = is_runnable(resource) and may_run(persona, resource)
        if exchange.is_success or exchange.status == 429 or not is_to_succeed:
            return
        if persona.credits in ("enough", "granted"):
            told = f"{resource.run_operation} was answered {exchange.answer}"
            self._refusals.setdefault(persona.user, told)
            raise Untested(f"a run that succeeds: {told}")

    @property
    def unsuccessful(self) -> dict[str, str]:
        """The accounts whose runs all failed although they should not have, each with one response."""
        return {user: told for user, told in self._refusals.items() if not self.tester.runs.has_success(user)}

    def running(
        self, resource: Workflow | Model, persona: Persona, *, is_async: bool = False
    ) -> tuple[str, Persona, Call]:
        call = Call(
            path_values=resource.path_values,
            query=(("async", "true"),) if is_async else (),
            json={"inputs": dict(resource.inputs)},
            cost_credits=self.tester.price(resource),
        )
        return resource.run_operation, persona, call
