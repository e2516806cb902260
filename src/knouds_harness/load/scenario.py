"""What every scenario's users are: they act as a key of the target, within its limits, under operationIds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, ParamSpec, TypeVar

from locust.env import Environment
from locust.exception import StopUser

from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, GuardStop
from knouds_harness.load.arrival_user import ArrivalUser
from knouds_harness.load.cast import Errand, Part, senders
from knouds_harness.load.fast_session import FastSession
from knouds_harness.load.load_run import LoadRun
from knouds_harness.load.response import Response
from knouds_harness.target.personas import Persona
from knouds_harness.target.profile import Target

P = ParamSpec("P")
T = TypeVar("T")


class ScenarioUser(ArrivalUser):
    """Acts as one key of the target, and counts what it sends under operationIds.

    In the open model it serves arrivals; in the closed one it thinks for ``wait_time`` between tasks.
    """

    abstract = True

    needs: ClassVar[Collection[str]] = ()
    """Capabilities that its key has to hold."""

    crosses_limit: ClassVar[bool] = False
    """Whether it is to send more than a limit admits; then all answers are verified, unasked."""

    load_run: ClassVar[LoadRun]
    persona: Persona
    part: Part

    @classmethod
    def senders(cls, target: Target) -> tuple[Persona, ...]:
        """The keys that these users act as, in turn; see ``cast.senders``."""
        return senders(target, cls.needs, with_limit=cls.crosses_limit)

    def __init__(self, environment: Environment) -> None:
        """Take the next key."""
        super().__init__(environment)
        if self.load_run.options.client == "fast":
            self.client = FastSession(self)  # type: ignore[assignment]  # answers alike to what is asked here
        self._take_turn()

    def serve_one(self) -> None:
        """Serve an arrival with the next key: few users may serve many arrivals."""
        self._take_turn()
        super().serve_one()

    def _take_turn(self) -> None:
        self.persona, self.part = self.load_run.next_sender(type(self))
        self._headers = {"x-api-key": self.persona.secret.reveal()}

    def call(
        self,
        operation: str,
        path: str,
        *,
        method: str = "GET",
        json: Any = None,  # noqa: ANN401 - a body
        params: Mapping[str, Any] | None = None,
        name: str | None = None,
        action: Action = Action.READ,
        is_public: bool = False,
        expected: Collection[int] = (200,),
    ) -> Response:
        """Send one request, and count it under its operation.

        Args:
            operation: The operationId.
            path: From the base URL.
            method: Of HTTP.
            json: The body.
            params: The query.
            name: What statistics call it, where the operationId is not enough.
            action: What it does; the profile has to allow it.
            is_public: Sent without the key.
            expected: Statuses that count as kept.

        Raises:
            StopUser: A guard refused; the run ends.
        """
        self._within_guards(self.load_run.limits.admit, action, what=name or operation)
        with self.client.request(
            method,
            path,
            name=name or operation,
            json=json,
            params=params,
            headers=None if is_public else self._headers,
            catch_response=True,
        ) as response:
            if response.status_code in expected:
                response.success()
            elif 0 < response.status_code < 400:
                response.failure(f"{response.status_code} in place of {' or '.join(map(str, expected))}")
            self.load_run.observe(name or operation, response, sender=None if is_public else self.persona)
        return response

    def send_run(self, errand: Errand, *, asynchronous: bool = False) -> Response:
        """Run a workflow or a model, within the budget.

        Args:
            errand: What to run.
            asynchronous: Submit it, and do not wait for its result.

        Raises:
            StopUser: It does not fit into the budget; the run ends.
        """
        reserved = self._within_guards(self.load_run.limits.reserve, errand)
        response = self.call(
            errand.operation,
            errand.path,
            method="POST",
            json={"inputs": errand.inputs},
            params={"async": "true"} if asynchronous else None,
            name=f"{errand.operation} async" if asynchronous else errand.operation,
            action=Action.RUN,
            expected=(200, 202) if asynchronous else (200,),
        )
        self.load_run.limits.settle(reserved, response)
        return response

    def _within_guards(self, guarded: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return guarded(*args, **kwargs)
        except GuardStop as stop:
            self.load_run.stop(str(stop), ExitCode.GUARD)
            raise StopUser(str(stop)) from stop
