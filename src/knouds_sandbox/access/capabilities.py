"""Match the capabilities that a key holds with the one that an operation requires.

Source: docs, authentication; overview (the form bound to one workflow or model).
"""

from collections.abc import Collection
from dataclasses import dataclass

from knouds_sandbox.envelopes import Refusal
from knouds_sandbox.fault_points import ActiveEdits, Point


@dataclass(frozen=True, kw_only=True, slots=True)
class CapabilityRequest:
    """The capability that a request needs, and those that its key holds.

    Attributes:
        required: Such as ``workflow:run``; None if any valid key will do.
        bound_to: On run endpoints, the slug or internal name in the path, which a bound capability may name.
    """

    held: frozenset[str]
    required: str | None
    operation: str
    bound_to: str | None = None
    is_async: bool = False

    @property
    def resource(self) -> str:
        """The resource of the required capability, such as ``workflow``."""
        return (self.required or "").partition(":")[0]

    @property
    def verb(self) -> str:
        """The verb of the required capability, such as ``run``."""
        return (self.required or "").partition(":")[2]

    @property
    def alternatives(self) -> list[str]:
        """The required capability and its bound form."""
        bound = [] if self.bound_to is None else [f"{self.resource}:{self.bound_to}:{self.verb}"]
        return [self.required, *bound] if self.required else bound


def meets(held: Collection[str], required: str) -> bool:
    """Return whether a key holds ``*``, exactly this capability, or the wildcard of its resource."""
    return "*" in held or required in held or f"{required.partition(':')[0]}:*" in held


def require(asked: CapabilityRequest, edits: ActiveEdits) -> None:
    """Refuse a key that does not hold what the operation requires."""
    asked = edits.changed(Point.REQUIREMENT, asked.operation, value=asked)
    if asked.required is None:
        return
    is_admitted = meets(asked.held, asked.required) or any(each in asked.held for each in asked.alternatives)
    if not edits.changed(Point.CAPABILITY, asked.operation, asked, value=is_admitted):
        alternatives = asked.alternatives
        error = f"This needs a key with {' or '.join(alternatives)}."
        raise Refusal(403, "CAPABILITY_DENIED", error, required=alternatives)
