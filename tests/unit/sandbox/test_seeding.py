"""Seeded keys, accounts and webhooks, the lookup of keys, and the guide that names them all."""

import hmac
from pathlib import Path
from unittest import mock

import pytest

from knouds_sandbox.providers import MODELS
from knouds_sandbox.seeding import key_secret, seed_store, seeded_keys
from knouds_sandbox.state.accounts import find_key

URL = "http://127.0.0.1:9000/hook"


def test_keys_of_two_accounts_have_the_webhook(store):
    store.clear()
    seed_store(store, 1, webhook_url=URL)
    rows = store.rows("SELECT accounts.name, webhook_url FROM keys JOIN accounts ON accounts.id = account_id")

    assert {name for name, url in rows if url is not None} == {"ada", "ines"}
    assert all((name in ("ada", "ines")) == (url == URL) for name, url in rows)


def test_key_is_found_by_its_digest(store):
    """The query uses an index of digests, and never compares the secret itself."""
    plan = store.rows("EXPLAIN QUERY PLAN SELECT * FROM keys WHERE sha256(secret) = ?", b"")

    assert "USING INDEX keys_by_digest" in plan[0][3]


def test_secrets_are_compared_in_constant_time(store):
    secret = key_secret(0, "full")
    with mock.patch.object(hmac, "compare_digest", wraps=hmac.compare_digest) as compare:
        found = find_key(store, secret)

    assert found is not None
    compare.assert_called_once_with(secret.encode(), secret.encode())


@pytest.mark.parametrize("secret", ["", "\udcff", "knouds_live_", "\0", key_secret(0, "full")[:-1]])
def test_malformed_secret_belongs_to_no_key(store, secret):
    assert find_key(store, secret) is None


GUIDE = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def test_guide_names_every_key_account_and_workflow(store):
    slugs = [slug for (slug,) in store.rows("SELECT slug FROM workflows")]
    accounts = [name for (name,) in store.rows("SELECT name FROM accounts")]

    assert [name for name in (*seeded_keys(store), *slugs) if f"`{name}`" not in GUIDE] == []
    assert [name for name in accounts if f"\n| {name} |" not in GUIDE] == []


def test_guide_names_every_model_with_its_price():
    lines = [line for line in GUIDE.splitlines() if line.startswith("| `")]
    priced = {model.name: f"{model.credits_per_unit} per {model.unit}" for model in MODELS.values()}
    del priced["retired-model"]
    priced["failing-model"] = "5, given back"

    assert [
        name for name, price in priced.items() if not any(name in line and price in line for line in lines)
    ] == []
