"""However Locust's process ends, the command ends with a code of ours."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from knouds_harness.errors import ExitCode, UnknownName
from knouds_harness.load.launching import ending_of, scenario_file, scenario_names

RECORD = Path("reports/runs/one")


@pytest.mark.parametrize("code", ExitCode)
def test_own_exit_code_is_passed_on(code):
    """The plugin has decided."""
    assert ending_of(code, RECORD, was_interrupted=False).exit_code is code


def test_killed_generator_is_no_verdict():
    """It says which signal it was."""
    ending = ending_of(-signal.SIGKILL, RECORD, was_interrupted=False)

    assert ending.exit_code is ExitCode.INTERRUPTED
    assert "SIGKILL" in ending.note


def test_second_interruption_needs_no_explanation():
    """The user knows."""
    assert ending_of(-signal.SIGKILL, RECORD, was_interrupted=True).note == ""


@pytest.mark.parametrize(("was_interrupted", "code"), [(False, ExitCode.USAGE), (True, ExitCode.INTERRUPTED)])
def test_locust_that_never_began_is_at_fault_by_its_file_or_options(was_interrupted, code):
    """Its exit code 1 is no missed objective."""
    assert ending_of(1, None, was_interrupted=was_interrupted).exit_code is code


def test_exit_code_of_nobodys_is_named():
    """Such as one that a plugin of the user's sets."""
    ending = ending_of(77, RECORD, was_interrupted=False)

    assert ending.exit_code is ExitCode.BREACH
    assert "77" in ending.note


@pytest.mark.parametrize("name", scenario_names())
def test_scenario_is_found_by_its_name(name):
    """Those that come with the harness."""
    assert scenario_file(name).is_file()


def test_any_locust_file_is_a_scenario(tmp_path):
    """By its path."""
    file = tmp_path / "mine.py"
    file.touch()

    assert scenario_file(str(file)) == file


@pytest.mark.parametrize("name", ["raeds", "nowhere.py", "objectives.toml"])
def test_unknown_scenario_is_refused(name):
    """The message lists those that there are."""
    with pytest.raises(UnknownName, match="workflow_crud"):
        scenario_file(name)
