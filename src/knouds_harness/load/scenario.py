"""The user class of scenarios: sends with a key of the target, within its limits; counts by operationId."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from locust.env import Environment
from locust.exception import CatchResponseError, StopUser

from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, GuardStop, UsageError
from knouds_harness.exchange.created_workflows import name_with
from knouds_harness.exchange.creation_record import Creation
from knouds_harness.load.arrivals.arrival_user import ArrivalUser
from knouds_harness.load.client.response import Response
from knouds_harness.load.client.session import SomeHeaders
from knouds_harness.load.generator.generating_run import GeneratingRun
from knouds_harness.load.invariants.verification import parsed
from knouds_harness.load.workload.accounts import RUNS, AccountKeys, RunRequest
from knouds_harness.load.workload.workload import Task, TaskAccount
from knouds_harness.runs.operation_load import COUNT, TIME, labelled
from knouds_harness.targets.needs.runs import RunNeed
from knouds_harness.targets.resources import Persona

_WITHOUT_KEY: Final[SomeHeaders] = (("x-api-key", None),)


class ScenarioUser(ArrivalUser):
    """Sends with a key of the target, and counts its requests by operationId.

    In the open model it serves arrivals; in the closed model it waits ``wait_time`` between tasks.
    """

    abstract = True

    needs: ClassVar[Collection[str]] = ()
    """Capabilities that its key must hold for tasks that do not declare what they need."""

    crosses_limit: ClassVar[bool] = False
    """Whether it is meant to exceed a rate limit; then all responses are verified."""

    rate: ClassVar[float | None] = None
    """Tasks started per second, if each scenario of the file has a rate of its own (in place of ``--rate``).

    Its requests are then counted under the name of the class and the operation: ``Readers: getWhoami``.
    """

    load_run: GeneratingRun
    account: AccountKeys
    persona: Persona
    """The key that ``client`` sends by default."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.client.is_traced = self.load_run.is_traced
        self.client.admit = self._admit
        self._user_tasks = self.load_run.tasks_of(type(self))
        self._own_tasks = self._user_tasks.tasks
        self._label = "" if self.rate is None else labelled(type(self).__name__, "")
        self._turn: TaskAccount | None = None
        self.take_turn(self._own_tasks[0])

    def take_turn(self, task: Task) -> None:
        """Switch to the next account that can do the task.

        In the closed model, the Locust file's own tasks keep the current account.
        """
        if self._turn is not None and self.arrivals is None and task in self._user_tasks.own_tasks:
            return
        turn = next(self._user_tasks.turns[task])
        if turn is not self._turn:
            self._turn = turn
            self.account, self.persona, self._others = turn.account, turn.persona, turn.others
            self._added = {("Host", self.client.client.origin.authority), *turn.sender_headers}
            self.client.act_as(turn.sender_headers)

    def choose(self, need: RunNeed[Any]) -> RunRequest:
        """Choose what the account runs: the next line of ``--inputs``, or at random without such a file.

        Raises:
            UsageError: The account can run nothing that meets the need.
        """
        run_requests = self.account.run_requests(need)
        if not run_requests:
            raise UsageError(
                f"the account {self.account.user} needs {' and '.join(self.account.lacks([need]))}"
            )
        turns = self.load_run.input_turns
        if turns is not None:
            return turns.next(self.account, need)
        return run_requests[0] if len(run_requests) == 1 else self.chance.choice(run_requests)

    def call(
        self,
        operation: str,
        path: str,
        *,
        method: str = "GET",
        json: Any = None,  # noqa: ANN401 - a body
        params: Mapping[str, Any] | None = None,
        name: str | None = None,
        is_public: bool = False,
        expected: Collection[int] = (200,),
        runner: Persona | None = None,
        reserved: int | None = None,
    ) -> Response:
        """Send one request, and count it under its operation.

        Args:
            operation: The operationId.
            path: Relative to the base URL.
            method: The HTTP method.
            json: The body.
            params: The query.
            name: Its name in statistics, if not the operationId; labels before that, as in
                ``large: listUsage``, group requests.
            is_public: Send it without a key; otherwise a key of the account that may send it is used.
            expected: Status codes that count as ok.
            runner: The key that started the run in question, if any; it also sends this request, if it may.
            reserved: What is reserved for it, if it runs something; ``send_run`` reserves.

        Raises:
            StopUser: A guard refused it, such as a run for which nothing is reserved; the run ends.
            NotCreatedHere: It would change a workflow that this run did not create.
        """
        run, client, name = self.load_run, self.client, name or operation
        persona = self._sender(operation, runner)
        url = f"{path}{'&' if '?' in path else '?'}{urlencode(params, doseq=True)}" if params else path
        key = _WITHOUT_KEY
        if not is_public:
            key = () if persona is self.persona else (("x-api-key", persona.secret.reveal()),)
        head = client.head_of(method, url, key, "" if json is None else "application/json")
        if head.client is not client.client:
            raise self._ended(GuardStop(f"{method} {path}: goes to another server than the profile's"))
        try:
            effect = run.limits.admit(head.encoded, added=self._added, is_reserved=reserved is not None)
        except GuardStop as stop:
            raise self._ended(stop) from stop
        creation = None
        if Action.WRITE in effect.actions:
            creation = run.created.admit(method, path, json, persona=persona.name, user=persona.user)
        number = run.workflow_log.begin(operation, path, json)
        counted_as = self._label + name
        response = client.exchange(head, method, url, json, name=counted_as)
        exception = None
        if response.status_code not in expected:
            exception = response.failure_by_status() or CatchResponseError(
                f"{response.status_code} instead of {' or '.join(map(str, expected))}"
            )
        slug, is_own = self._settle(creation, response) if creation else (None, True)
        if not is_own:
            exception = CatchResponseError("a slug that is not made of the name that was sent")
        if method == "DELETE" and 200 <= response.status_code < 300:
            for deleted in effect.names(Action.WRITE):
                run.created.note_deleted(deleted)
        run.observe(name, response, sender=None if is_public else runner or persona, label=self._label)
        if number is not None:
            run.workflow_log.end(number, response, slug=slug, is_own=is_own)
        response.verdict = exception or True
        client.tell(response, counted_as, exception)
        return response

    def count(self, name: str, amount: float = 1) -> None:
        """Add an amount to a counter of one's own, such as cache hits; 0 makes the counter known.

        Raises:
            ValueError: The amount is negative, or not finite.
        """
        self.load_run.seconds.recorder.add(self._label + name, COUNT, amount)

    def record_time(self, name: str, duration_ms: float) -> None:
        """Record a time that is not that of a request, such as that of a whole task.

        Raises:
            ValueError: It is negative, or not finite.
        """
        self.load_run.seconds.recorder.add(self._label + name, TIME, duration_ms)

    def workflow_name(self, words: str) -> str:
        """Make a name for a new workflow; it holds the run's token, needed to change or delete it."""
        return name_with(self.load_run.options.name_token, words)

    def _settle(self, creation: Creation, response: Response) -> tuple[str | None, bool]:
        """Note which workflow a create made; return the slug that was told, and whether it is its own."""
        self.load_run.created.settle(creation, response.status_code or None, parsed(response))
        return creation.slug, creation.slug is None or not creation.is_disputed

    def _sender(self, operation: str, runner: Persona | None) -> Persona:
        if runner is None or runner is self.persona:
            return self._others.get(operation, self.persona) if self._others else self.persona
        if operation in RUNS:
            return runner
        return self.account.key_for(operation, first=runner) or self.persona

    def send_run(self, run_request: RunRequest, *, asynchronous: bool = False) -> Response:
        """Run a workflow or a model, within the budget.

        Args:
            run_request: What to run.
            asynchronous: Submit it, and do not wait for its result.

        Raises:
            StopUser: The budget does not allow it; the load run ends.
        """
        limits = self.load_run.limits
        try:
            reserved = limits.reserve(run_request)
            try:
                response = self.call(
                    run_request.operation,
                    run_request.path,
                    method="POST",
                    json={"inputs": run_request.inputs},
                    params={"async": "true"} if asynchronous else None,
                    name=f"{run_request.operation} async" if asynchronous else run_request.operation,
                    expected=(200, 202) if asynchronous else (200,),
                    runner=run_request.persona,
                    reserved=reserved,
                )
            except BaseException:  # killed at the end of the load, perhaps after sending
                limits.budget.settle(reserved, None)
                raise
            limits.settle(reserved, response, run_request, may_be_throttled=self.crosses_limit)
        except GuardStop as stop:
            raise self._ended(stop) from stop
        return response

    def _admit(self, request: bytes) -> None:
        """Keep the limits for what a task sends through ``client`` itself, and not through ``call``."""
        try:
            self.load_run.limits.admit_bytes(request, added=self._added)
        except GuardStop as stop:
            raise self._ended(stop) from stop

    def _ended(self, stop: GuardStop) -> StopUser:
        self.load_run.stop(str(stop), ExitCode.GUARD)
        return StopUser(str(stop))
