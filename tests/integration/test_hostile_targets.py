"""Targets that break parsers: a finding for what they did, and the run goes on to a whole record."""

from __future__ import annotations

import json
import subprocess
import sys
from random import Random

import pytest
from checking import FAILING, knouds
from example_targets import write_profile
from hostile_traffic import BROKEN_HTTP, BROKEN_JSON, HARMLESS, NO_ANSWER, altered
from raw_server import corrupting
from sampling import sampled

from knouds_harness.errors import ExitCode
from knouds_harness.reporting.render import render_all
from knouds_harness.runs.record import read_run
from knouds_harness.suite.options import RunOptions
from knouds_harness.suite.session import open_run
from knouds_sandbox.serving import running_sandbox

LIMITS = 'credits = 100_000\nconcurrency = 4\ntimeout_s = 2\nallow = ["read", "write", "run", "cancel"]'
CONTRADICTS_THE_PROFILE = {"escape sequences", "markup"}  # no key is whose it should be: see test_chaos.py
HOSTILE = {**BROKEN_JSON, **BROKEN_HTTP, **NO_ANSWER}
ANSWERING = [name for name in HOSTILE if name not in NO_ANSWER and name not in CONTRADICTS_THE_PROFILE]
SILENT = list(NO_ANSWER)  # each waits for a timeout with every key of the profile


@pytest.fixture(scope="module")
def sandbox():
    """The sound server behind."""
    with running_sandbox() as running:
        yield running


def asked(folder, sandbox, attack):
    """The record of a run that met an attack on whoami, and then asked for something else."""
    with corrupting(sandbox.base_url, "/api/whoami", attack) as proxy:
        profile = write_profile(folder, sandbox, base_url=proxy.base_url, limits=LIMITS)
        with open_run(RunOptions(target=str(profile), seed=0, runs_folder=folder / "runs")) as run:
            run.begin()
            full = run.target.personas["full"]
            run.tester.send("getWhoami", full)
            assert run.tester.send("listWorkflows", full).status == 200
            exit_code = run.conclude(was_interrupted=False)
    record = read_run(run.recorder.writer.folder)
    render_all(record.folder)
    assert record.gaps == ()
    har = json.loads((record.folder / "exchanges.har").read_text(encoding="utf-8"))
    assert len(har["log"]["entries"]) == record.counts.exchanges
    return exit_code, record


def broken(record):
    """Each fact that does not hold, by operation."""
    return {(each.operation, each.fact) for each in record.findings if each.verdict in FAILING}


@pytest.mark.parametrize("name", [*sampled(ANSWERING, every=5), *sampled(SILENT, every=len(SILENT))])
def test_hostile_answer_is_a_finding(tmp_path, sandbox, name):
    """About the operation that gave it, and no other."""
    exit_code, record = asked(tmp_path, sandbox, HOSTILE[name])

    assert exit_code == ExitCode.BREACH
    assert {operation for operation, _ in broken(record)} == {"getWhoami"}


@pytest.mark.parametrize("name", HARMLESS)
def test_unusual_answer_is_none(tmp_path, sandbox, name):
    """What HTTP and JSON allow, and the contract does not forbid."""
    exit_code, record = asked(tmp_path, sandbox, HARMLESS[name])

    assert broken(record) == set()
    assert exit_code == ExitCode.KEPT


def test_no_value_of_any_answer_breaks_the_harness(tmp_path, sandbox):
    """Every check bears what stands where another kind of value should; that is for its shape to judge."""
    with corrupting(sandbox.base_url, None, altered(Random(1), share=0.3)) as proxy:
        profile = write_profile(tmp_path, sandbox, base_url=proxy.base_url, limits=LIMITS)
        process = subprocess.run(
            [
                sys.executable,
                "-m",
                "knouds_harness",
                "check",
                "--target",
                str(profile),
                "--quick",
                "--seed",
                "1",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    assert process.returncode == ExitCode.BREACH
    assert [line for line in process.stdout.splitlines() if ".py:" in line or "Error:" in line] == []
    assert process.stderr == ""


@pytest.mark.parametrize("name", ["wrong members", "endless chunks"])
@pytest.mark.parametrize("command", ["check", "doctor"])
def test_command_comes_to_its_end(tmp_path, sandbox, name, command):
    """As a user meets it: findings, an exit code, and never a traceback."""
    selection = ["--family", "authentication", "--operation", "getWhoami"] if command == "check" else []
    with corrupting(sandbox.base_url, "/api/whoami", HOSTILE[name]) as proxy:
        profile = write_profile(tmp_path, sandbox, base_url=proxy.base_url, limits=LIMITS)
        process = knouds(command, "--target", profile, *selection, cwd=tmp_path)

    assert process.returncode == ExitCode.BREACH
    assert "Traceback" not in process.stdout + process.stderr
    assert "harness failed" not in process.stdout
