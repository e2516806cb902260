"""A sandbox without a control plane, and its profile."""

import pytest
from example_targets import write_profile

from knouds_sandbox.serving import running_sandbox


@pytest.fixture(scope="module")
def sandbox():
    with running_sandbox() as running:
        yield running


@pytest.fixture
def profile(tmp_path, sandbox):
    return str(write_profile(tmp_path, sandbox))


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"
