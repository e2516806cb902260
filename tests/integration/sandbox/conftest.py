"""Sandboxes in processes of their own."""

import contextlib
import json
import subprocess
import sys

import httpx
import pytest


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
