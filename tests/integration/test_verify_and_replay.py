"""Recorded traffic judged, and findings sent again, as a user does it."""

import os
import subprocess
import sys

import pytest

from knouds_harness.runs.record import read_run

FAULT = "whoami-is-203"
FACT = "ground.status-is-documented"


def knouds(*arguments, cwd):
    """Run the command line in a folder and return the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "knouds_harness", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def faulted_run(tmp_path_factory):
    """The folder of a run on a sandbox that breaks one promise."""
    folder = tmp_path_factory.mktemp("faulted")
    process = knouds("check", "--family", "authentication", "--seed", 5, "--fault", FAULT, cwd=folder)
    assert process.returncode == 1, process.stderr
    return next((folder / "reports" / "runs").iterdir())


def test_verify_finds_the_same_breach(faulted_run, tmp_path):
    """Our own exchanges, judged again, show what the run found."""
    process = knouds("verify", faulted_run / "exchanges.har", cwd=tmp_path)

    assert process.returncode == 1, process.stderr
    [folder] = (tmp_path / "reports" / "runs").iterdir()
    assert folder.name.endswith("-verify-127.0.0.1")
    assert (folder / "report.html").is_file()
    found = {finding.fingerprint for finding in read_run(folder).findings}
    assert found == {each.fingerprint for each in read_run(faulted_run).findings if each.fact == FACT}


@pytest.mark.parametrize("length", [0, 5_000], ids=["empty", "cut short"])
def test_broken_file_is_one_message(length, faulted_run, tmp_path):
    """Exit code 2, no traceback, no record."""
    whole = (faulted_run / "exchanges.har").read_bytes()
    (tmp_path / "x.har").write_bytes(whole[:length])

    process = knouds("verify", "x.har", cwd=tmp_path)

    assert process.returncode == 2
    assert process.stderr.startswith("error: x.har: is ")
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "reports").exists()
