"""Sound servers that answer otherwise whatever no source settles: the suite finds no breach in them."""

import pytest
from checking import check
from sampling import sampled

from knouds_harness.errors import ExitCode
from knouds_sandbox.variants import VARIANTS


@pytest.mark.parametrize("variant", sampled(VARIANTS[::-1], every=5), ids=lambda each: each.id)
def test_sound_variant_has_no_breach(variant, tmp_path):
    exit_code, broken = check(tmp_path, "--variant", variant.id, "--seed", "1", "--quick")

    assert broken == set()
    assert exit_code == ExitCode.KEPT


def test_refused_wildcard_shows_where_keys_are_judged_last(tmp_path):
    """A server that looks at the resource first cannot hide that it refuses a key that holds enough."""
    arguments = ("--variant", "late", "--fault", "capability-wildcard-lacks-writing", "--seed", "1")

    _, broken = check(tmp_path, *arguments, "--fact", "capability.resource-wildcard-is-admitted")

    assert broken == {"capability.resource-wildcard-is-admitted"}
