"""Every scenario is an ordinary Locust file."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from knouds_harness.errors import ExitCode
from knouds_harness.load.launching import scenario_file


def locust(scenario, *arguments):
    """Run plain Locust on a scenario."""
    command = [sys.executable, "-m", "locust", "-f", str(scenario_file(scenario)), "--headless", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=90, env=os.environ)


def test_scenario_runs_in_plain_locust():
    """With a sandbox of its own, and what the exit code comes from."""
    ended = locust("reads", "--target", "sandbox", "--users", "3", "--run-time", "3s")

    assert "Aggregated" in ended.stderr
    assert "Traceback" not in ended.stderr
    if ended.returncode != ExitCode.KEPT:
        assert ended.returncode == ExitCode.INVALID_MEASUREMENT
        assert "not a valid measurement: " in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host", "http://127.0.0.1:9"), "no target is named"),
        (("--target", "sandbox", "--host", "http://127.0.0.1:9"), "Leave --host out"),
        (("--target", "nowhere"), 'no target "nowhere"'),
    ],
    ids=["no target", "another host", "unknown target"],
)
def test_misuse_is_said_in_words(arguments, says):
    """Before any user starts."""
    ended = locust("reads", *arguments)

    assert ended.returncode == ExitCode.USAGE
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
