"""What init calls things, without a server."""

import pytest

from knouds_harness.commands.init import _personas


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("PENDING_KEY_KEY", "pending-key"),
        ("STAGING_KEY", "staging-key"),
        ("STAGING_KEY_READER", "reader"),
        ("KEY", "key"),
    ],
)
def test_key_is_named_after_its_variable(monkeypatch, variable, name):
    monkeypatch.setenv(variable, "knouds_live_0123456789abcdef")

    (persona,) = _personas([variable]).values()

    assert (persona.name, persona.secret.label) == (name, f"key:{name}")
