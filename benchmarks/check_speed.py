"""How long a full check of the sandbox takes, when its first verdict shows, how much memory it needs.

Run by ``nox -s bench``. Each round starts ``knouds-harness check`` as a user would, with another seed;
printed are the medians, with the lowest and the highest. Memory is the peak of the harness, and of the
larger of harness and sandbox.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one check took."""

    wall_s: float
    first_verdict_s: float
    peak_mb: float


def measure(seed: int, folder: str) -> Round:
    """Run one check and measure it from outside.

    Raises:
        SystemExit: The check did not end with exit code 0, so that its time means nothing.
    """
    command = [sys.executable, "-m", "knouds_harness", "check", "--seed", str(seed), "--runs-folder", folder]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = iter(process.stdout or ())
        first_verdict_s = next((time.perf_counter() - start for line in lines if " tests, " in line), 0.0)
        for _ in lines:
            pass  # so that the check never waits for its reader
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"seed {seed}: the check ended with {process.returncode}; measure a healthy one")
    kilobytes = usage.ru_maxrss if sys.platform != "darwin" else usage.ru_maxrss / 1024
    return Round(
        wall_s=time.perf_counter() - start, first_verdict_s=first_verdict_s, peak_mb=kilobytes / 1024
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        measured = [measure(seed, folder) for seed in range(rounds)]
    for name, unit in (("wall_s", "s"), ("first_verdict_s", "s"), ("peak_mb", "MB")):
        values = sorted(getattr(each, name) for each in measured)
        print(
            f"{name:<16} median {statistics.median(values):8.2f} {unit} "
            f"({values[0]:.2f} to {values[-1]:.2f}, {rounds} rounds)"
        )
    sandbox_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{'largest process':<16} {sandbox_mb:15.2f} MB (the harness or its sandbox)")


if __name__ == "__main__":
    main()
