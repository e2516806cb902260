"""Sound servers that answer otherwise whatever no source settles: the suite finds no breach in them."""

from __future__ import annotations

import pytest
from checking import check

from knouds_harness.errors import ExitCode
from knouds_harness.sandbox.variants import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.id)
def test_sound_variant_has_no_breach(variant, tmp_path):
    """A variant that answers open points otherwise keeps the contract."""
    exit_code, broken = check(tmp_path, "--variant", variant.id, "--seed", "1")

    assert broken == set()
    assert exit_code == ExitCode.KEPT
