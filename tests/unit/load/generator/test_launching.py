"""However Locust's process ends, the command ends with a code of ours."""

import signal
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from knouds_harness.errors import ExitCode, OutputClosed, UnknownName
from knouds_harness.load.generator import launching
from knouds_harness.load.generator.launching import ending_of, launch, scenario_file
from knouds_harness.locations import scenario_names
from knouds_harness.runs.load_progress import ProgressMessage


def told(exit_code=None, *, folder=None, at_s=1.0):
    progress: Any = SimpleNamespace(folder=folder and str(folder), at_s=at_s)
    return ProgressMessage(progress=progress, exit_code=exit_code)


@pytest.mark.parametrize("code", ExitCode)
def test_own_exit_code_is_passed_on(code, tmp_path):
    ending = ending_of(code, told(code, folder=tmp_path), was_interrupted=False)

    assert (ending.exit_code, ending.folder, ending.note) == (code, tmp_path, "")


def test_killed_generator_is_no_verdict(tmp_path):
    ending = ending_of(-signal.SIGKILL, told(folder=tmp_path), was_interrupted=False)

    assert ending.exit_code is ExitCode.INTERRUPTED
    assert ending.folder == tmp_path
    assert "SIGKILL" in ending.note


def test_second_interruption_needs_no_explanation(tmp_path):
    ending = ending_of(-signal.SIGKILL, told(folder=tmp_path), was_interrupted=True)

    assert ending.note == ""
    assert ending.was_interrupted


@pytest.mark.parametrize(("was_interrupted", "code"), [(False, ExitCode.USAGE), (True, ExitCode.INTERRUPTED)])
def test_locust_that_never_began_is_at_fault_by_its_file_or_options(was_interrupted, code):
    assert ending_of(1, ProgressMessage(), was_interrupted=was_interrupted).exit_code is code


def test_locust_that_ends_well_without_a_word_has_loaded_nothing():
    """Such as with an option of Locust's that only prints something."""
    ending = ending_of(0, ProgressMessage(), was_interrupted=False)

    assert ending.exit_code is ExitCode.USAGE
    assert "nothing was loaded" in ending.note


def test_what_a_run_ends_with_before_load_needs_no_record():
    for code in (ExitCode.KEPT, ExitCode.BREACH, ExitCode.UNREACHABLE):
        assert ending_of(code, ProgressMessage(exit_code=code), was_interrupted=False).exit_code is code


@pytest.mark.parametrize("status", [0, 1])
def test_run_without_a_verdict_never_ends_well(tmp_path, status):
    ending = ending_of(status, told(folder=tmp_path), was_interrupted=False)

    assert ending.exit_code is ExitCode.BREACH
    assert "without a verdict" in ending.note


@pytest.mark.parametrize(
    ("verdict", "expected"), [(ExitCode.KEPT, ExitCode.USAGE), (ExitCode.BREACH, ExitCode.BREACH)]
)
def test_run_whose_record_is_gone_never_ends_well(tmp_path, verdict, expected):
    ending = ending_of(verdict, told(verdict, folder=tmp_path / "gone"), was_interrupted=False)

    assert ending.exit_code is expected
    assert ending.folder is None
    assert "has been removed" in ending.note


def test_record_that_was_given_up_before_load_began_is_not_missed(tmp_path):
    ending = ending_of(
        ExitCode.USAGE, told(ExitCode.USAGE, folder=tmp_path / "gone", at_s=-1), was_interrupted=False
    )

    assert (ending.exit_code, ending.folder, ending.note) == (ExitCode.USAGE, None, "")


@pytest.mark.parametrize(
    ("verdict", "expected"), [(ExitCode.KEPT, ExitCode.BREACH), (ExitCode.GUARD, ExitCode.GUARD)]
)
def test_exit_code_of_nobodys_is_named(tmp_path, verdict, expected):
    """Such as one that a plugin of the user's sets, or a crash after all was said."""
    ending = ending_of(77, told(verdict, folder=tmp_path), was_interrupted=False)

    assert ending.exit_code is expected
    assert "77" in ending.note


@pytest.mark.parametrize("name", scenario_names())
def test_scenario_is_found_by_its_name(name):
    assert scenario_file(name).is_file()


def test_any_locust_file_is_a_scenario(tmp_path):
    file = tmp_path / "mine.py"
    file.touch()

    assert scenario_file(str(file)) == file


@pytest.mark.parametrize("name", ["raeds", "nowhere.py", "objectives.toml"])
def test_unknown_scenario_is_refused(name):
    with pytest.raises(UnknownName, match="workflow_crud"):
        scenario_file(name)


ENDLESS = """
import os, sys, threading
descriptor = int(sys.argv[sys.argv.index("--progress-descriptor") + 1])
os.write(descriptor, b'{"exit_code": 0}\\n')
threading.Event().wait()
"""


def launched_endless(monkeypatch, tmp_path, meanwhile):
    """Launch a generator that never ends by itself; the command has ended when this returns."""
    monkeypatch.setattr(launching, "_LOCUST", "endless")
    monkeypatch.setattr(launching, "_show", lambda told, _: meanwhile(told))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "endless.py").write_text(ENDLESS)
    return launch(tmp_path / "mine.py", runs_folder=tmp_path, options=[], variables={}, command="")


def test_load_ends_where_its_progress_cannot_be_shown(monkeypatch, tmp_path):
    """As with an output that is closed: nobody would know that it goes on."""

    def fail(told):
        if told.exit_code is not None:
            raise OutputClosed

    with pytest.raises(OutputClosed):
        launched_endless(monkeypatch, tmp_path, fail)


def test_signal_that_comes_while_the_generator_starts_ends_it(monkeypatch, tmp_path):
    start = subprocess.Popen

    def interrupted_start(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        process = start(*arguments, **options)
        signal.raise_signal(signal.SIGTERM)
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted_start)

    ending = launched_endless(monkeypatch, tmp_path, lambda _: None)

    assert ending.exit_code is ExitCode.INTERRUPTED
    assert ending.was_interrupted
