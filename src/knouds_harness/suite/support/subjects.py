"""What requests act on: resources that exist (made for the purpose where writing), and ones that do not."""

from collections.abc import Sequence
from typing import Any

from knouds_harness.contract.operations import Operation
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.effectless_requests import effectless_call
from knouds_harness.exchange.evidence import JSON, NO_BODY, Call, Exchange, members_of
from knouds_harness.exchange.execution_status import IN_FLIGHT, status_in
from knouds_harness.exchange.workflow_names import fresh_name
from knouds_harness.judging.checks.concurrency import created_slug
from knouds_harness.judging.claim import answer
from knouds_harness.suite.concurrent_tests import Made
from knouds_harness.suite.preceding_requests import DEADLINE_S
from knouds_harness.suite.tester import Tester
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.keys import AUTHOR
from knouds_harness.targets.needs.rate_limits import free_workflow, may_make_workflows, own_workflow_run
from knouds_harness.targets.needs.runs import ASYNC_RUN, is_runnable, may_run
from knouds_harness.targets.needs.workflows import ANY_MODEL, ANY_WORKFLOW, PUBLIC_WORKFLOW, subject_account
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.resources import Model, Workflow

_LONGEST_PAUSE_S = 2.0


def disputed_slug(exchange: Exchange, created: CreatedWorkflows) -> str | None:
    """The slug that a create answers, where nothing proves that it is that of a new workflow."""
    slug = created_slug(exchange) if exchange.request.operation_id == "createWorkflow" else None
    return None if slug is None or created.may_write(slug) else slug


class Subjects:
    """Resources of the profile's accounts; what is created is deleted when the run ends."""

    def __init__(self, tester: Tester) -> None:
        self.tester = tester
        self._shared = Made(tester.idle)
        self._refusals: dict[str, str] = {}
        self._submitted: list[tuple[Exchange, Persona, float | None]] = []

    def call_on_existing(self, operation: Operation) -> Call:
        """A valid request to a resource that exists; meant for keys that must be refused."""
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
        """A valid request for who has no key: to a resource that exists, where the profile offers one."""
        has_one = self.account_if_any(operation) is not None
        return self.call_on_existing(operation) if has_one else effectless_call(operation)

    def account_if_any(self, operation: Operation) -> str | None:
        """Whose the resource is that ``call_on_existing`` names; None where the profile offers none."""
        need = subject_account(operation)
        return need.find(self.tester.target) if need.missing(self.tester.target) is None else None

    def account_of(self, operation: Operation) -> str:
        """Whose the resource is that ``call_on_existing`` names; without an owner, of who may use it."""
        return self.tester.need(subject_account(operation))

    def _existing(self, operation: Operation, parameter: str) -> str:
        if parameter == "internalName":
            return self.tester.need(ANY_MODEL).name
        if parameter == "id":
            return self.execution_id
        if operation.id in ("updateWorkflow", "moveWorkflow"):
            return self.scratch_slug
        if operation.id == "deleteWorkflow":  # its own: a delete that is let through must not show elsewhere
            return self._shared.get("to delete", self.make_workflow)
        if operation.id == "getPublicWorkflowSchema":
            return self.tester.need(PUBLIC_WORKFLOW).slug
        return self._known_workflow.slug

    @property
    def _known_workflow(self) -> Workflow:
        """A workflow of the profile, or one that is made if it has none."""
        known = ANY_WORKFLOW.find(self.tester.target)
        return known or Workflow(slug=self.scratch_slug, owner=self.tester.need(AUTHOR).user)

    @property
    def scratch_slug(self) -> str:
        """A workflow that may be written at will."""
        return self._shared.get("scratch", self.make_workflow)

    def make_workflow(self, owner: Persona | None = None, **document: object) -> str:
        """A workflow that is deleted when the run ends: its slug. The usual author makes it, or ``owner``."""
        owner = owner or self.tester.need(AUTHOR)
        created, slug = self.create(owner, {"name": fresh_name("scratch"), **document})
        if slug is None:
            raise Untested(f"a workflow to write to: creating one was answered {answer(created)}")
        return slug

    def create(self, owner: Persona, document: JSON) -> tuple[Exchange, str | None]:
        """Create a workflow that is deleted when the run ends, and tell where it is.

        The test counts as untested where nothing proves that the workflow is a new one.

        Returns:
            The answer, and the slug: the answer's own, or (what create answers is assumed) that of the one
            listed workflow of this name; None where there is none.
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
        """A workflow of this account whose runs cost nothing: nothing in it generates. Deleted in the end."""
        slug = self._shared.get(
            f"free run of {owner.user}", lambda: self.make_workflow(owner, name=fresh_name("free run"))
        )
        workflow = Workflow(slug=slug, owner=owner.user, has_generator=False)
        if self.tester.price(workflow) != 0:
            raise Untested("a workflow that costs nothing to run")
        return workflow

    def cheapest_workflow(self, owner: Persona) -> Workflow:
        """A workflow of this account whose runs cost nothing, where one is known or may be made; else any."""
        known = free_workflow(self.tester.target, owner)
        if known is None and may_make_workflows(self.tester.target, owner):
            return self.free_workflow(owner)
        known = known or own_workflow_run(self.tester.target, owner)
        if known is None:
            raise Untested("a workflow that this key may run", "profile")
        return known

    def account_id(self, persona: Persona) -> str | None:
        """The id of a key's account, as whoami gives it; None where it gives none."""
        account_id = members_of(self.tester.send("getWhoami", persona).members.get("user")).get("id")
        return None if account_id is None else str(account_id)

    @property
    def execution_id(self) -> str:
        key, resource = self.tester.need(ASYNC_RUN)
        return self._shared.get(
            "execution", lambda: self.execution_id_of(self.run(resource, key, is_async=True))
        )

    def execution_id_of(self, submitted: Exchange) -> str:
        execution_id = submitted.members.get("executionId")
        if not isinstance(execution_id, str):
            raise Untested(f"an execution: submitting one was answered {answer(submitted)}")
        return execution_id

    def await_end(self, submitted: Exchange, reader: Persona, *, deadline_s: float | None) -> Exchange:
        """The last poll of an execution, when it has ended or its deadline is over."""
        call = Call(path_values={"id": self.execution_id_of(submitted)})
        waited_s, pause_s = 0.0, 0.02
        while True:
            poll = self.tester.send("getExecution", reader, call)
            if status_in(poll) not in IN_FLIGHT or waited_s >= (deadline_s or DEADLINE_S):
                return poll
            self.tester.wait(pause_s)
            waited_s += pause_s
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    def await_all_ends(self) -> None:
        """Wait until everything that was submitted here has ended, or its deadline is over."""
        while self._submitted:
            submitted, reader, deadline_s = self._submitted.pop()
            self.await_end(submitted, reader, deadline_s=deadline_s)

    def run(
        self,
        resource: Workflow | Model,
        persona: Persona,
        *,
        is_async: bool = False,
        is_refused: bool = False,
        is_throttling_expected: bool = False,
    ) -> Exchange:
        """Run a workflow or model with the inputs of the profile; it may cost what the profile says.

        ``is_refused``, the target is to refuse it, and to charge nothing for that.

        Raises:
            Untested: It failed, although the profile lets it succeed.
        """
        operation_id, persona, call = self.running(resource, persona, is_async=is_async)
        if is_refused:
            call = call.having(cost_credits=0.0)
        exchange = self.tester.send(
            operation_id, persona, call, is_throttling_expected=is_throttling_expected
        )
        if not is_refused and (not is_async or resource.polled):
            self.require_success(exchange, resource, persona)
            if is_async and self.tester.recorder.keeps_answers:  # only record waits for all of them
                self._submitted.append((exchange, persona, resource.deadline_s))
        return exchange

    def run_at_once(
        self, runs: Sequence[tuple[Persona, Workflow | Model]], *, may_fail: bool = False
    ) -> list[Exchange]:
        """Run several workflows or models at once; what is refused for its rate is run again later.

        The test counts as untested where a run fails that the profile lets succeed, unless it ``may_fail``.
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
        """Skip the test where a run was refused, or failed, that the profile lets succeed; 429 tells nothing.

        Raises:
            Untested: It was not to be refused.
        """
        is_to_succeed = is_runnable(resource) and may_run(persona, resource)
        if exchange.is_success or exchange.status == 429 or not is_to_succeed:
            return
        if persona.credits in ("enough", "granted"):
            told = f"{resource.run_operation} was answered {answer(exchange)}"
            self._refusals.setdefault(persona.user, told)
            raise Untested(f"a run that succeeds: {told}")

    @property
    def unsuccessful(self) -> dict[str, str]:
        """The accounts of which no run succeeded that was to, and how one was answered."""
        return {user: told for user, told in self._refusals.items() if not self.tester.runs.has_success(user)}

    def running(
        self, resource: Workflow | Model, persona: Persona, *, is_async: bool = False
    ) -> tuple[str, Persona, Call]:
        """The request that runs a workflow or model with the inputs of the profile."""
        call = Call(
            path_values=resource.path_values,
            query=(("async", "true"),) if is_async else (),
            json={"inputs": dict(resource.inputs)},
            cost_credits=self.tester.price(resource),
        )
        return resource.run_operation, persona, call
