"""Objectives of the harness hold for its own sandbox, and elsewhere only where they are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from knouds_harness.commands.shared_options import usual_objectives
from knouds_harness.load.options import LoadOptions
from knouds_harness.locations import objectives_path
from knouds_harness.option_declarations import options_from


def test_server_of_others_is_not_held_to_objectives_that_were_not_asked_for():
    assert usual_objectives("staging") is None
    assert usual_objectives("sandbox") == objectives_path()


@pytest.mark.parametrize(
    ("asked", "file"), [("shipped", objectives_path()), ("mine.toml", Path("mine.toml"))]
)
def test_objectives_of_the_harness_can_be_named(asked, file):
    assert options_from(LoadOptions, {"objectives": asked}).objectives == file
