"""Finding a key says nothing of the keys there are by how long it takes."""

import hmac

import pytest

from knouds_sandbox.seeding import key_secret
from knouds_sandbox.state.accounts import find_key


def test_key_is_found_by_its_digest(store):
    """No statement compares the secret itself, and the database searches an index of digests."""
    plan = store.rows("EXPLAIN QUERY PLAN SELECT * FROM keys WHERE sha256(secret) = ?", b"")

    assert "USING INDEX keys_by_digest" in plan[0][3]


def test_secrets_are_compared_in_constant_time(store, monkeypatch):
    """Where the digest is that of a key at all."""
    compared = []
    compare_digest = hmac.compare_digest

    def compare(*both):
        compared.append(both)
        return compare_digest(*both)

    monkeypatch.setattr(hmac, "compare_digest", compare)

    found = find_key(store, key_secret(0, "full"))

    assert found is not None
    assert found.name == "full"
    assert compared == [(key_secret(0, "full").encode(),) * 2]
    assert find_key(store, key_secret(0, "full")[:-1]) is None


@pytest.mark.parametrize("secret", ["", "\udcff", "knouds_live_", "\0"])
def test_odd_secret_is_nobodys(store, secret):
    """Nor a defect."""
    assert find_key(store, secret) is None
