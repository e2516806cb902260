"""Load as a user runs it, in one process or several, and its results."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from checking import knouds

from knouds_harness.runs.load_results import LoadResults
from knouds_harness.runs.record import RunRecord, read_run

_TIMEOUT_S = 240.0
"""Enough for a search of many points on a busy machine."""
PATIENT = ("--objective", "* async service_max < 60s")
"""Replaces the 500 ms of the contract, which a sandbox misses while the machine stands still."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A run that has ended; ``found`` is None if it has no record."""

    exit_code: int
    found: RunRecord | None
    out: str
    err: str

    @property
    def record(self) -> RunRecord:
        assert self.found is not None, self.err
        return self.found

    @property
    def results(self) -> LoadResults:
        assert self.record.load is not None, self.record.gaps
        return self.record.load


def load(folder: Path, *arguments: str) -> Loaded:
    done = knouds("load", "--runs-folder", folder, *arguments, cwd=Path.cwd())
    found = latest_record(folder)
    return Loaded(exit_code=done.returncode, found=found, out=done.stdout, err=done.stderr)


def end_of(process: subprocess.Popen[str], folder: Path) -> Loaded:
    """Wait for the end of a run that ``started_load`` started."""
    out, err = process.communicate(timeout=_TIMEOUT_S)
    return Loaded(exit_code=process.returncode, found=latest_record(folder), out=out, err=err)


@contextmanager
def started_load(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a scenario; no process of it outlives the context."""
    command = [sys.executable, "-m", "knouds_harness", "load", "--runs-folder", str(folder), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    family: list[psutil.Process] = []
    try:
        with process:
            try:
                yield process
            finally:
                with suppress(psutil.NoSuchProcess):
                    family = psutil.Process(process.pid).children(recursive=True)
                process.kill()
    finally:
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()


def latest_record(folder: Path) -> RunRecord | None:
    runs = sorted(folder.iterdir()) if folder.is_dir() else []
    return read_run(runs[-1]) if runs else None


def scenario_of(folder: Path, body: str) -> str:
    path = folder / "mine.py"
    path.write_text(
        '"""Does it work?"""\n'
        "from locust import constant, events, task\n"
        "from knouds_harness.load.tasks import list_usage, who_am_i\n"
        "from knouds_harness.load.plugin import install\n"
        "from knouds_harness.load.scenario import ScenarioUser\n\n"
        f"install(events)\n\n\nclass Mine(ScenarioUser):\n    wait_time = constant(0.05)\n{body}"
    )
    return str(path)


def first_line(out: str) -> str:
    return out.strip().splitlines()[0]
