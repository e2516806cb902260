"""The pipelines that docs/ci offers to be copied."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from knouds_harness.commands.cli import command_named

CI = Path(__file__).parents[2] / "docs" / "ci"
PIPELINES = sorted(CI.glob("*.yml"))


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_pipeline_is_yaml_and_calls_what_there_is(path):
    """Each command and option is one of ours."""
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)

    calls = re.findall(r"knouds-harness (\w+)((?: --[\w-]+(?: [\w.]+)?)*)", text)

    assert calls
    for command, options in calls:
        known = {name for parameter in command_named(command).params for name in parameter.opts}
        assert set(re.findall(r"--[\w-]+", options)) <= known


def test_every_pipeline_is_explained():
    """In the page beside them."""
    page = (CI / "README.md").read_text(encoding="utf-8")

    assert PIPELINES
    assert all(path.name in page for path in PIPELINES)
