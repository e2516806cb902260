"""How long a full check of a distant server takes, by how many requests the profile lets go out at once.

    python benchmarks/check_latency.py [--latency-ms N] [--at-once N ...] [--rounds N]

Run by ``nox -s bench``. The server is the sandbox, behind a proxy that hands each answer on after the
latency, as a network would. Each round runs ``knouds-harness check`` as a user would, once for every
``limits.concurrency``, one after the other; printed are the medians, with the lowest and the highest.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from check_speed import measure

from knouds_harness.target.builtin import target_environment

PROFILE = Path(__file__).parent.parent / "targets" / "sandbox.toml"


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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    walls: dict[int, list[float]] = {at_once: [] for at_once in arguments.at_once}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.rounds):
            for at_once, measured in walls.items():
                profile = Path(folder) / f"at-once-{at_once}.toml"
                profile.write_text(
                    re.sub(r"(?m)^concurrency = .*$", f"concurrency = {at_once}", PROFILE.read_text())
                )
                with (
                    target_environment("sandbox", seed=seed) as variables,
                    distant(variables["KNOUDS_SANDBOX_URL"], arguments.latency_ms / 1000) as base_url,
                ):
                    os.environ.update({**variables, "KNOUDS_SANDBOX_URL": base_url})
                    measured.append(measure(seed, folder, "--target", str(profile)).wall_s)
    for at_once, measured in walls.items():
        print(
            f"{at_once:>3} at once: median {statistics.median(measured):6.1f} s "
            f"({min(measured):.1f} to {max(measured):.1f}, {arguments.rounds} rounds)"
        )


if __name__ == "__main__":
    main()
