"""One schedule shared by four workers, their histograms together, and what their messages cost a master.

Everything runs on one machine: the server (``reference_server``, which notes
when each request came), a master and four workers, and for the last part a master whose workers only talk
(``distributed/puppets.py``). What four workers do is held against one process in the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from reference_server import ServerTimes, reference_server

from knouds_harness.measures.hdr_logs import read_hdr_log
from knouds_harness.measures.histograms import Histogram
from knouds_harness.targets.builtin import target_environment

FOLDER = Path(__file__).parent / "distributed"
WORKERS = 4
RATES = (500, 2000)
USERS = 400


def main() -> None:
    """Run the parts that are asked for, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--part", choices=("schedule", "merge"), action="append")
    options = parser.parse_args()
    parts = options.part or ["schedule", "merge"]
    print(
        f"{platform.python_implementation()} {platform.python_version()}, locust {version('locust')}, "
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start"
    )
    if "schedule" in parts:
        schedule(options.rounds, options.seconds)
    if "merge" in parts:
        merge(options.seconds)
    print(f"load average {os.getloadavg()[0]:.1f} at the end")


# The schedule


def schedule(rounds: int, seconds: float) -> None:
    """Four workers and one process, in turn: achieved rate, and how even arrivals are."""
    found: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    for _ in range(rounds):
        for rate in RATES:
            for processes in (WORKERS, 1):
                found.setdefault((rate, processes), []).append(share(rate, processes, seconds))
    for (rate, processes), runs in found.items():
        off, variation, bunched = zip(*runs, strict=True)
        print(
            f"{rate:,}/s by {processes}: off by {spread(off, '+.3%')}, "
            f"variation of the gaps {spread(variation, '.2f')}, "
            f"gaps under a tenth of the mean {spread(bunched, '.1%')}"
        )


def share(rate: int, processes: int, seconds: float) -> tuple[float, float, float]:
    """One run.

    Returns:
        Achieved over asked rate, less 1; the coefficient of variation of the gaps between requests as the
        server saw them; the share of gaps that are under a tenth of their mean.
    """
    with reference_server(ServerTimes(median_ms=2.0)) as url:
        run_locust("numbered", rate, processes, seconds, "--host", url)
        with urllib.request.urlopen(f"{url}/log") as response:  # noqa: S310 - our own server's http
            log = json.load(response)
    numbers = sorted(int(number) for number, _, _ in log)
    if numbers != list(range(round(rate * seconds))):
        print(f"{len(numbers)} of {rate * seconds:.0f} arrivals came, {len(set(numbers))} different ones")
    came_s = sorted(received_s for _, received_s, _ in log)
    gaps_s = [later - earlier for earlier, later in pairwise(came_s)]
    mean_s = statistics.fmean(gaps_s)
    bunched = sum(gap_s < mean_s / 10 for gap_s in gaps_s) / len(gaps_s)
    return 1 / mean_s / rate - 1, statistics.stdev(gaps_s) / mean_s, bunched


# Histograms


def merge(seconds: float) -> None:
    """The same samples by four workers and by one process."""
    merged, whole = (fed(processes, seconds) for processes in (WORKERS, 1))
    verdict = "identical" if merged == whole and len(whole) else "NOT IDENTICAL"
    print(f"histograms of {WORKERS} workers and of one process: {verdict} ({merged!r} and {whole!r})")


def fed(processes: int, seconds: float) -> Histogram:
    """What the record holds of one run."""
    with target_environment("sandbox") as variables, tempfile.TemporaryDirectory() as folder:
        run_locust(
            "fed", 500, processes, seconds, "--target", "sandbox", "--record", folder, variables=variables
        )
        (log,) = Path(folder).glob("*/times.hlog")
        histogram = Histogram()
        for interval in read_hdr_log(log):
            histogram.add(interval.histogram)
    return histogram


def run_locust(
    scenario: str,
    rate: int,
    processes: int,
    seconds: float,
    *arguments: str,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Run one of the Locust files to its end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "locust", "-f", str(FOLDER / f"{scenario}.py"), "--headless"]
    command += ["--only-summary", "--loglevel", "ERROR", "--json-file", os.devnull]
    command += ["--rate", str(rate), "--users", str(USERS), "--duration", f"{seconds:g}s"]
    if processes > 1:
        command += ["--processes", str(processes), "--master-bind-port", port, "--master-port", port]
    subprocess.run(
        [*command, *arguments], env={**os.environ, **(variables or {})}, stdin=subprocess.DEVNULL, check=False
    )


def spread(values: Sequence[float], form: str) -> str:
    """The median, and the least and most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
