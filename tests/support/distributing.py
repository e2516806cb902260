"""A master and its workers, each a process of its own, as one starts them on several machines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hand_started import free_port

from knouds_harness.runs.load_results import LOAD_FILE
from knouds_harness.runs.record import RunRecord, read_run

_ENDS_WITHIN_S = 180.0


@dataclass(kw_only=True)
class Distributed:
    """Processes that run.

    Attributes:
        master: Leads.
        workers: Send.
        runs: Where the record goes.
    """

    master: subprocess.Popen[str]
    workers: Sequence[subprocess.Popen[str]]
    runs: Path
    errors: str = field(default="", init=False)

    def wait(self) -> int:
        """Wait until all have ended.

        Returns:
            The master's exit code.
        """
        _, self.errors = self.master.communicate(timeout=_ENDS_WITHIN_S)
        for worker in self.workers:
            worker.communicate(timeout=_ENDS_WITHIN_S)
        return self.master.returncode

    @property
    def figures_so_far(self) -> str:
        """What the master has written of the figures, as text."""
        return "".join(path.read_text() for path in self.runs.glob(f"*/{LOAD_FILE}"))

    @property
    def record(self) -> RunRecord:
        """What the master wrote."""
        (folder,) = self.runs.iterdir()
        return read_run(folder)


@contextmanager
def distributed(scenario: Path, *arguments: str, workers: int, runs: Path) -> Iterator[Distributed]:
    """Start them with plain Locust; none outlives the context.

    Args:
        scenario: The Locust file.
        arguments: Of the master; workers hear of them from it.
        workers: How many.
        runs: Where the record goes.
    """
    port = str(free_port())
    locust = [sys.executable, "-m", "locust", "-f", str(scenario)]
    as_master = ["--master", "--headless", "--expect-workers", str(workers), "--only-summary"]
    as_master += ["--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--record", str(runs)]
    as_worker = ["--worker", "--master-host", "127.0.0.1", "--master-port", port]
    started: list[subprocess.Popen[str]] = []
    try:
        started += [_start([*locust, *as_master, *arguments])]
        started += [_start([*locust, *as_worker]) for _ in range(workers)]
        yield Distributed(master=started[0], workers=started[1:], runs=runs)
    finally:
        for process in started:
            process.kill()
            process.communicate()


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
