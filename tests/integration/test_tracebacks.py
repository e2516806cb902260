"""No output of an error shows a secret, or anything that a terminal or CI obeys."""

import json
import sys

from checking import run_program
from example_targets import write_profile

from knouds_harness.errors import ExitCode

OWN_TESTS = """
import logging
import warnings

import pytest

def fail(key):
    local = key
    print("printed", key)
    logging.getLogger("own").error("logged %s", key)
    warnings.warn(f"warned {key}")
    raise RuntimeError(f"says {key} \\x1b]0;owned\\x07 ##[error]owned ##vso[task.owned]\\n::error::owned")

@pytest.fixture
def broken(personas):
    fail(personas[0].secret.reveal())

def test_of_broken_fixture(broken):
    pass

def test_failing(tester, personas):
    tester.whoami(personas[0])
    fail(personas[0].secret.reveal())
"""
CRASHING = """
def pytest_runtest_logreport(report):
    raise MemoryError("no memory for " + report.nodeid)
"""
CRASHED_CHECK = """
import sys
from knouds_harness.commands import cli
from knouds_harness.suite.session import ConformanceRun

def fail(run):
    raise RuntimeError("can't start new thread")

ConformanceRun.begin = fail
cli.main()
"""
SHOWS_ALL = ("-l", "--tb=long", "--full-trace", "-rA", "--debug", "--junitxml=j.xml", "--log-cli-level=DEBUG")


def own_tests_run(folder, sandbox, *options):
    (folder / "test_own.py").write_text(OWN_TESTS)
    (folder / "crashing.py").write_text(CRASHING)
    profile = write_profile(folder, sandbox)
    command = (sys.executable, "-m", "pytest", "-p", "knouds_harness.testing", "--target", profile)
    return run_program(*command, *options, "test_own.py", cwd=folder)


def test_pytest_shows_no_secret_with_any_option(tmp_path, sandbox):
    """Not in arguments, locals, or what tests print, log and raise."""
    process = own_tests_run(tmp_path, sandbox, *SHOWS_ALL)

    written = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith("key-")]
    shown = [process.stdout, process.stderr, *(path.read_text(errors="replace") for path in written)]
    assert process.returncode == ExitCode.BREACH
    for word in ("printed", "logged", "warned", "says"):
        assert f"{word} {{{{key:" in process.stdout
    assert [text for text in shown for key in sandbox.keys.values() if key in text] == []
    assert "local =" not in process.stdout.replace("local = key", "")
    assert "\x1b" not in process.stdout
    assert "##[" not in process.stdout
    assert "##vso[" not in process.stdout


def test_crashed_run_is_not_green(tmp_path, sandbox):
    """An error in pytest or a plugin ends the run, so the rest is unknown."""
    process = own_tests_run(tmp_path, sandbox, "-p", "crashing")

    (record,) = (tmp_path / "reports/runs").glob("*/run.json")
    ended = json.loads(record.read_text())
    assert (process.returncode, ended["outcome"], ended["exit_code"]) == (2, "failed", 2)


def test_crashed_check_is_explained_in_one_line(tmp_path):
    """As when memory runs out."""
    words = ("check", "--family", "schemas")
    process = run_program(sys.executable, "-c", CRASHED_CHECK, *words, cwd=tmp_path)

    assert process.returncode == ExitCode.USAGE
    assert "error: knouds-harness failed: RuntimeError: can't start new thread\n" in process.stderr
    assert "Traceback" not in process.stdout + process.stderr
