"""What init calls things, without a server."""

import pytest

from knouds_harness.commands.init import _secrets


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("PENDING_KEY_KEY", "pending-key"),
        ("STAGING_KEY", "staging-key"),
        ("STAGING_KEY_READER", "reader"),
        ("KEY", "key"),
    ],
)
def test_key_is_named_after_its_variable(variable, name):
    (secret,) = _secrets([variable], {variable: "knouds_live_0123456789abcdef"}).values()

    assert secret.label == f"key:{name}"
