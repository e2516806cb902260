"""``load --plan-only``: the plan of a run, without sending it."""

import pytest
from example_targets import write_profile
from loading import load

from knouds_harness.errors import ExitCode


def test_plan_is_printed_and_nothing_is_sent(tmp_path, sandbox, listener):
    """It ends with 0, without a record or a connection."""
    profile = write_profile(tmp_path, sandbox, base_url=f"http://127.0.0.1:{listener.getsockname()[1]}")

    loaded = load(tmp_path / "runs", "sync_runs", "--target", str(profile), "--rate", "5", "--plan-only")

    assert loaded.exit_code == ExitCode.KEPT
    assert loaded.found is None
    assert "about 300 tasks, at most 5 per second" in loaded.out
    assert "full (ada, enterprise): 100%" in loaded.out
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.nightly
def test_warning_of_the_plan_is_shown_before_the_load(tmp_path, sandbox):
    """And not repeated in its record: here, a rate that does not cross the limit."""
    profile = str(write_profile(tmp_path, sandbox))

    loaded = load(
        tmp_path / "runs", "rate_limit", *("--target", profile, "--rate", "5", "--duration", "2s", "--quiet")
    )

    warning = "runWorkflow: at most 10 runs in 60 s do not cross the limit of 100"
    assert f"warning: {warning}" in loaded.err
    assert warning not in loaded.results.note
