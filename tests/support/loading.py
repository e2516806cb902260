"""Running ``knouds-harness load`` as a user would, and looking at what it leaves."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from knouds_harness.errors import ExitCode
from knouds_harness.runs.load_results import LoadResults
from knouds_harness.runs.record import RunRecord, read_run

_ATTEMPTS = 4
_TIMEOUT_S = 240.0
"""For a search of many points on a machine that is busy."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A run that has ended.

    Attributes:
        found: Its record; None where it did not come to one.
        out: Standard output.
        err: Standard error.
    """

    exit_code: int
    found: RunRecord | None
    out: str
    err: str

    @property
    def record(self) -> RunRecord:
        """Its record, which has to be there."""
        assert self.found is not None, self.err
        return self.found

    @property
    def results(self) -> LoadResults:
        """What it measured."""
        assert self.record.load is not None, self.record.gaps
        return self.record.load.results


def load(folder: Path, *arguments: str) -> Loaded:
    """Run a scenario to its end."""
    with started_load(folder, *arguments) as process:
        return end_of(process, folder)


def end_of(process: subprocess.Popen[str], folder: Path) -> Loaded:
    """Wait for the end of a run that ``started_load`` gave."""
    out, err = process.communicate(timeout=_TIMEOUT_S)
    return Loaded(exit_code=process.returncode, found=latest_record(folder), out=out, err=err)


def valid_load(folder: Path, *arguments: str) -> Loaded:
    """Run a scenario until the generator was not the limit: on a busy machine that may take some attempts."""
    for _ in range(_ATTEMPTS):
        loaded = load(folder, *arguments)
        if loaded.exit_code != ExitCode.INVALID_MEASUREMENT:
            return loaded
    pytest.skip(f"the machine is too busy to measure anything: {loaded.results.validity.reasons}")


@contextmanager
def started_load(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a scenario; nothing of it outlives the context."""
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
    """The newest record of a folder of runs."""
    runs = sorted(folder.iterdir()) if folder.is_dir() else []
    return read_run(runs[-1]) if runs else None


def wait_until(is_so: Callable[[], object], *, timeout_s: float = 90.0) -> None:
    """Wait for something to become true.

    Raises:
        TimeoutError: It did not.
    """
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s")
        time.sleep(0.05)
