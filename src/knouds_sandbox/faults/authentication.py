"""Faults: which keys are accepted."""

import re
from collections.abc import Callable

from knouds_sandbox.access.keys import KEY_PREFIX, Credentials
from knouds_sandbox.answers import AnswerEdit, OutgoingAnswer, where
from knouds_sandbox.fault_points import Edit, Point, fault
from knouds_sandbox.faults.editing import (
    answers_for_last_request,
    at,
    on_answer,
    on_refusal,
    on_success,
    refused,
    taken_for_full,
    with_value,
)
from knouds_sandbox.state.accounts import Key, find_key

_PLAIN_401 = refused(401, "UNAUTHORIZED", "Unauthorized: send a valid key in x-api-key.")

_QUERY_NAMES = ("x-api-key", "api_key", "api-key", "apiKey", "apikey", "key", "token")


def _accepted_in_state(is_meant: Callable[[Key], bool], operations: str = "") -> Edit:
    def apply(given: Credentials) -> None:
        if (key := given.key) and is_meant(key):
            given.accepted = key

    return at(Point.CREDENTIALS, operations, apply)


def _read_bearer(given: Credentials) -> None:
    scheme, _, credentials = given.request.headers.get("authorization", "").partition(" ")
    if not given.presented and scheme.lower() == "bearer":
        given.presented = [credentials.strip()]


def _on_401(is_meant: Callable[[OutgoingAnswer], object], edit: AnswerEdit) -> Edit:
    return on_refusal(where(is_meant, edit), status=401)


def _lacks_key(answer: OutgoingAnswer) -> bool:
    return bool(answer.operation) and "x-api-key" not in answer.request.headers


def _names_unknown_slug(answer: OutgoingAnswer) -> bool:
    slug = answer.path_params.get("slug")
    return slug is not None and answer.store.row("SELECT 1 FROM workflows WHERE slug = ?", slug) is None


@fault("auth.key-in-x-api-key", on_success("listUsageModels", _PLAIN_401))
def auth_valid_key_refused() -> None:
    """Usage models refuses every key."""


@fault("auth.missing-key-is-401", taken_for_full(lambda given: not given.presented))
def auth_missing_key_accepted() -> None:
    """A request without a key acts as the enterprise account."""


@fault("auth.before-capability")
def auth_missing_key_is_denied() -> Edit:
    """A request without a key is refused for lack of a capability."""
    return _on_401(_lacks_key, refused(403, "CAPABILITY_DENIED", "The key lacks a capability.", required="*"))


@fault("auth.refusal-tells-nothing", is_subtle=True)
def auth_missing_key_tells_slugs() -> Edit:
    """Without a key, an unknown slug gets a 401 with another code."""
    return _on_401(
        lambda answer: _lacks_key(answer) and _names_unknown_slug(answer),
        refused(401, "UNKNOWN_WORKFLOW", "Unauthorized."),
    )


@fault("auth.empty-key-is-401")
def auth_empty_key_accepted() -> Edit:
    """An empty key acts as the enterprise account."""
    return taken_for_full(lambda given: bool(given.presented) and not "".join(given.presented))


@fault("auth.malformed-key-is-401")
def auth_malformed_key_accepted() -> Edit:
    """A key without the prefix acts as the enterprise account."""
    return taken_for_full(
        lambda given: bool(text := "".join(given.presented)) and not text.lower().startswith(KEY_PREFIX)
    )


_WELL_FORMED = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{16,}}")


@fault("auth.unknown-key-is-401", taken_for_full)
def auth_unknown_key_accepted(given: Credentials) -> bool:
    """A well-formed unknown key acts as the enterprise account."""
    presented = "".join(given.presented)
    return _WELL_FORMED.fullmatch(presented) is not None and find_key(given.store, presented) is None


_EXTENDING = "SELECT secret FROM keys WHERE length(?1) > 12 AND substr(secret, 1, length(?1)) = ?1"


@fault("auth.altered-key-is-401", Point.CREDENTIALS, is_subtle=True)
def auth_cut_key_accepted(given: Credentials) -> None:
    """The beginning of a key is accepted as the key."""
    extended = given.store.row(_EXTENDING, "".join(given.presented))
    if given.key is None and extended is not None:
        given.presented = list(extended)


@fault("auth.revoked-key-is-401", _accepted_in_state(lambda key: key.state == "revoked"))
def auth_revoked_accepted() -> None:
    """A revoked key still works."""


@fault("auth.revoked-key-is-401", is_subtle=True)
def auth_revoked_still_polls() -> Edit:
    """A revoked key still polls executions."""
    return _accepted_in_state(lambda key: key.state == "revoked", "getExecution")


@fault("auth.revoked-key-is-401")
def auth_revoked_is_403() -> Edit:
    """A revoked key gets a 403."""
    return _on_401(
        lambda answer: answer.key is not None and answer.key.state == "revoked",
        refused(403, "API_KEY_ACCESS_DENIED", "This key was revoked."),
    )


@fault("auth.legacy-key-is-401-retired", _accepted_in_state(lambda key: key.state == "legacy"))
def auth_legacy_accepted() -> None:
    """A key made before May 2026 still works."""


@fault("auth.legacy-key-is-401-retired", on_refusal(_PLAIN_401, code="LEGACY_KEY_RETIRED"))
def auth_legacy_is_plain_401() -> None:
    """A key made before May 2026 gets the plain 401."""


@fault("auth.unapproved-account-is-401")
def auth_unapproved_accepted() -> Edit:
    """A key of an account that is not approved yet works."""
    return _accepted_in_state(lambda key: key.state == "active" and not key.account.is_approved)


@fault("auth.bearer-is-not-accepted", at(Point.CREDENTIALS, "", _read_bearer))
def auth_bearer_accepted() -> None:
    """A key in Authorization: Bearer works."""


@fault("auth.bearer-is-not-accepted", at(Point.CREDENTIALS, "listUsage", _read_bearer), is_subtle=True)
def auth_bearer_shows_usage() -> None:
    """A key in Authorization: Bearer works for usage only."""


@fault("auth.query-key-is-not-accepted", Point.CREDENTIALS)
def auth_query_key_accepted(given: Credentials) -> None:
    """A key in the query string works."""
    if not given.presented:
        query = given.request.query_params
        given.presented = [query[name] for name in _QUERY_NAMES if name in query][:1]


@fault("auth.session-paths-refuse-keys", lambda edit: on_refusal(edit, status=401), is_subtle=True)
def auth_session_keys_open_to_star(answer: OutgoingAnswer) -> None:
    """/api/api-keys/* answers a key that holds *."""
    key, is_meant = answer.key, answer.request.url.path.startswith("/api/api-keys")
    if is_meant and key is not None and key.state == "active" and "*" in key.capabilities:
        answer.status, answer.body = 200, {"keys": []}


@fault("auth.public-operations-need-no-key")
def auth_public_schema_needs_key() -> Edit:
    """The public schema needs a key."""
    return on_answer(
        "getPublicWorkflowSchema",
        where(lambda answer: not answer.request.headers.get("x-api-key"), _PLAIN_401),
    )


@fault("whoami.is-the-key-owner", answers_for_last_request("getWhoami"), is_subtle=True)
def whoami_at_once_mixed_up() -> None:
    """If requests are simultaneous, whoami may describe another account."""


@fault("whoami.is-the-key-owner", on_success("getWhoami", with_value("user.role", "user")))
def whoami_admin_is_user() -> None:
    """whoami says that an administrator is a user."""
