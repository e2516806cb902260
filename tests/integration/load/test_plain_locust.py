"""Every scenario is an ordinary Locust file."""

import sys

import pytest
from checking import run_program, sampled
from example_targets import write_profile

from knouds_harness.errors import ExitCode
from knouds_harness.load.generator.launching import scenario_file


def locust(scenario, *arguments):
    command = (sys.executable, "-m", "locust", "-f", scenario_file(scenario), "--headless")
    return run_program(*command, *arguments)


def test_scenario_runs_in_plain_locust():
    """With a sandbox of its own; the reason of the exit code is printed."""
    ended = locust("reads", "--target", "sandbox", "--users", "3", "--run-time", "3s")

    assert "Aggregated" in ended.stderr
    assert "Traceback" not in ended.stderr
    if ended.returncode != ExitCode.KEPT:
        assert ended.returncode == ExitCode.INVALID_MEASUREMENT
        assert "not a valid measurement: " in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    sampled(
        [
            (("--host", "http://127.0.0.1:9"), "no target is named"),
            (("--target", "sandbox", "--host", "http://127.0.0.1:9"), "Leave --host out"),
            (("--target", "nowhere"), 'no target "nowhere"'),
        ],
        every=3,
    ),
    ids=["no target", "another host", "unknown target"],
)
def test_misuse_is_explained(arguments, says):
    ended = locust("reads", *arguments)

    assert ended.returncode == ExitCode.USAGE
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.nightly
def test_impossible_plan_leaves_no_record(tmp_path, sandbox):
    """A profile without anything to run is recognised before anything is sent."""
    profile = write_profile(tmp_path, sandbox)
    profile.write_text(profile.read_text().partition("[workflows.")[0])
    runs = tmp_path / "runs"

    ended = locust("sync_runs", "--target", str(profile), "--record", str(runs))

    assert ended.returncode == ExitCode.USAGE
    assert "run_workflow is left out: ada (enterprise) lacks a key that holds workflow:run" in ended.stderr
    assert not any(runs.glob("*"))
