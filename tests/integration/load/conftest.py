"""A profile of the sandbox, without a control plane."""

import pytest
from example_targets import write_profile


@pytest.fixture
def profile(tmp_path, sandbox):
    return str(write_profile(tmp_path, sandbox))


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"
