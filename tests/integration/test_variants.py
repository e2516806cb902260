"""Sound servers that differ on open points, and quick checks, which find as much."""

import pytest
from checking import check, sampled

from knouds_harness.errors import ExitCode
from knouds_harness.runs.record import read_run
from knouds_sandbox.variants import VARIANTS


@pytest.mark.parametrize("variant", sampled(VARIANTS[::-1], every=5), ids=lambda each: each.id)
def test_sound_variant_has_no_breach(variant, tmp_path):
    exit_code, broken = check(tmp_path, "--variant", variant.id, "--seed", "1", "--quick")

    assert broken == set()
    assert exit_code == ExitCode.KEPT


def test_refused_wildcard_is_found_if_keys_are_judged_last(tmp_path):
    """Even if the server looks at the resource first."""
    arguments = ("--variant", "late", "--fault", "capability-wildcard-lacks-writing", "--seed", "1")

    _, broken = check(tmp_path, *arguments, "--fact", "capability.resource-wildcard-is-admitted")

    assert broken == {"capability.resource-wildcard-is-admitted"}


@pytest.fixture(scope="module")
def claimed_facts(tmp_path_factory):
    def run(*options):
        folder = tmp_path_factory.mktemp("check")
        exit_code, _ = check(folder, "--seed", "1", *options)
        assert exit_code == ExitCode.KEPT
        (record,) = (folder / "runs").iterdir()
        return {result.fact for result in read_run(record).results if result.passed}

    return run


@pytest.mark.nightly
def test_quick_check_claims_every_fact(claimed_facts):
    assert claimed_facts("--quick") == claimed_facts()
