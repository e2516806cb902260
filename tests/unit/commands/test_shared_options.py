"""Objectives of the harness hold for its own sandbox, and elsewhere only where they are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from knouds_harness.commands.shared_options import chosen_objectives
from knouds_harness.locations import objectives_path


@pytest.mark.parametrize(
    ("asked", "target", "chosen"),
    [
        (None, "sandbox", objectives_path()),
        (None, "staging", None),
        (Path("shipped"), "staging", objectives_path()),
        (Path("mine.toml"), "staging", Path("mine.toml")),
        (Path("mine.toml"), "sandbox", Path("mine.toml")),
    ],
)
def test_server_of_others_is_not_held_to_objectives_that_were_not_asked_for(asked, target, chosen):
    """A file of one's own comes before any other."""
    assert chosen_objectives(asked, target) == chosen
