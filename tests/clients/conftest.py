"""Two sandboxes: one whose providers answer at once, one whose asynchronous runs are still in flight."""

import os
from pathlib import Path

import pytest

from knouds_sandbox.providers import Latency
from knouds_sandbox.serving import running_sandbox


@pytest.fixture(scope="module")
def sandbox():
    with running_sandbox(seed=1) as running:
        yield running


@pytest.fixture(scope="module")
def slow_sandbox():
    with running_sandbox(seed=1, latency=Latency(fixed_s=3600)) as running:
        yield running


@pytest.fixture(scope="session")
def node_tools():
    """The folder of the commands that ``nox -s clients`` installs, as package.json names them."""
    if "NODE_TOOLS" not in os.environ:
        pytest.skip("needs NODE_TOOLS, which nox -s clients sets")
    return Path(os.environ["NODE_TOOLS"])
