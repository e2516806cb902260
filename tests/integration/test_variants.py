"""Sound servers that answer otherwise whatever no source settles: the suite finds no breach in them."""

from __future__ import annotations

import pytest
from checking import check

from knouds_harness.errors import ExitCode
from knouds_harness.sandbox.variants import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.id)
@pytest.mark.parametrize("seed", [1, 2])
def test_sound_variant_has_no_breach(variant, seed, tmp_path):
    """A variant that answers open points otherwise keeps the contract."""
    exit_code, broken = check(tmp_path, "--variant", variant.id, "--seed", str(seed))

    assert broken == set()
    assert exit_code == ExitCode.KEPT
