"""Running ``knouds-harness check`` as a user does, for tests that look at its verdict."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

from knouds_harness.cli import main
from knouds_harness.runs.record import read_run
from knouds_harness.runs.verdicts import Verdict

FAILING = {Verdict.BREACH, Verdict.CONFLICT}
TIMEOUT_S = 300

# Hundreds of checks take less time than importing does: each is forked from a process that has imported.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    [
        "knouds_harness.cli",
        "knouds_harness.conformance.generation",
        "knouds_harness.conformance.sequences",
    ]
)


def check(folder: Path, *options: str) -> tuple[int, set[str]]:
    """Check a sandbox from an empty folder, which is made.

    Returns:
        The exit code, and the facts of the findings that fail a run.
    """
    folder.mkdir(exist_ok=True)
    process = _PROCESSES.Process(target=_check_in, args=(folder, options), daemon=True)
    process.start()
    process.join(TIMEOUT_S)
    assert process.exitcode is not None, f"no end within {TIMEOUT_S} s"

    printed = (folder / "printed.txt").read_text(encoding="utf-8")
    assert "Traceback" not in printed, printed
    assert (folder / "runs").exists(), printed
    (run,) = (folder / "runs").iterdir()
    return process.exitcode, {each.fact for each in read_run(run).findings if each.verdict in FAILING}


def _check_in(folder: Path, options: tuple[str, ...]) -> None:
    os.chdir(folder)
    printed = os.open("printed.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(printed, sys.stdout.fileno())
    os.dup2(printed, sys.stderr.fileno())
    sys.argv = ["knouds-harness", "check", "--runs-folder", "runs", *options]
    main()
