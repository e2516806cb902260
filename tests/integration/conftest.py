"""What tests of several commands need."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from knouds_sandbox.serving import RunningSandbox, running_sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that notices connections: without one, ``accept`` raises a BlockingIOError."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def spawn():
    """Start a sandbox as programs do; yield the process, its first output and a client."""

    @contextlib.contextmanager
    def spawn(*options):
        command = [sys.executable, "-m", "knouds_sandbox", "--announce", "--port", "0", *map(str, options)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                ready = json.loads(process.stdout.readline())
                headers = {"x-api-key": ready["keys"]["full"]}
                with httpx.Client(base_url=ready["base_url"], headers=headers, timeout=10) as client:
                    yield process, ready, client
            finally:
                process.kill()

    return spawn
