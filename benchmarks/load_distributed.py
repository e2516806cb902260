"""One schedule shared by four workers, their histograms together, and what their messages cost a master.

Everything runs on one machine: the server (``reference_server``, which notes
when each request came), a master and four workers, and for the last part a master whose workers only talk
(``distributed/puppets.py``). What four workers do is held against one process in the same round.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import psutil
from reference_server import ServerTimes, reference_server

from knouds_harness.measures.hdr_logs import read_hdr_log
from knouds_harness.measures.histograms import Histogram
from knouds_harness.targets.builtin import target_environment

FOLDER = Path(__file__).parent / "distributed"
WORKERS = 4
RATES = (500, 2000)
USERS = 400
CREWS = ((100, 1, 10_000), (100, 5, 10_000), (100, 20, 10_000), (100, 20, 1_000), (400, 5, 2_500))
"""Workers, operations, and requests per second of each."""
MESSAGES_PER_S = 1 + 1 / 3
"""Of each worker: a heartbeat every second, and a report every three."""
SETTLE_S, WINDOW_S = 20, 6
"""In lines of the puppets, one a second: figures are handed out late; a window holds two reports of each."""


def main() -> None:
    """Run the parts that are asked for, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--part", choices=("schedule", "merge", "messages"), action="append")
    options = parser.parse_args()
    parts = options.part or ["schedule", "merge", "messages"]
    print(
        f"{platform.python_implementation()} {platform.python_version()}, locust {version('locust')}, "
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start"
    )
    if "schedule" in parts:
        schedule(options.rounds, options.seconds)
    if "merge" in parts:
        merge(options.seconds)
    if "messages" in parts:
        for coordinator in CREWS:
            messages(*coordinator, windows=options.rounds)
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


# Messages


def messages(workers: int, operations: int, rate: int, *, windows: int) -> None:
    """What a master needs for so many workers that report so many operations."""
    with (
        target_environment("sandbox") as variables,
        tempfile.TemporaryDirectory() as folder,
        leading(workers, folder, variables) as (master, port),
        puppets(workers, operations, rate, port) as told,
    ):
        process = psutil.Process(master.pid)
        samples = [
            (line, process.cpu_times()) for line in itertools.islice(told, SETTLE_S + windows * WINDOW_S + 1)
        ][SETTLE_S::WINDOW_S]
    cost_ms, sent, size = [], [], []
    for (before, cpu_before), (after, cpu_after) in pairwise(samples):
        at_s, messages_before, bytes_before = map(float, before.split())
        until_s, messages_after, bytes_after = map(float, after.split())
        took_s = until_s - at_s
        used_s = cpu_after.user + cpu_after.system - cpu_before.user - cpu_before.system
        worker_seconds = (messages_after - messages_before) / MESSAGES_PER_S  # that it heard of, of all
        cost_ms.append(used_s / worker_seconds * 1e3)
        sent.append((messages_after - messages_before) / took_s)
        size.append((bytes_after - bytes_before) / took_s)
    print(
        f"{workers} workers, {operations} operations, {rate:,} requests/s each ({workers * rate:,} in all): "
        f"{statistics.median(sent):,.0f} messages and {statistics.median(size) / 1e6:.2f} MB per second, "
        f"{spread(cost_ms, '.2f')} ms of the master per worker and second; half a core carries "
        f"{500 / statistics.median(cost_ms):,.0f} of them"
    )


@contextmanager
def leading(
    workers: int, folder: str, variables: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A master with a record, which waits for so many workers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "locust", "-f", str(FOLDER / "fed.py"), "--headless", "--only-summary"]
    command += [
        "--loglevel",
        "ERROR",
        "--json-file",
        os.devnull,
        "--master",
        "--expect-workers",
        str(workers),
    ]
    command += ["--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)]
    command += ["--target", "sandbox", "--users", str(workers), "--duration", "10m", "--record", folder]
    with subprocess.Popen(
        command, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, text=True
    ) as master:
        try:
            yield master, port
        finally:
            master.kill()


@contextmanager
def puppets(workers: int, operations: int, rate: int, port: int) -> Iterator[Iterator[str]]:
    """The workers; yields what they print."""
    command = [sys.executable, str(FOLDER / "puppets.py"), "--port", str(port), "--workers", str(workers)]
    command += ["--operations", str(operations), "--rate", str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield iter(process.stdout or ())
        finally:
            process.kill()


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
