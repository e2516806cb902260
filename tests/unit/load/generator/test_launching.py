"""The command ends with an exit code of ours, however Locust's process ends."""

import json
import os
import signal
import subprocess
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
from load_records import LIVE_PROGRESS

from knouds_harness.errors import ExitCode, OutputClosed, UnknownName
from knouds_harness.load.generator import launching
from knouds_harness.load.generator.launching import (
    LoadCommand,
    ending_of,
    launch,
    lead,
    scenario_file,
    started,
)
from knouds_harness.locations import scenario_names
from knouds_harness.runs.findings import RunOutcome
from knouds_harness.runs.load_progress import ProgressMessage
from knouds_harness.runs.record import read_run
from knouds_harness.runs.run_file import run_setup
from knouds_harness.runs.writer import RunWriter
from knouds_harness.targets.profile import Target


def told(exit_code=None, *, folder=None, at_s=1.0):
    progress: Any = SimpleNamespace(folder=folder and str(folder), at_s=at_s)
    return ProgressMessage(progress=progress, exit_code=exit_code)


@pytest.mark.parametrize(
    ("status", "verdict", "expected", "note"),
    [
        *((code, code, code, "") for code in ExitCode),
        (-signal.SIGKILL, None, ExitCode.INTERRUPTED, "SIGKILL"),
        (0, None, ExitCode.BREACH, "without a verdict"),
        (1, None, ExitCode.BREACH, "without a verdict"),
        (77, ExitCode.KEPT, ExitCode.BREACH, "77"),  # a plugin of the user's sets it, or all was said before
        (77, ExitCode.GUARD, ExitCode.GUARD, "77"),
    ],
)
def test_exit_code_is_the_verdict_or_an_error_if_there_is_none(tmp_path, status, verdict, expected, note):
    ending = ending_of(status, told(verdict, folder=tmp_path), was_interrupted=False)

    assert (ending.exit_code, ending.folder, bool(ending.note)) == (expected, tmp_path, bool(note))
    assert note in ending.note


def test_no_note_after_a_second_interruption(tmp_path):
    ending = ending_of(-signal.SIGKILL, told(folder=tmp_path), was_interrupted=True)

    assert ending.note == ""
    assert ending.was_interrupted


@pytest.mark.parametrize(
    ("status", "verdict", "was_interrupted", "expected"),
    [
        *((code, code, False, code) for code in (ExitCode.KEPT, ExitCode.BREACH, ExitCode.UNREACHABLE)),
        (1, None, False, ExitCode.USAGE),  # its file or options are at fault
        (1, None, True, ExitCode.INTERRUPTED),
        (0, None, False, ExitCode.USAGE),  # an option of Locust's only printed something
    ],
)
def test_run_that_never_began_has_no_record(status, verdict, was_interrupted, expected):
    ending = ending_of(status, ProgressMessage(exit_code=verdict), was_interrupted=was_interrupted)

    assert ending.exit_code is expected
    assert ("no load was sent" in ending.note) is (status == 0 and verdict is None)


@pytest.mark.parametrize(
    ("verdict", "expected"), [(ExitCode.KEPT, ExitCode.USAGE), (ExitCode.BREACH, ExitCode.BREACH)]
)
def test_run_whose_record_was_removed_never_passes(tmp_path, verdict, expected):
    ending = ending_of(verdict, told(verdict, folder=tmp_path / "gone"), was_interrupted=False)

    assert ending.exit_code is expected
    assert ending.folder is None
    assert "has been removed" in ending.note


def test_record_discarded_before_the_load_is_not_reported_missing(tmp_path):
    ending = ending_of(
        ExitCode.USAGE, told(ExitCode.USAGE, folder=tmp_path / "gone", at_s=-1), was_interrupted=False
    )

    assert (ending.exit_code, ending.folder, ending.note) == (ExitCode.USAGE, None, "")


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


def command_in(folder):
    return LoadCommand(scenario=folder / "mine.py", runs_folder=folder, options=[], line="")


def launched_endless(monkeypatch, tmp_path, meanwhile, *, generator=ENDLESS):
    """Launch a generator that never ends by itself; return when the command has ended."""
    monkeypatch.setattr(launching, "_LOCUST", "endless")
    monkeypatch.setattr(launching, "_show", lambda told, _: meanwhile(told))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "endless.py").write_text(generator)
    return launch(command_in(tmp_path), os.environ)


def test_load_ends_if_its_progress_cannot_be_printed(monkeypatch, tmp_path):
    """As when the output is closed: otherwise it would go on unnoticed."""

    def fail(told):
        if told.exit_code is not None:
            raise OutputClosed

    with pytest.raises(OutputClosed):
        launched_endless(monkeypatch, tmp_path, fail)


def test_record_of_a_run_that_was_interrupted_twice_says_so(monkeypatch, tmp_path):
    """And what it kept free on the disk for its own last words is gone."""
    target = Target(name="staging", base_url="http://127.0.0.1:1")

    def interrupt_twice(told):
        for _ in range(2 * told.has_begun):
            signal.raise_signal(signal.SIGINT)

    with RunWriter(tmp_path, kind="load", target=target, setup=run_setup(target, seed=1)) as writer:
        progress = asdict(replace(LIVE_PROGRESS, folder=str(writer.folder)))
        generator = ENDLESS.replace('{"exit_code": 0}', json.dumps({"progress": progress}))

        ending = launched_endless(monkeypatch, tmp_path, interrupt_twice, generator=generator)

        record = read_run(ending.folder)
        assert (record.outcome, record.exit_code) == (RunOutcome.INTERRUPTED, ExitCode.INTERRUPTED)
        assert record.note.startswith("It was interrupted twice")
        assert not list(writer.folder.glob("room*"))


@pytest.mark.parametrize("signals", [1, 2])
def test_first_signal_says_what_a_second_does_and_two_at_once_end_at_once(monkeypatch, tmp_path, signals):
    """However quickly they come: a generator that is asked to end in order may wait for answers."""
    ended, said = list[bool](), list[str]()

    def end(process, *, at_once=False):
        ended.append(at_once)
        kill(process, at_once=True)

    kill = launching.StartedProcess.end
    monkeypatch.setattr(launching.StartedProcess, "end", end)
    (tmp_path / "endless.py").write_text(ENDLESS)
    monkeypatch.setattr(launching, "_LOCUST", "endless")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with started(command_in(tmp_path), os.environ) as process:
        process.asked += [signal.SIGINT] * signals
        ending = lead(process, {}, say=said.append)

    assert ended == [signals > 1]
    assert ["Ctrl-C again ends at once" in each for each in said] == [True] * (signals == 1)
    assert ending.exit_code is ExitCode.INTERRUPTED


def test_signal_during_the_start_of_the_generator_ends_it(monkeypatch, tmp_path):
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


def test_process_gets_its_variables_once_they_are_known(monkeypatch, tmp_path):
    """They are not among those that other users of the machine may see, nor in its environment before."""
    monkeypatch.setattr(launching, "_LOCUST", "comparing")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "comparing.py").write_text("import json, sys; sys.exit(json.load(sys.stdin) != {'A': 'b'})")

    with started(command_in(tmp_path), os.environ) as process:
        assert process.wait(0.0) is None
        ending = lead(process, {"A": "b"})

    assert "ended at once" in ending.note


def test_process_that_gets_none_ends(monkeypatch, tmp_path):
    """As when the profile is refused while it starts."""
    with pytest.raises(UnknownName), started(command_in(tmp_path), {}) as process:
        raise UnknownName("target", "stagin", [])

    assert process._process.returncode is not None  # noqa: SLF001 - nobody else knows it any more
