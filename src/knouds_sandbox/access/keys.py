"""Admit a key: it is known and active, its account is approved, and its capabilities meet the operation.

Source: docs, authentication; overview (401 for an account that is not approved yet; the form of a capability
that is bound to one workflow or model).
"""

from collections.abc import Collection
from dataclasses import dataclass

from starlette.requests import Request

from knouds_sandbox.bodies import Refusal, unauthorized
from knouds_sandbox.fault_points import ActiveEdits, Point
from knouds_sandbox.state.accounts import Key, find_key
from knouds_sandbox.state.store import Store

KEY_PREFIX = "knouds_live_"


@dataclass(kw_only=True, slots=True)
class Credentials:
    """The keys of a request; ``accepted`` is a key that a fault admits without a check."""

    request: Request
    store: Store
    presented: list[str]
    accepted: Key | None = None

    @property
    def key(self) -> Key | None:
        """The key of the request, in any state; None if there are several, or it is unknown."""
        return find_key(self.store, self.presented[0]) if len(self.presented) == 1 else None


def authenticate(request: Request, *, operation: str, store: Store, edits: ActiveEdits) -> Key:
    """Return the active key of an approved account, or refuse with 401, plain or ``LEGACY_KEY_RETIRED``."""
    given = Credentials(request=request, store=store, presented=request.headers.getlist("x-api-key"))
    for apply in edits.at(Point.CREDENTIALS, operation, lambda: _shown(given)):
        apply(given)
    return _accepted(given)


def _shown(given: Credentials) -> object:
    try:
        return _accepted(given)
    except Refusal as refusal:
        return refusal.code


def _accepted(given: Credentials) -> Key:
    if given.accepted:
        return given.accepted
    key = given.key if "".join(given.presented).startswith(KEY_PREFIX) else None
    if key is None or key.state == "revoked":
        raise unauthorized()
    if key.state == "legacy":
        raise Refusal(
            401, "LEGACY_KEY_RETIRED", "This key was made before May 2026 and is retired. Make a new one."
        )
    if not key.account.is_approved:
        raise unauthorized("Unauthorized: the account is not approved yet.")
    return key


@dataclass(frozen=True, kw_only=True, slots=True)
class CapabilityRequest:
    """The capability that a request needs, None if any valid key will do, and those that its key holds.

    ``bound_to`` is the slug or internal name in the path of a run, which a bound capability may name.
    """

    held: frozenset[str]
    required: str | None
    operation: str
    bound_to: str | None = None
    is_async: bool = False

    @property
    def resource(self) -> str:
        return (self.required or "").partition(":")[0]

    @property
    def verb(self) -> str:
        return (self.required or "").partition(":")[2]

    @property
    def alternatives(self) -> list[str]:
        bound = [] if self.bound_to is None else [f"{self.resource}:{self.bound_to}:{self.verb}"]
        return [self.required, *bound] if self.required else bound


def meets(held: Collection[str], required: str) -> bool:
    """Return whether a key holds ``*``, exactly this capability, or the wildcard of its resource."""
    return "*" in held or required in held or f"{required.partition(':')[0]}:*" in held


def require(asked: CapabilityRequest, edits: ActiveEdits) -> None:
    asked = edits.changed(Point.REQUIREMENT, asked.operation, value=asked)
    if asked.required is None:
        return
    is_admitted = meets(asked.held, asked.required) or any(each in asked.held for each in asked.alternatives)
    if not edits.changed(Point.CAPABILITY, asked.operation, asked, value=is_admitted):
        alternatives = asked.alternatives
        error = f"This needs a key with {' or '.join(alternatives)}."
        raise Refusal(403, "CAPABILITY_DENIED", error, required=alternatives)
