"""What a fault is: a promise that the sandbox can be told to break, and what it then does."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from knouds_sandbox.fault_points import Edit, Point


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One promise to break.

    Attributes:
        family: Of the checks that find it.
        is_subtle: Whether it hides: an edge, a second condition, more than one answer by itself shows.
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
    """Make a fault of a function; its id is the function's name, its docstring says what the sandbox does.

    Args:
        breaks: Id of the fact.
        where: The point at which the function is called, or what makes an edit of it, such as ``on_poll``.
            Without one, the function returns its edit, or several.
        operations: For a point: the operations on which it is called, separated by spaces; all if empty.
        is_subtle: Whether it hides.
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
