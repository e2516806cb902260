"""What a need is: something that a profile may offer, and what it is called where it is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Generic, NamedTuple, TypeVar, cast

from knouds_harness.contract.operations import Action
from knouds_harness.targets.profile import Control, Model, Persona, Target, Workflow

T_co = TypeVar("T_co", covariant=True)
R_co = TypeVar("R_co", bound=Workflow | Model, covariant=True)


@dataclass(frozen=True, kw_only=True, eq=False)  # looked up with each request of a load, so by identity
class Need(Generic[T_co]):
    """Something that a profile may offer.

    Attributes:
        says: What is missing, in words, where nothing in the profile fits.
        fitting: All in the profile that fits, the best first.
        besides: What has to be there as well, such as permissions.
    """

    says: str
    fitting: Callable[[Target], Iterable[T_co]] = field(repr=False)
    besides: tuple[Need[object], ...] = field(default=(), repr=False)

    def find(self, target: Target) -> T_co | None:
        """The best that fits, whether or not what is needed besides is there."""
        if self not in target.found_by_need:
            target.found_by_need[self] = next(iter(self.fitting(target)), None)
        return cast("T_co | None", target.found_by_need[self])

    def missing(self, target: Target) -> str | None:
        """What the profile lacks for it, in words; None where it is all there."""
        for need in self.besides:
            if (says := need.missing(target)) is not None:
                return says
        return self.says if self.find(target) is None else None

    def whole(self) -> Iterator[Need[object]]:
        """What is needed besides, and then this."""
        for need in self.besides:
            yield from need.whole()
        yield self


def missing_in(target: Target, needs: Iterable[Need[object]]) -> list[str]:
    """What a profile lacks of several needs, in words."""
    return list(dict.fromkeys(says for need in needs if (says := need.missing(target)) is not None))


class KeyAndResource(NamedTuple, Generic[R_co]):
    """A key, and a workflow or model that it may use."""

    key: Persona
    resource: R_co


class OnLastCredits(NamedTuple):
    """A key of an account with so many credits and no more, and what it may run."""

    key: Persona
    resource: Workflow | Model
    credits: float


class TwoKeys(NamedTuple):
    """Two keys that are compared, of two accounts or of one."""

    first: Persona
    second: Persona


class ResourceAndStranger(NamedTuple):
    """What one account may use, and a key of another account."""

    own: KeyAndResource[Workflow | Model]
    stranger: Persona


class Receiving(NamedTuple):
    """A key whose executions are delivered, what it may run, and a key that reads its executions."""

    key: Persona
    resource: Workflow | Model
    reader: Persona


def given(thing: T_co | None) -> Iterable[T_co]:
    """What fits, where there is one such thing or none."""
    return () if thing is None else (thing,)


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
_PERMISSION_BY_CAPABILITY: Final[dict[str, Need[object]]] = {
    "workflow:write": MAY_WRITE,
    "workflow:run": MAY_RUN,
    "model:run": MAY_RUN,
    "execution:cancel": MAY_CANCEL,
}


def forbidden_actions(target: Target, needs: Iterable[Need[object]]) -> list[Action]:
    """The kinds of action that needs ask for and a profile does not allow."""
    asked = {each for need in needs for each in need.whole()}
    return [action for action in sorted(Action) if may(action) in asked and action not in target.limits.allow]


def permissions(capabilities: Sequence[str]) -> tuple[Need[object], ...]:
    """What a profile has to allow for these capabilities to be used."""
    needed = [_PERMISSION_BY_CAPABILITY.get(each) for each in capabilities]
    return tuple(dict.fromkeys(each for each in needed if each is not None))


CONTROL: Need[Control] = Need(
    says="a control plane that mints keys (the sandbox has one)", fitting=lambda target: given(target.control)
)
