"""Verdicts of load runs in which something is wrong: red with a reason, on any machine."""

import json
import os
import shutil
from pathlib import Path

import pytest
from clocks import wait_until
from example_targets import PORTRAIT, PRO, SmallProfile
from loading import end_of, first_line, load, scenario_of, started_load

from knouds_harness.errors import ExitCode

pytestmark = pytest.mark.slow
SHORT = ("--users", "2", "--duration", "1s", "--quiet")


@pytest.fixture
def small(tmp_path, sandbox):
    return SmallProfile(folder=tmp_path, sandbox=sandbox)


@pytest.fixture
def pro(small):
    """One key of a pro account with all that its tier grants, and one workflow."""
    return small.key("pro", PRO, user="pia", tier="pro").resource(PORTRAIT)


def test_refused_key_ends_load_before_it_begins(tmp_path, small, sandbox):
    """The message names both possible causes, and no load is sent."""
    profile = small.key("pro", PRO, user="pia", tier="pro", secret="knouds_live_wrong").resource(PORTRAIT)

    loaded = load(tmp_path / "runs", "sync_runs", "--target", profile.written(), *SHORT)

    assert loaded.exit_code == ExitCode.BREACH
    assert loaded.found is None
    assert "no load was sent" in loaded.err
    assert "keys.pro (line" in loaded.err
    assert "the key is wrong or revoked, or the server refuses a valid key" in loaded.err


def test_load_whose_requests_are_all_refused_is_red(tmp_path, small):
    """A 402 does not count as an error, but not as a success either."""
    profile = small.key("broke", PRO, user="nil", tier="business").resource(PORTRAIT.replace("pia", "nil"))

    loaded = load(tmp_path / "runs", "sync_runs", "--target", profile.written(), *SHORT)

    assert loaded.exit_code == ExitCode.BREACH
    assert first_line(loaded.out).startswith("No request succeeded  not one of ")
    assert "402 INSUFFICIENT_CREDITS" in " ".join(loaded.out.split())
    summary = json.loads((loaded.record.folder / "summary.json").read_text())
    assert summary["verdict"].startswith("No request succeeded")


def test_exception_in_a_task_is_shown_once_and_ends_the_run(tmp_path, pro):
    """With file and line; a run of ten minutes ends at once."""
    scenario = scenario_of(
        tmp_path, "    @task\n    def broken(self):\n        raise KeyError('what is not there')\n"
    )

    loaded = load(tmp_path / "runs", scenario, "--target", pro.written(), "--users", "2", "--duration", "10m")

    assert loaded.exit_code == ExitCode.BREACH
    assert first_line(loaded.out).startswith("A task failed  broken raised KeyError")
    assert loaded.err.count("mine.py:14") == 1
    assert "Traceback" not in loaded.err
    (task,) = loaded.results.task_errors
    assert task.errors[0].count == task.requests
    assert task.requests >= 2


def test_no_credits_are_spent_with_a_limit_of_0(tmp_path, pro):
    loaded = load(tmp_path / "runs", "sync_runs", "--target", pro.written(), "--credits", "0", *SHORT)

    assert loaded.exit_code == ExitCode.GUARD
    assert loaded.results.cost_credits == 0
    assert "of 0 are left" in loaded.out


def test_report_survives_deletion_of_temporary_files(tmp_path, pro, monkeypatch):
    """A cleaner may delete every temporary file during a run."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    runs = tmp_path / "runs"
    beside_null = Path(f"{os.devnull}.json")
    was_there = beside_null.exists() and beside_null.stat().st_mtime

    with started_load(
        runs, "reads", "--target", pro.written(), "--users", "2", "--duration", "3s"
    ) as process:
        wait_until(lambda: any(runs.glob("*/load.json")))
        shutil.rmtree(scratch)
        ended = end_of(process, runs)

    assert (ended.record.folder / "report.html").is_file()
    assert ended.record.exit_code == ended.exit_code
    assert "report.html" in ended.out
    assert (beside_null.exists() and beside_null.stat().st_mtime) == was_there
