"""How many requests per second the sandbox answers, on one core.

    python benchmarks/sandbox_speed.py [--rounds 5] [--seconds 5] [--db]

The server is pinned to core 0 and wrk (Debian: ``apt-get install wrk``) to core 1, over 32 keep-alive
connections on loopback; rounds of the two requests take turns, and medians count. Providers answer at once;
the state is in memory, with ``--db`` in a file. Beside the rate stands the server's processor time for each,
which other work on the machine hardly changes. Exits with 1 where a median misses its objective.
"""

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sandbox_process import sandbox_process

OBJECTIVE_PER_S = {"GET /api/whoami": 4000, "POST /api/workflows/portrait/run": 1500}
CONNECTIONS = 32


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the sandbox's speed on one core.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--db", action="store_true", help="keep the state in a file")
    options = parser.parse_args()
    if not shutil.which("wrk") or not shutil.which("taskset"):
        sys.exit("error: wrk and taskset are needed. On Debian: apt-get install wrk util-linux.")
    if (os.cpu_count() or 1) < 2:
        sys.exit("error: two cores are needed, one for the server and one for wrk.")
    rounds: dict[str, list[tuple[float, float]]] = {request: [] for request in OBJECTIVE_PER_S}
    with (
        tempfile.TemporaryDirectory() as folder,
        sandbox_process(*(("--db", f"{folder}/db") if options.db else ()), core=0) as (process, ready),
    ):
        running = process.pid, ready
        for request in rounds:
            measure(*running, request, seconds=1)  # warm up
        for _ in range(options.rounds):
            for request, measured in rounds.items():
                measured.append(measure(*running, request, seconds=options.seconds))
    print(f"Python {platform.python_version()}, state in {'a file' if options.db else 'memory'}")
    missed = [request for request, measured in rounds.items() if is_missed(request, measured)]
    return int(bool(missed))


def is_missed(request: str, measured: list[tuple[float, float]]) -> bool:
    """Print the figures of one request; whether its objective is missed."""
    rates = [rate for rate, _ in measured]
    cpu_us = statistics.median(cpu_us for _, cpu_us in measured)
    objective = OBJECTIVE_PER_S[request]
    print(
        f"{request}: median {statistics.median(rates):,.0f}/s of {len(rates)} rounds"
        f" ({min(rates):,.0f} to {max(rates):,.0f}), objective {objective:,}/s;"
        f" {cpu_us:.0f} µs of processor time each"
    )
    return statistics.median(rates) < objective


def measure(pid: int, ready: dict[str, Any], request: str, *, seconds: int) -> tuple[float, float]:
    """One round of 2xx only: requests per second, and µs of the server's processor time per request."""
    method, path = request.split()
    script = [f'wrk.method = "{method}"', f'wrk.headers["x-api-key"] = "{ready["keys"]["full"]}"']
    if method == "POST":
        script += ['wrk.headers["content-type"] = "application/json"']
        script += ["""wrk.body = '{"inputs": {"prompt": "a red boat"}}'"""]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write("\n".join(script))
        file.flush()
        command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", file.name]
        before_s = processor_s(pid)
        wrk = subprocess.run([*command, ready["base_url"] + path], capture_output=True, text=True, check=True)
        used_s = processor_s(pid) - before_s
    if "Non-2xx" in wrk.stdout or "Socket errors" in wrk.stdout:
        sys.exit(f"error: not every answer to {request} was a 2xx:\n{wrk.stdout}")
    count = number_in(wrk.stdout, r"(\d+) requests in")
    return number_in(wrk.stdout, r"Requests/sec:\s+([\d.]+)"), used_s / count * 1e6


def number_in(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        sys.exit(f"error: wrk printed something else than expected:\n{text}")
    return float(found[1])


def processor_s(pid: int) -> float:
    """Processor time that a process has used, the kernel's for it included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
