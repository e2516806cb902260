"""Recorded traffic is judged, and findings sent again, as a user does it."""

import pytest
from checking import knouds

from knouds_harness.runs.record import read_run

FAULT = "whoami-is-203"
FACT = "ground.status-is-documented"


@pytest.fixture(scope="module")
def faulted_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faulted")
    process = knouds(
        *("check", "--family", "authentication", "--family", "spellings"),  # those also send HEAD
        *("--quick", "--seed", 5, "--fault", FAULT),
        cwd=folder,
    )
    assert process.returncode == 1, process.stderr
    return next((folder / "reports" / "runs").iterdir())


def test_verify_finds_the_same_breach(faulted_run, tmp_path):
    process = knouds("verify", faulted_run / "exchanges.har", cwd=tmp_path)

    assert process.returncode == 1, process.stderr
    [folder] = (tmp_path / "reports" / "runs").iterdir()
    assert folder.name.endswith("-verify-127.0.0.1")
    assert (folder / "report.html").is_file()
    found = {finding.fingerprint for finding in read_run(folder).findings}
    assert found == {each.fingerprint for each in read_run(faulted_run).findings if each.fact == FACT}


def test_unknown_finding_is_named(faulted_run, tmp_path):
    marks = {each.fingerprint for each in read_run(faulted_run).findings}

    process = knouds("replay", faulted_run, "000000000000", cwd=tmp_path)

    assert process.returncode == 2
    assert 'error: no finding "000000000000"' in process.stderr
    assert any(each in process.stderr for each in marks)


def test_replay_of_recorded_traffic_needs_a_target(faulted_run, tmp_path):
    knouds("verify", faulted_run / "exchanges.har", cwd=tmp_path)
    [folder] = (tmp_path / "reports" / "runs").iterdir()

    process = knouds("replay", folder, cwd=tmp_path)
    again = knouds("replay", folder, "--target", "sandbox", "--fault", FAULT, cwd=tmp_path)

    assert process.returncode == 2
    assert "--target" in process.stderr
    assert again.returncode == 1
