"""The points where a fault can act. Each is called by one line of the server; the edits are in ``faults/``.

Most faults act at ``Point.ANSWER``, after the handler: they edit status, headers or body of the response.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

SENT_NAMES = "sent_header_names"
"""The key of an ASGI scope that holds the names of headers in the case in which they were sent."""


class Point(Enum):
    """Where a fault acts, with the arguments and the result of its edit there."""

    ROUTE = auto()  # the ASGI scope, before it is routed; changes its method or path
    CREDENTIALS = auto()  # authentication.Credentials, before they are checked
    REQUIREMENT = auto()  # capabilities.CapabilityRequest; returns another capability to require
    CAPABILITY = auto()  # capabilities.CapabilityRequest; True admits, False refuses, None asks the rule
    DENIED = auto()  # the call that was refused for lack of a capability
    HANDLER = auto()  # the call and its handler, which the edit calls or not
    OWNERSHIP = auto()  # the call and a resource of another account; True treats it as the account's own
    TIER = auto()  # the call and its account; returns the account whose tier counts
    BODY = auto()  # the call and the parsed body of the request; returns another body
    WORKFLOW_LIMIT = auto()  # the call and the account's number of workflows; True allows one more
    DRAFT = auto()  # the call and the NewWorkflow or ChangedWorkflow, before it is stored
    MODEL = auto()  # the call and a ProviderModel or None; returns another one
    JOB = auto()  # the call and the runs.Job, before it is run; returns another one
    FUNDS = auto()  # the call, the cost and whether there is a trial grant; True runs without enough credits
    SELECTION = auto()  # the usage.RowFilter, before its rows are read
    RATE_LIMIT = auto()  # no arguments, when the server starts; returns the RateLimitRules
    COUNT = auto()  # the call, before its request is counted; returns the Window to continue from
    RECEIVER = auto()  # never called: any edit here delivers to keys without webhook:receive
    DELIVERY = auto()  # the run and the payloads of its end; returns other payloads
    SIGNING = auto()  # webhooks.Signing, before a delivery is signed
    SIGNATURE = auto()  # the value of the signature header; returns another value
    END = auto()  # the run and its final status; returns the credits to charge
    ANSWER = auto()  # answers.OutgoingAnswer


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """What one fault does at one point; empty ``operations`` mean every operation."""

    point: Point
    operations: frozenset[str]
    apply: Callable[..., Any]


class ActiveEdits:
    """The edits of a sandbox's faults; false if there are none."""

    def __init__(self, edits: Iterable[Edit] = ()) -> None:
        self._by_point: dict[Point, list[Edit]] = defaultdict(list)
        for edit in edits:
            self._by_point[edit.point].append(edit)

    def __bool__(self) -> bool:
        return bool(self._by_point)

    def has(self, point: Point) -> bool:
        """Return whether a fault acts at this point."""
        return point in self._by_point

    def at(self, point: Point, operation: str) -> list[Callable[..., Any]]:
        """Return the edits to apply at this point of this operation."""
        if not self._by_point:
            return []
        return [
            edit.apply
            for edit in self._by_point.get(point, ())
            if not edit.operations or operation in edit.operations
        ]
