"""What a test sends to one operation, as a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from knouds_harness.contract.operations import Action, Operation
from knouds_harness.exchange.evidence import Request

NO_BODY: Final = object()


@dataclass(frozen=True, kw_only=True)
class Call:
    """What to send to one operation.

    Attributes:
        path_values: By path parameter.
        query: Name and value, in order.
        json: The body, encoded as JSON; ``NO_BODY`` for none.
        raw: The body as bytes, sent as JSON all the same; wins over ``json``.
        headers: Besides those that the client sends.
        cost_credits: The most that the target may charge; 0 where it has to refuse, or the run is free. What
            it would charge if it did not refuse is reserved all the same.
    """

    path_values: Mapping[str, str] = field(default_factory=dict)
    query: tuple[tuple[str, str], ...] = ()
    json: Any = NO_BODY
    raw: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    cost_credits: float = 0.0

    def having(self, **changes: Any) -> Call:  # noqa: ANN401 - each member has its own type
        """The same call with some members replaced."""
        return replace(self, **changes)

    def encoded_body(self) -> bytes | None:
        """The body as it is sent."""
        if self.raw is not None or self.json is NO_BODY:
            return self.raw
        return json.dumps(self.json).encode()

    def all_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers, with the content type that a body asks for."""
        names = {name.lower() for name, _ in self.headers}
        if self.encoded_body() is None or "content-type" in names:
            return self.headers
        return (*self.headers, ("content-type", "application/json"))

    def request(self, operation: Operation, *, persona: str | None, action: Action) -> Request:
        """This call as one operation's request.

        Args:
            operation: Where to.
            persona: Whose key is added; None adds no key.
            action: What it may do to the target.
        """
        return Request(
            method=operation.method,
            path=operation.url_path(self.path_values),
            query=self.query,
            headers=self.all_headers(),
            body=self.encoded_body(),
            operation_id=operation.id,
            persona=persona,
            path_values=self.path_values,
            action=action,
            cost_credits=self.cost_credits,
        )
