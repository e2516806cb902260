"""The decorator ``@fault``: a promise that the sandbox breaks on demand, and how."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from knouds_sandbox.fault_points import Edit, Point


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One promise to break.

    Attributes:
        family: The family of the checks that find it.
        is_subtle: Whether it is hard to find: an edge case, a second condition, or several responses.
    """

    id: str
    family: str
    fact: str
    says: str
    is_subtle: bool
    edits: tuple[Edit, ...] = field(repr=False)


def fault(
    breaks: str,
    where: Point | Callable[[Callable[..., Any]], Edit] | None = None,
    operations: str = "",
    *,
    is_subtle: bool = False,
) -> Callable[[Callable[..., Any]], Fault]:
    """Make a fault from a function, whose name is the id and whose docstring says what the sandbox does.

    Args:
        breaks: Id of the fact.
        where: The point at which the function is called, or a function such as ``on_poll`` that makes an edit
            of it. Without ``where``, the function returns its edit or edits.
        operations: With a point, the operations on which it is called, separated by spaces; empty for all.
        is_subtle: Whether the fault is hard to find.
    """

    def decorate(function: Callable[..., Any]) -> Fault:
        if where is None:
            made = function()
        elif isinstance(where, Point):
            made = Edit(point=where, operations=frozenset(operations.split()), apply=function)
        else:
            made = where(function)
        return Fault(
            id=function.__name__.replace("_", "-"),
            family=function.__module__.removeprefix(f"{__package__}.").partition(".")[0],
            fact=breaks,
            says=inspect.getdoc(function) or "",
            is_subtle=is_subtle,
            edits=made if isinstance(made, tuple) else (made,),
        )

    return decorate
