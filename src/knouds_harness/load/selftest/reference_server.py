"""The truth server: it logs how long its responses really took, to compare generators with.

    python -m knouds_harness.load.selftest.reference_server [--median-ms 20] [--spread 0.6]
        [--freeze-s 1] [--every-s 10]

Answers ``GET /n/NUMBER``, or ``POST /n`` with the number as its body, after a lognormal time. Its whole
process stands still for a second in every ten, as a garbage collector or a full disk makes a server do.
``GET /log`` answers ``[[NUMBER, received, sent], …]`` and clears the log. Times are seconds of this machine's
monotonic clock, which generators on the same machine read too: the true response time of a request is the
time its response was sent, less the time it was due. Prints its address, and ends with its standard input.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from typing import cast

import httptools
import uvloop

EMPTY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


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
        number = self._body.decode() or path.rpartition("/")[2]
        loop.call_later(self._truth.duration_s(), self._answer, number, received_s)

    def _answer(self, number: str, received_s: float) -> None:
        if self._transport.is_closing():
            return
        self._truth.log.append((number, received_s, time.perf_counter()))
        self._transport.write(EMPTY)


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
    print(f"http://127.0.0.1:{port}", flush=True)  # noqa: T201 - its caller reads the address
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
