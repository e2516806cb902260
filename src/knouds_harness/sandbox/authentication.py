"""Who calls: the key in ``x-api-key``, its state, and its account.

Source: docs, authentication; that an account not yet approved gets a 401 is from the overview.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from starlette.requests import Request

from knouds_harness.sandbox.accounts import Key, find_key, find_key_by_name, find_similar_key
from knouds_harness.sandbox.envelopes import Refusal, unauthorized
from knouds_harness.sandbox.store import Store

KEY_PREFIX = "knouds_live_"
_WELL_FORMED = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{16,}}")


def authenticate(request: Request, *, operation: str, store: Store, faults: Collection[str]) -> Key:
    """Find the active key of an approved account.

    Args:
        request: Carries the key.
        operation: The operation's name, which only faults look at.
        store: Holds the keys.
        faults: Promises to break.

    Raises:
        Refusal: 401, plain or ``LEGACY_KEY_RETIRED``.
    """
    presented = request.headers.getlist("x-api-key")
    if faults:
        presented = presented or _presented_elsewhere(request, operation, faults)
        if (stand_in := _stand_in(presented, operation, store, faults)) is not None:
            return stand_in
    if len(presented) != 1 or not presented[0].startswith(KEY_PREFIX):
        raise unauthorized()
    key = find_key(store, presented[0])
    if key is None and faults:
        key = _near_match(presented[0], store, faults)
    if key is None:
        if "auth-unknown-key-is-403" in faults:
            raise Refusal(403, "API_KEY_ACCESS_DENIED", "Nobody holds this key.")
        raise unauthorized()
    if key.state == "legacy" and operation == "cancelExecution" and "auth-legacy-still-cancels" in faults:
        return key
    if key.state == "legacy" and "auth-legacy-accepted" not in faults:
        if "auth-legacy-is-plain-401" in faults:
            raise unauthorized()
        raise Refusal(
            401, "LEGACY_KEY_RETIRED", "This key was made before May 2026 and is retired. Make a new one."
        )
    if key.state == "revoked" and "auth-revoked-accepted" not in faults:
        if operation == "getExecution" and "auth-revoked-still-polls" in faults:
            return key
        if operation == "listUsageModels" and "auth-revoked-still-lists-models" in faults:
            return key
        if "auth-revoked-is-403" in faults:
            raise Refusal(403, "API_KEY_ACCESS_DENIED", "This key was revoked.")
        raise unauthorized()
    if operation == "listUsageModels" and "auth-valid-key-refused" in faults:
        raise unauthorized()
    if operation == "getWhoami" and "auth-unapproved-asks-whoami" in faults:
        return key
    if not key.account.is_approved and "auth-unapproved-accepted" not in faults:
        if "auth-unapproved-is-403" in faults:
            raise Refusal(403, "API_KEY_ACCESS_DENIED", "The account is not approved yet.")
        raise unauthorized("Unauthorized: the account is not approved yet.")
    return key


def _presented_elsewhere(request: Request, operation: str, faults: Collection[str]) -> list[str]:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and "auth-bearer-accepted" in faults:
        return [credentials.strip()]
    if scheme.lower() == "bearer" and operation == "listUsage" and "auth-bearer-shows-usage" in faults:
        return [credentials.strip()]
    if "auth-query-key-accepted" in faults or (
        operation == "getExecution" and "auth-query-key-polls" in faults
    ):
        names = ("x-api-key", "api_key", "api-key", "apiKey", "apikey", "key", "token")
        return [request.query_params[name] for name in names if name in request.query_params][:1]
    return []


def _stand_in(presented: list[str], operation: str, store: Store, faults: Collection[str]) -> Key | None:
    """The key that a fault lets act for one that is missing, empty or malformed."""
    text = "".join(presented)
    if not presented and "auth-missing-key-accepted" in faults:
        return find_key_by_name(store, "full")
    if not presented and operation == "listUsage" and "auth-missing-key-sees-usage" in faults:
        return find_key_by_name(store, "full")
    if not presented and "auth-missing-key-is-403" in faults:
        raise Refusal(403, "API_KEY_ACCESS_DENIED", "Send a key in x-api-key.")
    if not presented and "auth-missing-key-is-denied" in faults:
        raise Refusal(403, "CAPABILITY_DENIED", "The key lacks a capability.", required="*")
    if presented and not text and "auth-empty-key-accepted" in faults:
        return find_key_by_name(store, "full")
    if text and not text.lower().startswith(KEY_PREFIX) and "auth-malformed-key-accepted" in faults:
        return find_key_by_name(store, "full")
    return None


def _near_match(secret: str, store: Store, faults: Collection[str]) -> Key | None:
    """The key that a fault takes for the one presented."""
    if "auth-key-case-ignored" in faults:
        return find_similar_key(store, secret, how="case")
    if "auth-cut-key-accepted" in faults:
        return find_similar_key(store, secret, how="extension")
    if "auth-last-character-ignored" in faults:
        return find_similar_key(store, secret, how="last")
    if "auth-prolonged-key-accepted" in faults:
        return find_similar_key(store, secret, how="start")
    if "auth-unknown-key-accepted" in faults and _WELL_FORMED.fullmatch(secret):
        likenesses = (find_similar_key(store, secret, how=how) for how in ("case", "extension", "start"))
        return None if any(likenesses) else find_key_by_name(store, "full")
    return None
