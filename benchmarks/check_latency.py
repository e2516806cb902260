"""How long a full check takes where something else than the processor takes its time.

    python benchmarks/check_latency.py [--cases CASE ...] [--rounds N] [--latency-ms N] [--at-once N ...]

Run by ``nox -s bench``. Each round runs ``knouds-harness check`` as a user would, one after the other;
printed are the medians, with the lowest and the highest.

- distant: the sandbox behind a proxy that hands each answer on after the latency, as a network would, once
  for every ``limits.concurrency``.
- slow: the sandbox with runs as slow as ``--latency realistic --time-scale 0.5`` makes them, images 2 to 10 s
  and videos around 30 s, and no control plane. At most 1.5 times the longest run and 45 s are wanted.
- pro: the sandbox with the keys of ordinary Pro accounts, and no control plane: one key, and 16. At most 80 s
  are wanted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from check_speed import measure
from reach import ROWS

from knouds_harness.runs.record import read_run
from knouds_harness.targets.builtin import target_environment
from knouds_sandbox.providers import Latency
from knouds_sandbox.serving import running_sandbox

PROFILE = Path(__file__).parent.parent / "targets" / "sandbox.toml"
SLOW = Latency(fixed_s=None, time_scale=0.5)
PRO_ROWS = ("one key, one workflow", "16 keys, both workflows")


@contextmanager
def distant(base_url: str, latency_s: float) -> Iterator[str]:
    """The address of a proxy that hands on what the server sends so many seconds late."""
    address = urlsplit(base_url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(address.hostname, address.port)
        await asyncio.gather(hand_on(reader, to_server, 0), hand_on(from_server, writer, latency_s))

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency_s: float) -> None:
    """Hand each piece on after the latency, in order, whatever was sent before it."""
    loop = asyncio.get_running_loop()
    while piece := await reader.read(65536):
        loop.call_later(latency_s, writer.write, piece)
    loop.call_later(latency_s, writer.close)


@contextmanager
def without_control(seed: int, *, latency: Latency | None = None) -> Iterator[Mapping[str, str]]:
    """A sandbox without control plane, and the environment that its profiles need."""
    with running_sandbox(seed=seed, latency=latency) as sandbox:
        keys = {name.upper().replace("-", "_"): secret for name, secret in sandbox.keys.items()}
        yield {
            "KNOUDS_SANDBOX_URL": sandbox.base_url,
            **{f"KNOUDS_SANDBOX_KEY_{name}": secret for name, secret in keys.items()},
        }


def longest_run_s(folder: Path) -> float:
    """How long the longest run of a check took, as the usage says that the check read."""
    pages = [
        each.json_or_none()
        for each in read_run(folder).exchange_by_id.values()
        if each.request.operation_id == "listUsage" and each.status == HTTPStatus.OK
    ]
    rows = [row for page in pages if isinstance(page, dict) for row in page.get("rows", ())]
    return max(row["durationMs"] or 0 for row in rows) / 1000


def print_row(name: str, walls_s: Sequence[float], wanted: str = "") -> None:
    """One line: the median, with the lowest and the highest, and what is wanted."""
    print(
        f"{name}: median {statistics.median(walls_s):.1f} s "
        f"({min(walls_s):.1f} to {max(walls_s):.1f}, {len(walls_s)} rounds){wanted}",
        flush=True,
    )


def measure_distant(folder: str, *, rounds: int, latency_ms: float, at_once: Sequence[int]) -> None:
    """Print how long it takes for each number of requests in flight."""
    walls_s: dict[int, list[float]] = {each: [] for each in at_once}
    for seed in range(rounds):
        for most, measured in walls_s.items():
            profile = Path(folder) / f"at-once-{most}.toml"
            profile.write_text(
                re.sub(r"(?m)^concurrency = .*$", f"concurrency = {most}", PROFILE.read_text())
            )
            with (
                target_environment("sandbox", seed=seed) as environ,
                distant(environ()["KNOUDS_SANDBOX_URL"], latency_ms / 1000) as base_url,
            ):
                os.environ.update({**environ(), "KNOUDS_SANDBOX_URL": base_url})
                measured.append(measure(seed, folder, "--target", str(profile)).wall_s)
    for most, measured in walls_s.items():
        print_row(f"distant, {most} at once", measured)


def measure_slow(folder: str, *, rounds: int) -> None:
    """Print how long it takes, and how long the longest run."""
    text = re.sub(r"(?m)^\[control\]\n.*\n", "", PROFILE.read_text())
    text = text.replace("timeout_s = 10", "timeout_s = 120").replace("deadline_s = 30", "deadline_s = 120")
    profile = Path(folder) / "slow.toml"
    profile.write_text(text)
    walls_s, longest_s = [], []
    for seed in range(rounds):
        runs = Path(folder) / f"slow-{seed}"
        with without_control(seed, latency=SLOW) as variables:
            os.environ.update(variables)
            walls_s.append(measure(seed, str(runs), "--target", str(profile)).wall_s)
        longest_s += [longest_run_s(each) for each in runs.iterdir()]
    longest = statistics.median(longest_s)
    print_row("slow", walls_s, f"; longest run {longest:.1f} s, so {1.5 * longest + 45:.0f} s wanted")


def measure_pro(folder: str, *, rounds: int) -> None:
    """Print how long it takes with one key of a Pro account, and with 16."""
    for row in (row for row in ROWS if row.name in PRO_ROWS):
        profile = Path(folder) / "pro.toml"
        profile.write_text(row.profile(), encoding="utf-8")
        walls_s = []
        for seed in range(rounds):
            with without_control(seed) as variables:
                os.environ.update(variables)
                walls_s.append(measure(seed, folder, "--target", str(profile)).wall_s)
        print_row(f"pro, {row.name}", walls_s, "; 80 s wanted")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cases = ("distant", "slow", "pro")
    parser.add_argument("--cases", nargs="+", choices=cases, default=cases)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rounds = arguments.rounds
    with tempfile.TemporaryDirectory() as folder:
        if "distant" in arguments.cases:
            latency_ms, at_once = arguments.latency_ms, arguments.at_once
            measure_distant(folder, rounds=rounds, latency_ms=latency_ms, at_once=at_once)
        if "slow" in arguments.cases:
            measure_slow(folder, rounds=rounds)
        if "pro" in arguments.cases:
            measure_pro(folder, rounds=rounds)


if __name__ == "__main__":
    main()
