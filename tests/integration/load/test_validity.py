"""The target is judged first: a doubt about the generator hides only what it can explain."""

from __future__ import annotations

import time

from example_targets import write_profile
from loading import first_line, load
from raw_server import replacing

from knouds_harness.errors import ExitCode
from knouds_harness.runs.load_results import Doubt


def test_slow_target_is_found_despite_a_doubt(tmp_path, runs, sandbox):
    """One user cannot send 500 per second, but that makes no response slower."""

    def instead(_: str, path: str) -> None:
        if path.startswith("/api/whoami"):
            time.sleep(0.1)

    asked = ("--rate", "500", "--users", "1", "--duration", "3s", "--objective", "getWhoami p50 < 20ms")
    with replacing(sandbox.base_url, instead=instead) as server:
        profile = write_profile(tmp_path, sandbox, base_url=server.base_url)
        loaded = load(runs, "reads", "--target", str(profile), "--quiet", *asked)

    assert loaded.exit_code == ExitCode.BREACH, loaded.out
    assert first_line(loaded.out).startswith("Objectives missed  getWhoami p50")
    assert Doubt.BUSY in loaded.results.validity.doubts
    assert "all users were busy" in loaded.out


def test_shipped_objectives_are_suggested_if_there_are_none(profile, runs):
    loaded = load(
        runs, "reads", "--target", profile, "--users", "2", "--duration", "2s", "--accuracy", "100%"
    )

    assert loaded.exit_code == ExitCode.KEPT, loaded.out + loaded.err
    assert loaded.results.objectives == ()
    assert "--objectives shipped" in loaded.out
