"""Whether the load generator's figures are true: percentiles, lateness, cost, and what a run is called.

Everything runs as a user starts it: ``knouds-harness load`` on a server of its own process
(``reference_server.py``), which logs when it sent each answer, on the clock that the generator reads too.
Requests come at even intervals and in order, so it is known when each was due, whatever the generator made of
it; on a server that stands still, which takes what waited in any order, each says it. ``--beside h2load``
loads the same server with that too, at the same rate, and holds it against the server's log in the same way.

Run it on an idle machine of two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import ceil
from pathlib import Path
from typing import Any

from reference_server import ServerTimes, reference_server

SCENARIO = Path(__file__).parent / "distributed" / "due.py"
SERVERS = {
    "1 ms": ServerTimes(median_ms=1.0, spread=0.15),
    "5 ms": ServerTimes(median_ms=5.0, spread=0.15),
    "20 ms": ServerTimes(median_ms=20.0, spread=0.15),
    "20 ms, stalls": ServerTimes(median_ms=20.0, spread=0.15, freeze_s=1.0, every_s=10.0),
}
PERCENTS = ("50", "95", "99", "99.9")
CONNECTIONS = 20
PROFILE = """\
base_url = "{url}"
[limits]
requests_per_s = 100000
concurrency = 1000
allow = ["read"]
[keys.one]
secret_env = "ACCURACY_KEY"
capabilities = ["workflow:read"]
user = "one"
tier = "enterprise"
"""
KEY = "knouds_live_" + "a" * 32


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run.

    Attributes:
        true_ms: Percentiles of the server's log.
        told_ms: The same as the generator told them.
        told: The rest that it told, by name.
    """

    true_ms: Mapping[str, float]
    told_ms: Mapping[str, float]
    told: Mapping[str, Any]


def main() -> None:
    """Run the rounds, and print a line for each run and a summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each run, without its warm-up")
    parser.add_argument("--warm-up", type=float, default=3.0)
    parser.add_argument("--rates", type=int, nargs="+", default=[100, 500, 2000])
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS), metavar="NAME")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--beside", choices=["h2load"], help="another generator to measure too")
    options = parser.parse_args()
    if options.beside and shutil.which(options.beside) is None:
        print("h2load is left out, as it is not installed: apt-get install nghttp2-client")
        options.beside = None
    print(
        f"{platform.python_implementation()} {platform.python_version()}, gevent {version('gevent')}, "
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start"
    )
    ended: list[int] = []
    for name in options.servers:
        does_stall = SERVERS[name].freeze_s > 0
        for rate in options.rates:
            with reference_server(SERVERS[name]) as url:
                for _ in range(options.rounds):
                    measured = by_harness(url, rate, options, does_stall=does_stall)
                    ended.append(measured.told["exit code"])
                    print_run(f"{name}, {rate:,}/s", measured)
                if options.beside and not does_stall:  # it waits for its answers
                    print_run(f"{name}, {rate:,}/s, h2load", by_h2load(url, rate, options))
    print(f"{ended.count(0)} of {len(ended)} runs ended with 0")
    print(f"load average {os.getloadavg()[0]:.1f} at the end")


def by_harness(url: str, rate: int, options: argparse.Namespace, *, does_stall: bool) -> Measured:
    """Load a server as a user would, and read what the run's record says."""
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "accuracy.toml"
        profile.write_text(PROFILE.format(url=url))
        duration_s = options.seconds + options.warm_up
        command = [sys.executable, "-m", "knouds_harness", "load", str(SCENARIO), "--target", str(profile)]
        command += ["--rate", str(rate), "--duration", f"{duration_s:g}", "--quiet", "--runs-folder", folder]
        command += ["--users", str(max(200, round(2.5 * rate))), "--warm-up", f"{options.warm_up:g}"]
        command += ["--processes", str(options.processes)] if options.processes > 1 else []
        variables = {"ACCURACY_KEY": KEY, **({"LOCUST_SAYS_DUE": "1"} if does_stall else {})}
        began_s = time.perf_counter()
        ended = subprocess.run(
            command, env={**os.environ, **variables}, capture_output=True, text=True, check=False
        )
        took_s = time.perf_counter() - began_s
        log = log_of(url)
        found = list(Path(folder).glob("*/load.json"))
        if not found:
            sys.exit(f"no record was written:\n{ended.stdout}{ended.stderr}")
        loaded = json.loads(found[0].read_text())
    (operation,) = loaded["operations"]
    validity = loaded["validity"]
    if does_stall:
        of_load = [(float(due), sent_s) for due, _, sent_s in log if due[0].isdigit()]
    else:
        of_load = in_order(log, count=round(rate * duration_s), rate=rate)
    from_s = min(of_load)[0] + options.warm_up - 1e-6
    true_ms = [(sent_s - due_s) * 1e3 for due_s, sent_s in of_load if due_s >= from_s]
    cpu_us = validity["cpu_share"] * options.seconds / max(1, operation["requests"]) * 1e6
    return Measured(
        true_ms=percentiles(true_ms),
        told_ms={each: operation["response"]["percentiles"][each] for each in PERCENTS},
        told={
            "requests": f"{operation['requests']:,} of {len(true_ms):,}",
            "late p99": f"{validity['lateness']['percentiles']['99']:.2f} ms",
            "lag p99, max": f"{validity['loop_lag']['percentiles']['99']:.2f}, "
            f"{validity['loop_lag']['max_ms']:.1f} ms",
            "processor": f"{cpu_us:.0f} µs a request",
            "beyond": f"{took_s - duration_s:.1f} s",
            "exit code": ended.returncode,
            "said": "" if not ended.returncode else ended.stdout.strip().partition("\n")[0],
        },
    )


def in_order(
    log: Sequence[tuple[str, float, float]], *, count: int, rate: float
) -> list[tuple[float, float]]:
    """When each request was due, and when it was answered: the n-th that came was the n-th that was due.

    The schedule begins so that no request came before it was due, and some came as soon as they were.
    """
    came = sorted((received_s, sent_s) for _, received_s, sent_s in log)[-count:]
    start_s = min(received_s - number / rate for number, (received_s, _) in enumerate(came))
    return [(start_s + number / rate, sent_s) for number, (_, sent_s) in enumerate(came)]


def by_h2load(url: str, rate: int, options: argparse.Namespace) -> Measured:
    """Load a server with h2load; its connections begin one by one.

    It does not say when a request was due: its times count from sending, and the server's from receiving.
    """
    connections = min(rate, max(CONNECTIONS, rate // 10))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = ["h2load", "--h1", "-c", str(connections), "-t", "1", "--rps", f"{rate / connections:g}"]
        command += ["-r", "1", "--rate-period", f"{max(1, 1000 // rate)}ms", "--log-file", str(log)]
        command += ["-n", str(round(rate * options.seconds)), f"{url}/api/health"]
        subprocess.run(command, capture_output=True, check=True)
        lines = [line.split() for line in log.read_text().splitlines()]
        served_ms = [(sent_s - received_s) * 1e3 for _, received_s, sent_s in log_of(url)]
    told_ms = [int(line[2]) / 1e3 for line in lines if line[1] == "200"]
    return Measured(
        true_ms=percentiles(served_ms),
        told_ms=percentiles(told_ms),
        told={"requests": f"{len(told_ms):,} of {len(served_ms):,}"},
    )


def log_of(url: str) -> list[tuple[str, float, float]]:
    """What the server noted of each request."""
    with urllib.request.urlopen(f"{url}/log") as response:  # noqa: S310 - our own server's http
        log: list[tuple[str, float, float]] = json.load(response)
    return log


def percentiles(times_ms: Sequence[float]) -> dict[str, float]:
    """Nearest ranks, as ``Histogram`` has them."""
    ordered = sorted(times_ms)
    return {
        each: ordered[max(ceil(len(ordered) * float(each) / 100 - 1e-9), 1) - 1] if ordered else 0.0
        for each in PERCENTS
    }


def print_run(title: str, measured: Measured) -> None:
    """Each percentile as it was, and by how much what was told is off."""
    cells = " · ".join(
        f"p{each} {measured.true_ms[each]:.2f} {off(measured, each):+.2f}" for each in PERCENTS
    )
    print(f"{title}: {cells} ms", flush=True)
    for line in wrapped(measured.told):
        print(f"    {line}", flush=True)


def wrapped(told: Mapping[str, Any]) -> Iterator[str]:
    """What else was told, some to a line."""
    shown = [f"{name} {value}" for name, value in told.items() if value != ""]
    for at in range(0, len(shown), 4):
        yield ", ".join(shown[at : at + 4])


def off(measured: Measured, percent: str) -> float:
    """By how many milliseconds a percentile is off."""
    return measured.told_ms[percent] - measured.true_ms[percent]


if __name__ == "__main__":
    main()
