"""How long a full check of the sandbox takes, when its first verdict shows, what it needs, sends and spends.

    python benchmarks/check_speed.py [--rounds N] [--quick]

Run by ``nox -s bench``. Each round starts ``knouds-harness check`` as a user would, with another seed;
printed are the medians, with the lowest and the highest, and what ``knouds-harness doctor`` foretells of the
credits. Processor time is that of the harness and its sandbox together. Memory is the peak of the harness,
and of the larger of harness and sandbox.
"""

from __future__ import annotations

import argparse
import os
import re
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
    processor_s: float
    peak_mb: float
    exchanges: float
    credits: float


def measure(seed: int, folder: str, *options: str) -> Round:
    """Run one check and measure it from outside.

    Raises:
        SystemExit: The check did not end with exit code 0, so that its time means nothing.
    """
    command = [sys.executable, "-m", "knouds_harness", "check", "--seed", str(seed), "--runs-folder", folder]
    spent_s, last_lines = processor_s(), ""
    start = time.perf_counter()
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        lines = iter(process.stdout or ())
        first_verdict_s = next((time.perf_counter() - start for line in lines if " passed" in line), 0.0)
        last_lines = "".join(lines)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"seed {seed}: the check ended with {process.returncode}; measure a healthy one")
    sent = re.search(r"([\d,]+) exchanges in .*?([\d,]+) credits", last_lines)
    exchanges, credits_spent = (
        (float(each.replace(",", "")) for each in sent.groups()) if sent else (0.0, 0.0)
    )
    kilobytes = usage.ru_maxrss if sys.platform != "darwin" else usage.ru_maxrss / 1024
    return Round(
        wall_s=time.perf_counter() - start,
        first_verdict_s=first_verdict_s,
        processor_s=processor_s() - spent_s,
        peak_mb=kilobytes / 1024,
        exchanges=exchanges,
        credits=credits_spent,
    )


def processor_s() -> float:
    """What ended children have used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def foretold_credits() -> str:
    """What doctor says that a full check costs at most."""
    command = [sys.executable, "-m", "knouds_harness", "doctor"]
    said = " ".join(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    found = re.search(r"costs at most ([\d,]+) credits", said)
    return found[1] if found else "nothing"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="measure the quick check instead")
    arguments = parser.parse_args()
    rounds, options = arguments.rounds, ("--quick",) if arguments.quick else ()
    with tempfile.TemporaryDirectory() as folder:
        measured = [measure(seed, folder, *options) for seed in range(rounds)]
    units = {"wall_s": "s", "first_verdict_s": "s", "processor_s": "s", "peak_mb": "MB"}
    for name, unit in (units | {"exchanges": "", "credits": ""}).items():
        values = sorted(getattr(each, name) for each in measured)
        print(
            f"{name:<16} median {statistics.median(values):8.2f} {unit} "
            f"({values[0]:.2f} to {values[-1]:.2f}, {rounds} rounds)"
        )
    sandbox_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{'largest process':<16} {sandbox_mb:15.2f} MB (the harness or its sandbox)")
    if not arguments.quick:
        print(f"{'doctor foretells':<16} {foretold_credits():>15} credits")


if __name__ == "__main__":
    main()
