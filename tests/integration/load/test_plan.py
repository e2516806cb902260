"""``load --plan-only``: what a run is going to be, without sending it."""

import socket

import pytest
from example_targets import write_profile
from loading import load

from knouds_harness.errors import ExitCode


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def test_plan_is_printed_and_nothing_is_sent(tmp_path, sandbox, listener):
    """It ends with 0, without a record, and without having knocked anywhere."""
    profile = write_profile(tmp_path, sandbox, base_url=f"http://127.0.0.1:{listener.getsockname()[1]}")

    loaded = load(tmp_path / "runs", "sync_runs", "--target", str(profile), "--rate", "5", "--plan-only")

    assert loaded.exit_code == ExitCode.KEPT
    assert loaded.found is None
    assert "about 300 tasks, at most 5 per second" in loaded.out
    assert "full (ada, enterprise): 100%" in loaded.out
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.nightly
def test_what_will_not_work_out_is_said_before_load_begins(tmp_path, sandbox):
    """And stands in the record: here a rate that crosses no limit."""
    profile = str(write_profile(tmp_path, sandbox))

    loaded = load(
        tmp_path / "runs",
        "rate_limit",
        *("--target", profile, "--rate", "5", "--duration", "2s", "--quiet"),
    )

    warning = "runWorkflow: at most 10 runs in 60 s do not cross the limit of 100"
    assert f"warning: {warning}" in loaded.err
    assert warning in loaded.results.note


@pytest.mark.nightly
def test_plan_that_nobody_can_carry_out_is_an_error(tmp_path, sandbox):
    profile = write_profile(tmp_path, sandbox)
    text = profile.read_text(encoding="utf-8").replace('tier = "pro"', 'tier = "free"')
    profile.write_text(text.replace('tier = "business"', 'tier = "creator"'), encoding="utf-8")

    loaded = load(tmp_path / "runs", "rate_limit", "--target", str(profile), "--plan-only")

    assert loaded.exit_code == ExitCode.USAGE
    assert "run_cheapest is left out: it needs an account of the tier pro or business" in loaded.err


@pytest.mark.nightly
def test_plan_knows_stages_and_time_to_think(tmp_path, sandbox):
    """How many tasks a course holds, and how many users who pause so long do at most."""
    profile = ("--target", str(write_profile(tmp_path, sandbox)), "--plan-only")

    staged = load(tmp_path / "runs", "reads", *profile, "--stages", "30s:50/s,2m:200/s,30s:0/s")
    thinking = load(tmp_path / "runs", "reads", *profile, "--users", "3", "--duration", "8s", "--think", "2")

    assert "180 s, about 18,750 tasks, at most 200 per second" in staged.out
    assert "3 users, at most about 15 tasks" in thinking.out
