"""Running ``knouds-harness check`` as a user does, for tests that look at its verdict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from knouds_harness.runs.record import read_run
from knouds_harness.runs.verdicts import Verdict

FAILING = {Verdict.BREACH, Verdict.CONFLICT}


def check(folder: Path, *options: str) -> tuple[int, set[str]]:
    """Check a sandbox from an empty folder, which is made.

    Returns:
        The exit code, and the facts of the findings that fail a run.
    """
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "knouds_harness", "check", "--runs-folder", "runs", *options]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in process.stderr
    (run,) = (folder / "runs").iterdir()
    return process.returncode, {each.fact for each in read_run(run).findings if each.verdict in FAILING}
