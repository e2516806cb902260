"""A quick check leaves out samples, never a promise."""

import pytest
from checking import check

from knouds_harness.errors import ExitCode
from knouds_harness.runs.record import read_run


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
def test_quick_check_exercises_every_fact(claimed_facts):
    """What a full check of the sandbox sees kept, a quick one sees kept as well."""
    assert claimed_facts("--quick") == claimed_facts()
