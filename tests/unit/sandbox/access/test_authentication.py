"""Who gets in, and with which answer the others stay out."""

import pytest

from knouds_sandbox.routing.operations import OPERATIONS

PATHS = [
    (operation.method, operation.path.format(slug="portrait", internalName="suno-v5", id="x"))
    for operation in OPERATIONS
]

ALTERED = {
    "empty": lambda _: "",
    "without prefix": lambda key: key.removeprefix("knouds_live_"),
    "prefix alone": lambda _: "knouds_live_",
    "in capitals": lambda key: key.upper(),
    "other case": lambda key: key[:12] + key[12:].swapcase(),
    "cut": lambda key: key[:-1],
    "prolonged": lambda key: key + "x",
    "twice": lambda key: f"{key}, {key}",
    "unknown": lambda _: "knouds_live_" + "a" * 43,
    "beyond ASCII": lambda key: key + "\u00e9",
}


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_operation_needs_a_key(ask, assert_refused, method, path):
    """Every operation but the public ones refuses a request without a key."""
    assert_refused(ask(method, path), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("persona", ["revoked", "unapproved"])
def test_key_that_is_out_of_use_is_refused(ask, assert_refused, persona):
    """A revoked key and one of an unapproved account get the plain 401."""
    assert_refused(ask("GET", "/api/whoami", persona), 401, "UNAUTHORIZED")


def test_legacy_key_is_retired(ask, assert_refused):
    """A key made before May 2026 is told so."""
    assert_refused(ask("GET", "/api/whoami", "legacy"), 401, "LEGACY_KEY_RETIRED")


@pytest.mark.parametrize("altered", ALTERED)
def test_altered_key_is_refused(ask, assert_refused, shared_sandbox, altered):
    """Only the exact key opens anything."""
    header = ALTERED[altered](shared_sandbox.keys["full"]).encode("latin-1")

    assert_refused(ask("GET", "/api/whoami", headers={"x-api-key": header}), 401, "UNAUTHORIZED")


def test_key_elsewhere_is_refused(ask, assert_refused, shared_sandbox):
    """Neither a bearer token nor the query carries a key."""
    key = shared_sandbox.keys["full"]

    assert_refused(ask("GET", "/api/whoami", headers={"authorization": f"Bearer {key}"}), 401, "UNAUTHORIZED")
    assert_refused(ask("GET", "/api/whoami", params={"x-api-key": key}), 401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    "path", ["/api/me", "/api/credits/balance", "/api/api-keys/1", "/api/business/admin/x"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_session_path_refuses_the_strongest_key(ask, assert_refused, method, path):
    """No key stands in for a browser session."""
    assert_refused(ask(method, path, "admin"), 401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    "path", ["/api/workflows/public-card/public-schema", "/api/pricing/public", "/api/health"]
)
def test_public_operation_needs_no_key(ask, path):
    """Three operations answer anyone."""
    assert ask("GET", path).status_code == 200


@pytest.mark.parametrize(
    ("persona", "role", "tier"),
    [("full", "user", "enterprise"), ("admin", "admin", "enterprise"), ("creator", "user", "creator")],
)
def test_whoami_describes_the_owner_of_the_key(ask, persona, role, tier):
    """The user has id, email, role, tier and approved."""
    user = ask("GET", "/api/whoami", persona).json()["user"]

    assert (user["role"], user["tier"], user["approved"]) == (role, tier, True)


def test_keys_follow_from_the_seed(shared_sandbox, fresh_sandbox):
    """Two sandboxes of one seed have the same keys, each well-formed."""
    assert shared_sandbox.keys == fresh_sandbox.keys
    assert all(key.startswith("knouds_live_") and len(key) >= 44 for key in shared_sandbox.keys.values())
