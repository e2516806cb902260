"""The script of a finding, run in a shell, shows what the finding says; and finding it takes few requests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripting import printed_by

from knouds_harness.runs.record import read_run

SUITE = Path(__file__).parents[1] / "conformance"
MOST_REQUESTS = 1_200

if shutil.which("curl") is None and os.environ.get("CI"):
    pytest.fail("curl is missing: what is pasted into a shell cannot be tried")
pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


def found_by_sequences(folder: Path, fault: str, *, seed: int = 1):
    """The record of a run of the random sequences alone, against a sandbox that breaks one promise."""
    command = [sys.executable, "-m", "pytest", str(SUITE / "test_workflow_sequences.py")]
    command += ["--fault", fault, "--seed", str(seed), "--runs-folder", str(folder)]
    subprocess.run(command, cwd=SUITE.parents[1], capture_output=True, timeout=120, check=False)
    (run,) = folder.iterdir()
    return read_run(run)


def test_ignored_update_is_shown_again(tmp_path):
    """Created, updated, read: the description is not what was written."""
    fault = "update-ignores-description"
    record = found_by_sequences(tmp_path, fault)
    (finding,) = [each for each in record.findings if each.fact == "workflows.update-takes-subset"]

    printed = printed_by(finding, record, fault)

    wanted = finding.expected.strip("'")
    assert wanted in record.exchange_by_id[finding.steps[1]].request.body.decode()
    assert printed.answers[3].json()["description"] != wanted
    assert not printed.trouble


@pytest.mark.nightly
def test_deleted_workflow_is_shown_again(tmp_path):
    """Created, deleted, read: it is still there."""
    fault = "delete-keeps-the-workflow"
    record = found_by_sequences(tmp_path, fault)
    (finding,) = [each for each in record.findings if each.fact == "workflows.delete-then-404"]

    answers = printed_by(finding, record, fault).answers

    assert [answers[number].status for number in (1, 2, 3)] == [201, 200, 200]


def test_sound_server_answers_the_script_soundly(tmp_path):
    """The same script, where the promise is kept."""
    record = found_by_sequences(tmp_path, "delete-keeps-the-workflow")
    (finding,) = [each for each in record.findings if each.fact == "workflows.delete-then-404"]

    answers = printed_by(finding, record, "whoami-is-203").answers

    assert [answers[number].status for number in (1, 2, 3)] == [201, 200, 404]


@pytest.mark.nightly
@pytest.mark.parametrize("fault", ["create-believes-created-by", "run-foreign-workflow-accepted"])
def test_shortest_sequence_takes_few_requests(fault, tmp_path):
    """Neither many steps nor many tries: the whole run is bounded."""
    record = found_by_sequences(tmp_path, fault)

    assert record.findings
    assert max(len(finding.steps) for finding in record.findings) <= 4
    assert record.counts.exchanges <= MOST_REQUESTS


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("fault", "fact"),
    [
        ("update-ignores-description", "workflows.update-takes-subset"),
        ("delete-keeps-the-workflow", "workflows.delete-then-404"),
    ],
)
def test_replay_sends_the_sequence_again(fault, fact, tmp_path):
    """What takes several requests still stands while the promise is broken, and is gone once it is kept."""
    record = found_by_sequences(tmp_path, fault)
    (finding,) = [each for each in record.findings if each.fact == fact]
    command = [sys.executable, "-m", "knouds_harness", "replay", str(record.folder), finding.fingerprint]

    broken, mended = (
        subprocess.run([*command, *options], capture_output=True, text=True, timeout=60, check=False)
        for options in ([], ["--healthy"])
    )

    assert broken.stdout.startswith("still stands"), broken.stdout + broken.stderr
    assert mended.stdout.startswith("gone"), mended.stdout + mended.stderr
