"""Profiles of the sandbox, without a control plane."""

import pytest
from example_targets import SmallProfile, write_profile


@pytest.fixture
def profile(tmp_path, sandbox):
    return str(write_profile(tmp_path, sandbox))


@pytest.fixture
def small(tmp_path, sandbox):
    return SmallProfile(folder=tmp_path, sandbox=sandbox)


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"
