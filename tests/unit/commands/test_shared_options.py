"""The shipped objectives apply to the sandbox, and to other targets only if they are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from knouds_harness.load.options import LoadOptions
from knouds_harness.locations import objectives_path, usual_objectives
from knouds_harness.option_declarations import options_from


def test_shipped_objectives_apply_to_the_sandbox_only():
    assert usual_objectives("staging") is None
    assert usual_objectives("sandbox") == objectives_path()


@pytest.mark.parametrize(
    ("asked", "file"), [("shipped", objectives_path()), ("mine.toml", Path("mine.toml"))]
)
def test_shipped_objectives_can_be_named(asked, file):
    assert options_from(LoadOptions, {"objectives": asked}).objectives == file
