"""Faults: who is let in: keys, whoami, what a tier grants."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from knouds_sandbox.access.authentication import KEY_PREFIX, Credentials
from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.fault_points import Edit, Point
from knouds_sandbox.faults.editing import (
    AnswerEdit,
    Edits,
    at,
    changed,
    in_the_name_of_the_last,
    on_answer,
    on_refusal,
    on_success,
    refused,
    where,
    with_body,
    with_value,
    without,
)
from knouds_sandbox.faults.fault_types import Subtle, Table
from knouds_sandbox.providers import MODELS
from knouds_sandbox.state.accounts import Key, as_user, find_key, find_key_by_name, find_key_where

FAULTS: Table = {
    "auth.key-in-x-api-key": {
        "auth-valid-key-refused": "Usage models refuses every key.",
    },
    "auth.missing-key-is-401": {
        "auth-missing-key-accepted": "A request without a key acts as the enterprise account.",
        "auth-missing-key-sees-usage": Subtle("Usage alone answers without a key."),
        "auth-missing-key-is-403": "A request without a key is a 403.",
    },
    "auth.before-capability": {
        "auth-missing-key-is-denied": "A request without a key is refused for a capability.",
    },
    "auth.refusal-tells-nothing": {
        "auth-missing-key-tells-slugs": Subtle("Without a key, an unknown slug is a 401 with another code."),
        "auth-wrong-key-tells-slugs": Subtle("With a wrong key, the 401 of an unknown slug has `required`."),
        "auth-wrong-key-tells-models": Subtle(
            "With a wrong key, an unknown model is a 401 with another code."
        ),
    },
    "auth.empty-key-is-401": {
        "auth-empty-key-accepted": "An empty key acts as the enterprise account.",
    },
    "auth.malformed-key-is-401": {
        "auth-malformed-key-accepted": "A key without the prefix acts as the enterprise account.",
    },
    "auth.unknown-key-is-401": {
        "auth-unknown-key-accepted": "A well-formed key that nobody holds acts as the enterprise account.",
        "auth-unknown-key-is-403": "A key that nobody holds is a 403.",
    },
    "auth.altered-key-is-401": {
        "auth-key-case-ignored": Subtle("Keys are compared without regard to case."),
        "auth-cut-key-accepted": Subtle("The beginning of a key is taken for the key."),
        "auth-prolonged-key-accepted": Subtle("A key with something appended is taken for the key."),
        "auth-last-character-ignored": Subtle("The last character of a key does not matter."),
    },
    "auth.revoked-key-is-401": {
        "auth-revoked-accepted": "A revoked key still works.",
        "auth-revoked-still-polls": Subtle("A revoked key still polls executions."),
        "auth-revoked-is-403": "A revoked key is a 403.",
        "auth-revoked-still-lists-models": Subtle("A revoked key still lists the models of its usage."),
    },
    "auth.legacy-key-is-401-retired": {
        "auth-legacy-accepted": "A key made before May 2026 still works.",
        "auth-legacy-is-plain-401": "A key made before May 2026 gets the plain 401.",
        "auth-legacy-still-cancels": Subtle("A key made before May 2026 still cancels executions."),
    },
    "auth.unapproved-account-is-401": {
        "auth-unapproved-accepted": "A key of an account not yet approved works.",
        "auth-unapproved-is-403": "A key of an account not yet approved is a 403.",
        "auth-unapproved-asks-whoami": Subtle("A key of an account not yet approved may ask whoami."),
    },
    "auth.bearer-is-not-accepted": {
        "auth-bearer-accepted": "A key in Authorization: Bearer works.",
        "auth-bearer-shows-usage": Subtle("A key in Authorization: Bearer shows usage, and nothing else."),
    },
    "auth.query-key-is-not-accepted": {
        "auth-query-key-accepted": "A key in the query string works.",
        "auth-query-key-polls": Subtle("A key in the query string polls executions, and nothing else."),
    },
    "auth.session-paths-refuse-keys": {
        "auth-session-me-open": "/api/me answers any key.",
        "auth-session-credits-open": "/api/credits/* answers any key.",
        "auth-session-keys-open-to-star": Subtle("/api/api-keys/* answers a key that holds *."),
        "auth-session-admin-open": Subtle("/api/business/admin/* answers an administrator's key."),
    },
    "auth.public-operations-need-no-key": {
        "auth-public-schema-needs-key": "The public schema wants a key.",
        "auth-pricing-needs-key": "Public pricing wants a key.",
        "auth-health-needs-key": "Health wants a key.",
    },
    "whoami.user-object": {
        "whoami-without-user-object": "whoami answers the user's members at the top.",
        "whoami-lacks-email": "The user has no email.",
        "whoami-lacks-email-without-capabilities": Subtle("A key without capabilities is shown no email."),
    },
    "whoami.role-closed": {
        "whoami-role-in-capitals": "role is in capitals.",
        "whoami-role-is-owner": "role is owner.",
        "whoami-admin-is-superuser": Subtle("The role of an administrator is superuser."),
    },
    "whoami.tier-is-string": {
        "whoami-tier-as-number": "tier is a number.",
        "whoami-tier-in-object": "tier is an object.",
    },
    "whoami.approved-is-true": {
        "whoami-approved-as-text": "approved is a text.",
    },
    "whoami.is-the-key-owner": {
        "whoami-describes-another": "whoami describes someone else.",
        "whoami-at-once-mixed-up": Subtle("Of requests at once to whoami, some describe another's account."),
        "whoami-admin-is-user": "whoami says of an administrator that it is a user.",
        "whoami-second-key-describes-another": Subtle(
            "The second key of an account is said to be someone else's."
        ),
    },
    "tier.rate-limit-pro": {
        "tier-pro-limit-is-60": "A pro account is held to 60 requests.",
        "tier-pro-limit-is-99": Subtle("A pro account is held to 99 requests."),
    },
    "tier.rate-limit-business": {
        "tier-business-limit-is-100": "A business account is held to 100 requests.",
    },
    "tier.rate-limit-enterprise": {
        "tier-enterprise-is-limited": "An enterprise account is held to 1,000 requests.",
    },
    "tier.admin-bypasses-gates": {
        "tier-admin-is-limited": "An administrator is held to 100 requests.",
        "tier-gate-holds-administrators": Subtle("Administrators are under the tier of every model."),
    },
}

_PLAIN_401 = refused(401, "UNAUTHORIZED", "Unauthorized: send a valid key in x-api-key.")
_WELL_FORMED = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{16,}}")
_QUERY_NAMES = ("x-api-key", "api_key", "api-key", "apiKey", "apikey", "key", "token")
_SIMILAR = {
    "case": "lower(secret) = lower(:secret)",
    "last": "substr(secret, 1, length(secret) - 1) = substr(:secret, 1, length(secret) - 1)"
    " AND length(secret) = length(:secret)",
    "start": "substr(:secret, 1, length(secret)) = secret",
    "extension": "length(:secret) > 12 AND substr(secret, 1, length(:secret)) = :secret",
}
"""Keys that differ from ``:secret`` in case or the last character, or that start or extend it."""


def _accepted_in_state(is_meant: Callable[[Key], bool], operations: str = "") -> Edit:
    """Let a key in whatever its state."""

    def apply(given: Credentials) -> None:
        key = find_key(given.store, given.presented[0]) if len(given.presented) == 1 else None
        if key is not None and is_meant(key):
            given.accepted = key

    return at(Point.CREDENTIALS, operations, apply)


def _taken_for_full(is_meant: Callable[[Credentials], bool], operations: str = "") -> Edit:
    """Let the enterprise account's key stand in."""

    def apply(given: Credentials) -> None:
        if is_meant(given):
            given.accepted = find_key_by_name(given.store, "full")

    return at(Point.CREDENTIALS, operations, apply)


def _is_unapproved(key: Key) -> bool:
    return key.state == "active" and not key.account.is_approved


def _is_nobodys(given: Credentials) -> bool:
    """Whether a well-formed key is presented that is like none."""
    secret = "".join(given.presented)
    return bool(_WELL_FORMED.fullmatch(secret)) and not any(
        _similar(given, how) for how in ("case", "extension", "start")
    )


def _similar(given: Credentials, how: str) -> Key | None:
    return find_key_where(given.store, _SIMILAR[how], {"secret": "".join(given.presented)})


def _taken_for_similar(how: str) -> Edit:
    """Take a key for another that it resembles."""

    def apply(given: Credentials) -> None:
        if (
            len(given.presented) == 1
            and given.presented[0].startswith(KEY_PREFIX)
            and find_key(given.store, given.presented[0]) is None
            and (similar := _similar(given, how))
        ):
            given.presented = [similar.secret]

    return at(Point.CREDENTIALS, "", apply)


def _read_bearer(given: Credentials) -> None:
    scheme, _, credentials = given.request.headers.get("authorization", "").partition(" ")
    if not given.presented and scheme.lower() == "bearer":
        given.presented = [credentials.strip()]


def _read_query(given: Credentials) -> None:
    if not given.presented:
        query = given.request.query_params
        given.presented = [query[name] for name in _QUERY_NAMES if name in query][:1]


def _on_401(is_meant: Callable[[OutgoingAnswer], object], edit: AnswerEdit) -> Edit:
    return on_refusal(where(is_meant, edit), status=401)


def _on_401_of(is_meant: Callable[[Key], bool], error: str) -> Edit:
    """Refuse a key with 403."""
    return _on_401(
        lambda answer: answer.key is not None and is_meant(answer.key),
        refused(403, "API_KEY_ACCESS_DENIED", error),
    )


def _lacks_key(answer: OutgoingAnswer) -> bool:
    return bool(answer.operation) and "x-api-key" not in answer.request.headers


def _has_unknown_key(answer: OutgoingAnswer) -> bool:
    presented = answer.request.headers.getlist("x-api-key")
    return len(presented) == 1 and presented[0].startswith(KEY_PREFIX) and answer.key is None


def _names_unknown_slug(answer: OutgoingAnswer) -> bool:
    slug = answer.path_params.get("slug")
    return slug is not None and answer.store.row("SELECT 1 FROM workflows WHERE slug = ?", slug) is None


def _opened(
    path: str, make: Callable[[Key], dict[str, Any]], is_meant: Callable[[Key], bool] = lambda _: True
) -> Edit:
    """Answer a key on paths that are for browser sessions."""

    def apply(answer: OutgoingAnswer) -> None:
        key = answer.key
        is_open = answer.request.url.path.startswith(path)
        if is_open and key and key.state == "active" and key.account.is_approved and is_meant(key):
            answer.status, answer.body = 200, make(key)

    return on_refusal(apply, status=401)


def _needs_key(operation: str) -> Edit:
    return on_answer(operation, where(lambda answer: not answer.request.headers.get("x-api-key"), _PLAIN_401))


def _user_where(is_meant: Callable[[Key], bool], edit: AnswerEdit) -> Edit:
    """Edit whoami's answer to some keys."""
    return on_success("getWhoami", where(lambda answer: answer.key and is_meant(answer.key), edit))


def _describe_the_stranger(answer: OutgoingAnswer) -> None:
    answer.body["user"] = as_user(find_key_by_name(answer.store, "stranger").account)


EDITS: Edits = {
    "auth-valid-key-refused": on_success("listUsageModels", _PLAIN_401),
    "auth-missing-key-accepted": _taken_for_full(lambda given: not given.presented),
    "auth-missing-key-sees-usage": _taken_for_full(lambda given: not given.presented, "listUsage"),
    "auth-missing-key-is-403": _on_401(
        _lacks_key, refused(403, "API_KEY_ACCESS_DENIED", "Send a key in x-api-key.")
    ),
    "auth-missing-key-is-denied": _on_401(
        _lacks_key, refused(403, "CAPABILITY_DENIED", "The key lacks a capability.", required="*")
    ),
    "auth-missing-key-tells-slugs": _on_401(
        lambda answer: _lacks_key(answer) and _names_unknown_slug(answer),
        refused(401, "UNKNOWN_WORKFLOW", "Unauthorized."),
    ),
    "auth-wrong-key-tells-slugs": _on_401(
        lambda answer: not _lacks_key(answer) and answer.key is None and _names_unknown_slug(answer),
        refused(401, "UNAUTHORIZED", "Unauthorized.", required=["workflow:read"]),
    ),
    "auth-wrong-key-tells-models": _on_401(
        lambda answer: (
            not _lacks_key(answer)
            and answer.key is None
            and answer.path_params.get("internalName", next(iter(MODELS))) not in MODELS
        ),
        refused(401, "NO_SUCH_MODEL", "There is no such model."),
    ),
    "auth-empty-key-accepted": _taken_for_full(
        lambda given: bool(given.presented) and not "".join(given.presented)
    ),
    "auth-malformed-key-accepted": _taken_for_full(
        lambda given: bool(text := "".join(given.presented)) and not text.lower().startswith(KEY_PREFIX)
    ),
    "auth-unknown-key-accepted": _taken_for_full(_is_nobodys),
    "auth-unknown-key-is-403": _on_401(
        _has_unknown_key, refused(403, "API_KEY_ACCESS_DENIED", "Nobody holds this key.")
    ),
    "auth-key-case-ignored": _taken_for_similar("case"),
    "auth-cut-key-accepted": _taken_for_similar("extension"),
    "auth-prolonged-key-accepted": _taken_for_similar("start"),
    "auth-last-character-ignored": _taken_for_similar("last"),
    "auth-revoked-accepted": _accepted_in_state(lambda key: key.state == "revoked"),
    "auth-revoked-still-polls": _accepted_in_state(lambda key: key.state == "revoked", "getExecution"),
    "auth-revoked-is-403": _on_401_of(lambda key: key.state == "revoked", "This key was revoked."),
    "auth-revoked-still-lists-models": _accepted_in_state(
        lambda key: key.state == "revoked", "listUsageModels"
    ),
    "auth-legacy-accepted": _accepted_in_state(lambda key: key.state == "legacy"),
    "auth-legacy-is-plain-401": on_refusal(_PLAIN_401, code="LEGACY_KEY_RETIRED"),
    "auth-legacy-still-cancels": _accepted_in_state(lambda key: key.state == "legacy", "cancelExecution"),
    "auth-unapproved-accepted": _accepted_in_state(_is_unapproved),
    "auth-unapproved-is-403": _on_401_of(_is_unapproved, "The account is not approved yet."),
    "auth-unapproved-asks-whoami": _accepted_in_state(_is_unapproved, "getWhoami"),
    "auth-bearer-accepted": at(Point.CREDENTIALS, "", _read_bearer),
    "auth-bearer-shows-usage": at(Point.CREDENTIALS, "listUsage", _read_bearer),
    "auth-query-key-accepted": at(Point.CREDENTIALS, "", _read_query),
    "auth-query-key-polls": at(Point.CREDENTIALS, "getExecution", _read_query),
    "auth-session-me-open": _opened(
        "/api/me", lambda key: {"id": key.account.id, "email": key.account.email}
    ),
    "auth-session-credits-open": _opened("/api/credits", lambda _: {"credits": 1}),
    "auth-session-keys-open-to-star": _opened(
        "/api/api-keys", lambda _: {"keys": []}, lambda key: "*" in key.capabilities
    ),
    "auth-session-admin-open": _opened(
        "/api/business", lambda _: {"accounts": []}, lambda key: key.account.is_admin
    ),
    "auth-public-schema-needs-key": _needs_key("getPublicWorkflowSchema"),
    "auth-pricing-needs-key": _needs_key("getPublicPricing"),
    "auth-health-needs-key": _needs_key("getHealth"),
    "whoami-without-user-object": on_success("getWhoami", with_body(lambda body: body["user"])),
    "whoami-lacks-email": on_success("getWhoami", without("user.email")),
    "whoami-lacks-email-without-capabilities": _user_where(
        lambda key: not key.capabilities, without("user.email")
    ),
    "whoami-role-in-capitals": on_success("getWhoami", changed("user.role", str.upper)),
    "whoami-role-is-owner": on_success("getWhoami", with_value("user.role", "owner")),
    "whoami-admin-is-superuser": _user_where(
        lambda key: key.account.is_admin, with_value("user.role", "superuser")
    ),
    "whoami-tier-as-number": on_success("getWhoami", with_value("user.tier", 4)),
    "whoami-tier-in-object": on_success("getWhoami", changed("user.tier", lambda tier: {"id": tier})),
    "whoami-approved-as-text": on_success("getWhoami", with_value("user.approved", "true")),
    "whoami-describes-another": on_success("getWhoami", _describe_the_stranger),
    "whoami-at-once-mixed-up": in_the_name_of_the_last("getWhoami"),
    "whoami-admin-is-user": on_success("getWhoami", with_value("user.role", "user")),
    "whoami-second-key-describes-another": _user_where(
        lambda key: key.name == "pro-second", _describe_the_stranger
    ),
}
