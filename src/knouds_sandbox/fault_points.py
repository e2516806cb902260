"""The points at which a fault can act. Each is one line of the server; ``faults/`` says what happens there.

Most faults step in at ``Point.ANSWER``: the handler has answered, and they edit status, headers or body.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any


class Point(Enum):
    """Where a fault steps in, and with what its edit is called there."""

    ROUTE = auto()  # the ASGI scope, before it is routed; changes its method or path
    CREDENTIALS = auto()  # authentication.Credentials, before they are judged
    REQUIREMENT = auto()  # capabilities.Asked; returns another capability to require
    CAPABILITY = auto()  # capabilities.Asked; True admits, False refuses, None leaves it to the rule
    DENIED = auto()  # the call that was refused for a capability
    HANDLER = auto()  # the call and its handler, to be called or not
    OWNERSHIP = auto()  # the call and a resource of another account; True takes it for the account's own
    TIER = auto()  # the call and its account; returns the account whose tier counts
    BODY = auto()  # the call and the request's parsed body; returns another
    WORKFLOW_LIMIT = auto()  # the call and how many workflows the account has; True allows one more
    DRAFT = auto()  # the call and the NewWorkflow or ChangedWorkflow that is about to be stored
    MODEL = auto()  # the call and a ProviderModel; returns another
    JOB = auto()  # the call and the runs.Job that is about to be run; returns another
    FUNDS = auto()  # the call, the cost and whether there is a trial grant; True runs without enough credits
    SELECTION = auto()  # the usage.Selection of rows that is about to be read
    RATE_LIMIT = auto()  # makes the RateLimitRules, when the server starts
    COUNT = auto()  # the call before its request is counted; returns the Window to count on from
    RECEIVER = auto()  # delivers to keys without webhook:receive if there is any edit
    DELIVERY = auto()  # the run and the payloads of its end; returns others
    SIGNING = auto()  # webhooks.Signing, before a delivery is signed
    SIGNATURE = auto()  # the signature's header; returns another
    END = auto()  # the run and the status that it ends with; returns the credits that are charged
    ANSWER = auto()  # answers.OutgoingAnswer


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """What one fault does at one point; ``operations`` is empty where it does so on every operation."""

    point: Point
    operations: frozenset[str]
    apply: Callable[..., Any]


class ActiveEdits:
    """The edits of a sandbox's faults; false where there is none."""

    def __init__(self, edits: Iterable[Edit] = ()) -> None:
        self._by_point: dict[Point, list[Edit]] = defaultdict(list)
        for edit in edits:
            self._by_point[edit.point].append(edit)

    def __bool__(self) -> bool:
        return bool(self._by_point)

    def has(self, point: Point) -> bool:
        """Whether a fault steps in at this point."""
        return point in self._by_point

    def at(self, point: Point, operation: str) -> list[Callable[..., Any]]:
        """What to do at this point of this operation."""
        if not self._by_point:
            return []
        return [
            edit.apply
            for edit in self._by_point.get(point, ())
            if not edit.operations or operation in edit.operations
        ]
