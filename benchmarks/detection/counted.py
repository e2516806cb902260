"""A sandbox in a process of its own that counts what it was asked.

    python counted.py --seed N [--fault ID]

Prints one JSON line with its address and keys, serves until standard input closes, then prints the counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from peers import PeerFailed
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from knouds_sandbox.app import build_app
from knouds_sandbox.providers import Latency
from knouds_sandbox.seeding import seeded_keys
from knouds_sandbox.serving import base_url_of, bound_socket, make_server

_STOP_WITHIN_S = 60
_LATENCY = Latency(time_scale=200)  # a job takes 60 s, so that one that was seeded can still be cancelled


@dataclass(kw_only=True)
class Counted:
    """A running sandbox; the counts are known once it has stopped.

    Attributes:
        workflow: One that the business account may run.
        public_workflow: One that anybody may see.
        never_given: What the document allows beside what is answered: operation and status.
        requests: Answers given.
        runs: Runs among them that were accepted, and so paid.
    """

    base_url: str
    keys: dict[str, str]
    workflow: str = "bea-portrait"
    public_workflow: str = "public-card"
    never_given: Mapping[str, str] = field(
        default_factory=lambda: {"createWorkflow": "200", "cancelExecution": "202"}
    )
    requests: int = field(default=0)
    runs: int = field(default=0)


@contextmanager
def counted_sandbox(*, seed: int, fault: str | None) -> Iterator[Counted]:
    """Run one, fresh, as long as the context lasts."""
    command = [sys.executable, __file__, "--seed", str(seed), *(("--fault", fault) if fault else ())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
        sandbox = Counted(**json.loads(process.stdout.readline()))
        try:
            yield sandbox
        finally:
            try:
                counts, _ = process.communicate(timeout=_STOP_WITHIN_S)
                sandbox.requests, sandbox.runs = json.loads(counts)
            except subprocess.TimeoutExpired:
                raise PeerFailed(f"the sandbox did not stop within {_STOP_WITHIN_S} s") from None
            finally:
                process.kill()


class _Counter:
    """Counts answers on their way out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.requests = 0
        self.runs = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.requests += 1
                is_run = scope["method"] == "POST" and scope["path"].endswith("/run")
                self.runs += is_run and message["status"] < 300
            await send(message)

        await self._app(scope, receive, counted)


def main() -> None:
    """Serve until standard input closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="append", default=[])
    arguments = parser.parse_args()
    app, services = build_app(
        seed=arguments.seed, faults=arguments.fault, latency=_LATENCY, now_unix_s=time.time
    )
    counter = _Counter(app)
    server = make_server(counter)
    with bound_socket("127.0.0.1", 0) as listener:
        announced = {"base_url": base_url_of(listener), "keys": dict(seeded_keys(services.store))}
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        print(json.dumps(announced), flush=True)
        sys.stdin.read()
        server.should_exit = True
        thread.join(_STOP_WITHIN_S)
    print(json.dumps([counter.requests, counter.runs]))


if __name__ == "__main__":
    main()
