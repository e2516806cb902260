"""Faults, and the points where they act. Each point is one line of the server; the faults are in ``faults/``.

Most faults act at ``Point.ANSWER``, after the handler: they edit status, headers or body of the response.

A fault is met when it breaks its promise: an edit changes what its point decides or answers. What happens
elsewhere, such as around a handler or later, the fault says itself, by ``note_met``.
"""

import inspect
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

SENT_NAMES = "sent_header_names"
"""The key of an ASGI scope that holds the names of headers in the case in which they were sent."""


_T = TypeVar("_T")
_Handler: TypeAlias = Callable[[Any], Awaitable[Any]]


class Point(Enum):
    """Where a fault acts, with the arguments and the result of its edit there."""

    ROUTE = auto()  # the ASGI scope, before it is routed; changes its method or path
    CREDENTIALS = auto()  # keys.Credentials, before they are checked
    REQUIREMENT = auto()  # keys.CapabilityRequest; returns one that requires another capability
    CAPABILITY = auto()  # keys.CapabilityRequest and whether it is admitted; returns whether it is
    DENIED = auto()  # the call that was refused for lack of a capability
    HANDLER = auto()  # the call and its handler, which the edit calls or not
    OWNERSHIP = auto()  # the call and a resource of another account; True treats it as the account's own
    TIER = auto()  # the call, a tier and whether the account reaches it; returns whether it does
    BODY = auto()  # the call and the parsed body of the request; returns another body
    DRAFT = auto()  # the call and the NewWorkflow or ChangedWorkflow, before it is stored
    MODEL = auto()  # the call and a ProviderModel or None; returns another one
    JOB = auto()  # the call and the runs.Job, before it is run; returns another one
    FUNDS = auto()  # the call, the cost and whether there is a trial grant; True runs without enough credits
    SELECTION = auto()  # the account.RowFilter, before its rows are read
    RATE_LIMIT = auto()  # the RateLimitRules, when the server starts; returns others
    COUNT = auto()  # the call, before its request is counted; returns the Window to continue from
    RECEIVER = auto()  # whether a key may have deliveries; returns whether it may
    DELIVERY = auto()  # the run and the payloads of its end; returns other payloads
    SIGNING = auto()  # webhooks.Signing, before a delivery is signed
    SIGNATURE = auto()  # the value of the signature header; returns another value
    ANSWER = auto()  # answers.OutgoingAnswer


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """What one fault does at one point; empty ``operations`` mean every operation."""

    point: Point
    operations: frozenset[str]
    apply: Callable[..., Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One promise that the sandbox breaks on demand, which checks of its family find.

    It is subtle if it is hard to find: an edge case, a second condition, or several responses.
    """

    id: str
    family: str
    fact: str
    says: str
    is_subtle: bool
    edits: tuple[Edit, ...] = field(repr=False)


def fault(
    breaks: str,
    where: Point | Edit | Callable[[Callable[..., Any]], Edit] | None = None,
    operations: str = "",
    *,
    is_subtle: bool = False,
) -> Callable[[Callable[..., Any]], Fault]:
    """Make a fault from a function, whose name is the id and whose docstring says what the sandbox does.

    Args:
        breaks: Id of the fact.
        where: The point at which the function is called, a function such as ``on_poll`` that makes an edit of
            it, or an edit; the function then has no body. Without ``where``, it returns its edit or edits.
        operations: With a point, the operations on which it is called, separated by spaces; empty for all.
        is_subtle: Whether it is hard to find.
    """

    def decorate(function: Callable[..., Any]) -> Fault:
        if where is None or isinstance(where, Edit):
            made = where or function()
        elif isinstance(where, Point):
            made = Edit(point=where, operations=frozenset(operations.split()), apply=function)
        else:
            made = where(function)
        return Fault(
            id=function.__name__.replace("_", "-"),
            family=function.__module__.removeprefix("knouds_sandbox.faults.").partition(".")[0],
            fact=breaks,
            says=inspect.getdoc(function) or "",
            is_subtle=is_subtle,
            edits=made if isinstance(made, tuple) else (made,),
        )

    return decorate


_ACTING: ContextVar[Callable[[], None]] = ContextVar("acting")


def note_met() -> None:
    """Note that the fault whose edit runs is met; called by edits whose effect no comparison shows."""
    _ACTING.get()()


class ActiveEdits:
    """The edits of a sandbox's faults, and whether each fault was met; false if there are none."""

    def __init__(self, edits_by_fault: Mapping[str, Iterable[Edit]] = MappingProxyType({})) -> None:
        self.is_met_by_fault = dict.fromkeys(edits_by_fault, False)
        self._by_point: dict[Point, list[tuple[str, Edit]]] = defaultdict(list)
        for fault, edits in edits_by_fault.items():
            for edit in edits:
                self._by_point[edit.point].append((fault, edit))

    def __bool__(self) -> bool:
        return bool(self._by_point)

    def has(self, point: Point) -> bool:
        return point in self._by_point

    def at(
        self, point: Point, operation: str, shown: Callable[[], object] = lambda: None
    ) -> Iterator[Callable[..., Any]]:
        """Yield the edits to apply at this point of this operation, to a subject that they change in place.

        A fault is met if ``shown()``, what a client sees of the subject, differs after its edit was applied.
        """
        for fault, edit in self._of(point, operation):
            before = shown()
            with self._acting(fault):
                yield edit.apply
            if shown() != before:
                self.is_met_by_fault[fault] = True

    def changed(
        self,
        point: Point,
        operation: str,
        *context: Any,
        value: _T,
        shown: Callable[[_T], object] = lambda value: value,
    ) -> _T:
        """Return a value after the edits at this point, which are called with the context and the value."""
        for edit in self.at(point, operation):
            before = shown(value)
            value = edit(*context, value)
            if shown(value) != before:
                note_met()
        return value

    def around(self, operation: str, handle: _Handler) -> _Handler:
        for fault, edit in self._of(Point.HANDLER, operation):
            handle = partial(self._handled, fault, edit, handle)
        return handle

    def note_met_at(self, *points: Point) -> None:
        for point in points:
            self.is_met_by_fault |= {fault: True for fault, _ in self._by_point.get(point, ())}

    def _of(self, point: Point, operation: str) -> list[tuple[str, Edit]]:
        edits = self._by_point.get(point, ())
        return [each for each in edits if not each[1].operations or operation in each[1].operations]

    async def _handled(self, fault: str, edit: Edit, handle: _Handler, call: Any) -> Any:
        with self._acting(fault):
            return await edit.apply(call, handle)

    @contextmanager
    def _acting(self, fault: str) -> Iterator[None]:
        """Let ``note_met`` note this fault."""
        token = _ACTING.set(lambda: self.is_met_by_fault.update({fault: True}))
        try:
            yield
        finally:
            _ACTING.reset(token)
