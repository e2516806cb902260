"""A server of known latency: it logs how long its answers really took, to compare generators with.

    python benchmarks/reference_server.py [--median-ms 20] [--spread 0.6] [--freeze-s 1] [--every-s 10]

Answers any request after a lognormal time, as the API answers ``/api/health``. Its whole process stands still
for a second in every ten, as a garbage collector or a full disk makes a server do.
``GET /log`` answers ``[[NAME, received, sent], …]`` and clears the log; the name is what follows the last
``/`` or ``=`` of the URL, or the body. Times are seconds of this machine's
monotonic clock, which generators on the same machine read too: the true response time of a request is the
time its response was sent, less the time it was due. Prints its address, and ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import httptools
import uvloop

STOP_WITHIN_S = 5.0
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
HEALTH = b'{"status":"ok"}'
WHOAMI = b'{"user":{"id":"u1","email":"a@example.com","role":"user","tier":"enterprise","approved":true}}'
AT_ONCE = {"/api/whoami": WHOAMI}
"""What is asked before load, with its answer; it is not logged."""


@dataclass(frozen=True, kw_only=True)
class ServerTimes:
    """How the server behaves: lognormal times, and how long and often it stands still."""

    median_ms: float
    spread: float = 0.6
    freeze_s: float = 0.0
    every_s: float = 10.0


@contextmanager
def reference_server(times: ServerTimes) -> Iterator[str]:
    """Run the server within the context; yields its address."""
    command = [sys.executable, __file__, "--median-ms", f"{times.median_ms:g}"]
    command += ["--spread", f"{times.spread:g}", "--freeze-s", f"{times.freeze_s:g}"]
    command += ["--every-s", f"{times.every_s:g}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                sys.exit("the reference server did not start")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(timeout=STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


class Truth:
    """The log of requests, and how long each takes: a lognormal time, or the median without spread."""

    def __init__(self, *, median_s: float, spread: float, seed: int) -> None:
        self.log: list[tuple[str, float, float]] = []
        self._median_s = median_s
        self._spread = spread
        self._chance = random.Random(seed)

    def duration_s(self) -> float:
        return self._median_s * self._chance.lognormvariate(0.0, self._spread) if self._median_s else 0.0


class ServerConnection(asyncio.Protocol):
    """Answers the requests of one connection."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._url = self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url, self._body = url, b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        received_s = time.perf_counter()
        path = self._url.decode()
        if path == "/log":
            body = json.dumps(self._truth.log).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            self._truth.log.clear()
            return
        loop = asyncio.get_running_loop()
        if path in AT_ONCE:
            self._transport.write(HEAD % (len(AT_ONCE[path]), AT_ONCE[path]))
            return
        name = self._body.decode() or re.split("[/=]", path)[-1]
        loop.call_later(self._truth.duration_s(), self._answer, name, received_s)

    def _answer(self, name: str, received_s: float) -> None:
        if self._transport.is_closing():
            return
        self._truth.log.append((name, received_s, time.perf_counter()))
        self._transport.write(HEAD % (len(HEALTH), HEALTH))


def freeze_regularly(freeze_s: float, every_s: float) -> None:
    if not freeze_s:
        return
    loop = asyncio.get_running_loop()

    def freeze() -> None:
        time.sleep(freeze_s)  # stops the whole process, as meant
        loop.call_later(every_s - freeze_s, freeze)

    loop.call_later(every_s - freeze_s, freeze)


async def serve(options: argparse.Namespace, connection: Callable[[], ServerConnection]) -> None:
    """Serve on a free port of loopback until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    freeze_regularly(options.freeze_s, options.every_s)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description="A server that knows how long its answers took.")
    parser.add_argument("--median-ms", type=float, default=20.0)
    parser.add_argument("--spread", type=float, default=0.6, help="of the logarithm; 0 for none")
    parser.add_argument("--freeze-s", type=float, default=1.0)
    parser.add_argument("--every-s", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    truth = Truth(median_s=options.median_ms / 1000, spread=options.spread, seed=options.seed)
    uvloop.run(serve(options, lambda: ServerConnection(truth)))


if __name__ == "__main__":
    main()
