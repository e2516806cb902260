"""A sandbox without a control plane, and its profile."""

import pytest
from example_targets import write_profile

from knouds_sandbox.serving import running_sandbox


@pytest.fixture(scope="module")
def sandbox():
    """Answers at once; the tests of a module share it."""
    with running_sandbox() as running:
        yield running


@pytest.fixture
def profile(tmp_path, sandbox):
    """The path of its profile."""
    return str(write_profile(tmp_path, sandbox))


@pytest.fixture
def runs(tmp_path):
    """Where records go."""
    return tmp_path / "runs"
