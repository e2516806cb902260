"""Needs: what a check or test requires of a target's profile, and how it is found there.

If a profile does not meet a need, the facts of the check are *untested*; nothing is ever guessed. A need
requires no more than the requests of its tests do, so that one ordinary key verifies as much as it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Generic, NamedTuple, TypeVar, cast

from knouds_harness.contract.operations import Action, action_of
from knouds_harness.targets.profile import Control, Model, Persona, Target, Workflow

T_co = TypeVar("T_co", covariant=True)
R_co = TypeVar("R_co", bound=Workflow | Model, covariant=True)


@dataclass(frozen=True, kw_only=True, eq=False)  # looked up per request of load: by identity
class Need(Generic[T_co]):
    """Something that a profile may offer.

    Attributes:
        says: What is missing if nothing in the profile fits, in words.
        fitting: Returns everything in the profile that fits, the best first.
        also: Needs that must also be met, such as permissions.
    """

    says: str
    fitting: Callable[[Target], Iterable[T_co]] = field(repr=False)
    also: tuple[Need[object], ...] = field(default=(), repr=False)

    def find(self, target: Target) -> T_co | None:
        """Return the best that fits, or None; ``also`` is not considered."""
        if self not in target.found_by_need:
            target.found_by_need[self] = next(iter(self.fitting(target)), None)
        return cast("T_co | None", target.found_by_need[self])

    def met_by(self, target: Target) -> T_co | None:
        """Return the best that fits; None if the profile lacks that, or what ``also`` asks for."""
        return self.find(target) if self.missing(target) is None else None

    def missing(self, target: Target) -> str | None:
        """Return what the profile lacks, in words; None if the need and its ``also`` are met."""
        for need in self.also:
            if (says := need.missing(target)) is not None:
                return says
        return self.says if self.find(target) is None else None

    def whole(self) -> Iterator[Need[object]]:
        """Yield the needs of ``also``, recursively, and then this one."""
        for need in self.also:
            yield from need.whole()
        yield self


def missing_in(target: Target, needs: Iterable[Need[object]]) -> list[str]:
    return list(dict.fromkeys(says for need in needs if (says := need.missing(target)) is not None))


class KeyAndResource(NamedTuple, Generic[R_co]):
    key: Persona
    resource: R_co


class TwoKeys(NamedTuple):
    """Two keys to compare, of two accounts or of one."""

    first: Persona
    second: Persona


class ResourceAndStranger(NamedTuple):
    """A key with a resource that it may use, and a key of another account."""

    own: KeyAndResource[Workflow | Model]
    stranger: Persona


class Receiving(NamedTuple):
    """A key whose executions are delivered, what it may run, and a key that can read its executions."""

    key: Persona
    resource: Workflow | Model
    reader: Persona


@cache
def may(action: Action) -> Need[bool]:
    return Need(
        says=f'"{action}" in limits.allow',
        fitting=lambda target: (True,) if action in target.limits.allow else (),
    )


MAY_READ = may(Action.READ)
MAY_RUN = may(Action.RUN)
MAY_WRITE = may(Action.WRITE)
MAY_CANCEL = may(Action.CANCEL)


def forbidden_actions(target: Target, needs: Iterable[Need[object]]) -> list[Action]:
    asked = {each for need in needs for each in need.whole()}
    return [action for action in sorted(Action) if may(action) in asked and action not in target.limits.allow]


def permissions(capabilities: Sequence[str]) -> tuple[Need[object], ...]:
    actions = dict.fromkeys(map(action_of, capabilities))
    return tuple(may(action) for action in actions if action is not Action.READ)


CONTROL: Need[Control] = Need(
    says="a control plane that mints keys (the sandbox has one)",
    fitting=lambda target: filter(None, [target.control]),
)
