"""Authentication: the key in ``x-api-key``, its state, and its account.

Source: docs, authentication; overview (401 for an account that is not approved yet).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from knouds_sandbox.envelopes import Refusal, unauthorized
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
    presented = request.headers.getlist("x-api-key")
    if edits:
        given = Credentials(request=request, store=store, presented=presented)
        for apply in edits.at(Point.CREDENTIALS, operation, lambda: _shown(given)):
            apply(given)
        return _accepted(given)
    return _active_key(store, presented)


def _accepted(given: Credentials) -> Key:
    return given.accepted or _active_key(given.store, given.presented)


def _shown(given: Credentials) -> object:
    """Return the key that is accepted, or the code of the refusal."""
    try:
        return _accepted(given)
    except Refusal as refusal:
        return refusal.code


def _active_key(store: Store, presented: Sequence[str]) -> Key:
    if len(presented) != 1 or not presented[0].startswith(KEY_PREFIX):
        raise unauthorized()
    key = find_key(store, presented[0])
    if key is None or key.state == "revoked":
        raise unauthorized()
    if key.state == "legacy":
        raise Refusal(
            401, "LEGACY_KEY_RETIRED", "This key was made before May 2026 and is retired. Make a new one."
        )
    if not key.account.is_approved:
        raise unauthorized("Unauthorized: the account is not approved yet.")
    return key
