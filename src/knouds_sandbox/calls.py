"""The argument of each handler: the request, its key and account, and the parts of the server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from knouds_sandbox.access.network import ReceiverRules
from knouds_sandbox.access.rate_limits import RateLimiter
from knouds_sandbox.bodies import read_json
from knouds_sandbox.engine import Engine
from knouds_sandbox.fault_points import ActiveEdits, Point, note_met
from knouds_sandbox.legal.points import OWN, Choices
from knouds_sandbox.providers import Latency
from knouds_sandbox.state.accounts import Account, Key
from knouds_sandbox.state.store import Store


@dataclass(kw_only=True, slots=True)
class Services:
    """The parts of one running sandbox; only ``seed`` changes, when the state is reset.

    ``choices`` decide the open points. ``allows_prefer`` enables the header ``Prefer``. Faults keep their
    state in ``noted``.
    """

    store: Store
    engine: Engine
    limiter: RateLimiter
    latency: Latency
    seed: int
    edits: ActiveEdits
    control_token: str | None
    receivers: ReceiverRules
    choices: Choices = OWN
    allows_prefer: bool = False
    noted: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class HandlerCall:
    """One admitted request; ``limit_headers`` are sent with a successful response."""

    request: Request
    operation: str
    key: Key
    services: Services
    limit_headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def account(self) -> Account:
        return self.key.account

    @property
    def store(self) -> Store:
        return self.services.store

    @property
    def choices(self) -> Choices:
        return self.services.choices

    @property
    def is_async(self) -> bool:
        return self.request.query_params.get("async") == "true"

    def path_value(self, name: str) -> str:
        """Return a path parameter as sent; only unreserved characters are percent-decoded."""
        return str(self.request.path_params[name])

    async def read_body(self) -> Any:
        return self.edited(Point.BODY, await read_json(self.request, int(self.choices["deepest"])), repr)

    def edited(
        self, point: Point, subject: Any, shown: Callable[[Any], object] = lambda subject: subject
    ) -> Any:
        """Return the subject after the edits of faults; ``shown`` makes what is compared of it."""
        return self.services.edits.changed(point, self.operation, self, value=subject, shown=shown)

    def is_allowed_by_fault(self, point: Point, *subject: Any) -> bool:
        """Return whether a fault allows what the rules forbid."""
        for allows in self.services.edits.at(point, self.operation):
            if allows(self, *subject):
                note_met()
                return True
        return False
