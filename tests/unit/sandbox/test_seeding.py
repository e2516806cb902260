"""A sandbox whose seeded keys have a webhook, without a control plane."""

import pytest

from knouds_sandbox.command import sandbox
from knouds_sandbox.errors import SandboxError
from knouds_sandbox.seeding import seed_store, seeded_webhook_secret
from knouds_sandbox.state.store import Store

URL = "http://127.0.0.1:9000/hook"


def seeded(**options):
    """A store as a new sandbox has it."""
    store = Store(None)
    seed_store(store, 1, **options)
    return store


def test_keys_of_two_accounts_have_the_webhook():
    """Those of ada and ines, whatever they hold; nobody else's."""
    rows = seeded(webhook_url=URL).rows(
        "SELECT accounts.name, webhook_url FROM keys JOIN accounts ON accounts.id = account_id"
    )

    assert {name for name, url in rows if url is not None} == {"ada", "ines"}
    assert all((name in ("ada", "ines")) == (url == URL) for name, url in rows)


def test_no_key_has_a_webhook_unless_told():
    """As before a person sets one."""
    store = seeded()

    assert seeded_webhook_secret(store) is None
    assert store.row("SELECT count(*) FROM keys WHERE webhook_url IS NOT NULL") == (0,)


def test_secret_follows_from_the_seed():
    """So that a profile can be written once."""
    secret = seeded_webhook_secret(seeded(webhook_url=URL))

    assert secret is not None
    assert secret.startswith("whsec_")
    assert secret == seeded_webhook_secret(seeded(webhook_url=f"{URL}/other"))


@pytest.mark.parametrize("url", ["hooks.example.com", "ftp://hooks.example.com", "http://", "http://[::"])
def test_what_is_no_address_is_refused(url):
    """With one sentence, before anything listens."""
    with pytest.raises(SandboxError, match="not an http or https URL"):
        sandbox(["--webhook-url", url], standalone_mode=False)
