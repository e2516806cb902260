"""A check that is interrupted ends in order, whatever it is at."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from checking import PRINTED_FILE, started
from loading import wait_until

from knouds_harness.errors import ExitCode


def has_exchanges(folder, more_than_bytes=50_000):
    """Whether a run below this folder has kept more than a few exchanges."""
    return any(file.stat().st_size > more_than_bytes for file in folder.glob("runs/*/exchanges.har"))


def test_interrupted_run_has_a_report(tmp_path):
    """Ctrl-C ends in a report that says so, exit code 130, and no sandbox left behind."""
    process = subprocess.Popen(
        [sys.executable, "-m", "knouds_harness", "check", "--runs-folder", "runs"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: has_exchanges(tmp_path), timeout_s=30)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)  # which a sandbox that goes on would keep open

    (folder,) = (tmp_path / "runs").iterdir()
    assert process.returncode == 130
    assert "interrupted" in output
    assert "Traceback" not in output
    assert "interrupted" in (folder / "report.html").read_text()
    assert json.loads((folder / "run.json").read_text())["outcome"] == "interrupted"


@pytest.mark.nightly
@pytest.mark.parametrize("number", range(24))
def test_check_ends_whenever_it_is_interrupted(tmp_path, number):
    """At any of its exchanges, whatever the main thread does then, as a lock or the garbage collector."""
    with started(tmp_path, "check", "--quick", "--runs-folder", "runs") as process:
        wait_until(lambda: has_exchanges(tmp_path, number * 600_000))
        process.send_signal(signal.SIGINT)
        process.wait(60)

    assert process.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in (tmp_path / PRINTED_FILE).read_text()
