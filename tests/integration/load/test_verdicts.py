"""Verdicts of load runs in which something is wrong, which do not depend on the machine."""

import itertools
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from clocks import wait_until
from example_targets import PORTRAIT, PRO
from hostile_traffic import BROKEN_HTTP, BROKEN_JSON
from loading import end_of, first_line, load, scenario_of, started_load
from raw_server import replacing

from knouds_harness.errors import ExitCode

SHORT = ("--users", "2", "--duration", "1s", "--quiet")


@pytest.fixture
def pro(small):
    """One key of a pro account with all that its tier grants, and one workflow."""
    return small.key("pro", PRO, user="pia", tier="pro").resource(PORTRAIT)


READS_AND_HARMS = """\
    @task
    def harm(self):
        self.client.get("/api/whoami", name="getWhoami")
        self.client.delete("/api/workflows/pia-portrait")
"""


def test_client_in_a_custom_scenario_sends_the_key_and_changes_nothing(tmp_path, pro):
    """Its own methods note nothing of what they change, so a guard ends the run before the first byte."""
    scenario = scenario_of(tmp_path, READS_AND_HARMS)

    loaded = load(tmp_path / "runs", scenario, "--target", pro.written(), *SHORT)

    (operation,) = loaded.results.operations
    assert operation.by_status["ok"] == operation.requests > 0
    assert loaded.exit_code == ExitCode.GUARD
    assert "DELETE /api/workflows/pia-portrait: self.client sends nothing that" in loaded.out + loaded.err


@pytest.mark.parametrize(
    "more", [(), pytest.param(("--processes", "2"), marks=pytest.mark.nightly)], ids=["alone", "workers"]
)
def test_undocumented_success_is_an_error_without_verify(tmp_path, pro, sandbox, more):
    """Each one, between correct responses, also after so many that most are not judged by all checks."""
    answers = itertools.count()
    names = ("no members", "nothing", "a login page", "invalid UTF-8", "gzip bomb")
    sent: list[str] = []

    def choose(target, status):
        number = next(answers) if target.startswith("/api/usage") else 0
        if number < 24 or number % 3:
            return None
        sent.append(names[len(sent) % len(names)])
        return {**BROKEN_JSON, **BROKEN_HTTP}[sent[-1]]

    none = tmp_path / "objectives.toml"
    none.write_text("", encoding="utf-8")
    scenario = scenario_of(tmp_path, "    wait_time = constant(0.01)\n    tasks = [list_usage]\n")
    with replacing(sandbox.base_url, choose) as proxy:
        pro.sandbox = replace(sandbox, base_url=proxy.base_url)
        arguments = ("--target", pro.written(), "--users", "2", "--duration", "3s", "--objectives", str(none))
        loaded = load(tmp_path / "runs", scenario, *arguments, *more, "--quiet")

    (operation,) = loaded.results.operations
    assert len(sent) > 1
    assert loaded.exit_code == ExitCode.BREACH
    assert operation.by_status["wrong"] > 1
    in_flight = 2  # when the load ended
    assert 0 < operation.by_status["ok"] <= operation.requests - len(sent) + in_flight  # some get none
    assert first_line(loaded.out).startswith("Contract broken under load")
    errors = {each.code: each for each in operation.errors}
    assert {"usage.page-shape", "ground.responses-are-json-objects"} <= errors.keys()
    kept = loaded.record.exchange_by_id[errors["usage.page-shape"].exchanges[0]]
    assert (kept.request.path, kept.status) == ("/api/usage", 200)


def test_refused_key_ends_load_before_it_begins(tmp_path, small, sandbox):
    """The message names both possible causes, and no load is sent."""
    profile = small.key("pro", PRO, user="pia", tier="pro", secret="knouds_live_wrong").resource(PORTRAIT)

    loaded = load(tmp_path / "runs", "sync_runs", "--target", profile.written(), *SHORT)

    assert loaded.exit_code == ExitCode.BREACH
    assert loaded.found is None
    assert "no load was sent" in loaded.err
    assert "keys.pro: " in loaded.err
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
    (error,) = loaded.results.task_errors
    assert error.count >= 2
    assert "task broken" not in {each.operation for each in loaded.results.operations}  # it is no request


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
