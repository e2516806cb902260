"""Run a scenario for the command line: a Locust process that starts early, and ends when the command does.

Locust patches its process, so it needs one of its own. It imports what it needs while the command still
prepares the run.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from knouds_harness.errors import ExitCode, UnknownName
from knouds_harness.locations import scenario_names, scenarios_path

if TYPE_CHECKING:
    from knouds_harness.runs.load_progress import LoadProgress, ProgressMessage

_LOCUST: Final = "knouds_harness.load.generator.locust_process"
_LOOK_EVERY_S: Final = 0.25
_ENDING: Final = (
    "Ending: requests in flight are answered or time out, then there is a report. Ctrl-C again ends at once, "
    "with a report of what was written by then."
)
_TWICE: Final = "It was interrupted twice, so it ended at once: up to five seconds are missing."
_ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def scenario_file(name: str) -> Path:
    """Find a Locust file: by the name of a scenario of the harness, or by the path of a ``.py`` file."""
    path = Path(name) if name.endswith(".py") else scenarios_path() / f"{name}.py"
    if not path.is_file():
        raise UnknownName("scenario", name, scenario_names())
    return path


@dataclass(frozen=True, kw_only=True)
class LoadCommand:
    """A scenario to run, how Locust is asked to, and the line of the command that asks."""

    scenario: Path
    runs_folder: Path
    options: Sequence[str]
    line: str


class StartedProcess:
    """A Locust process that waits for the variables of its target, and sends nothing before.

    It tells its progress through the pipe ``reading``; ``asked`` are the signals that have asked for its end.
    """

    def __init__(self, process: subprocess.Popen[bytes], reading: int, asked: list[int]) -> None:
        self._process = process
        self.reading = reading
        self.asked = asked

    def give(self, environ: Mapping[str, str]) -> None:
        """Let it begin; a process that has ended already needs none."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it is a PIPE
        with suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(json.dumps(dict(environ)).encode() + b"\n")

    def wait(self, timeout_s: float) -> int | None:
        """Wait until it tells something, or ends; return its exit status, None if it still runs."""
        select.select([self.reading], [], [], timeout_s)  # a signal does not cut it short
        return self._process.poll()

    def end(self, *, at_once: bool = False) -> None:
        if at_once:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # the workers too
        else:
            self._process.send_signal(signal.SIGTERM)  # it ends in order, or, before it has begun, at once


@contextmanager
def started(command: LoadCommand, environ: Mapping[str, str]) -> Iterator[StartedProcess]:
    """Start Locust on a scenario, in this environment until it is given more; kill it with the context."""
    reading, writing = os.pipe()
    arguments = [sys.executable, "-P", "-m", _LOCUST, "-f", str(command.scenario)]
    arguments += ["--headless", "--only-summary", "--loglevel", "ERROR"]
    arguments += ["--record", str(command.runs_folder), "--progress-descriptor", str(writing)]
    arguments += ["--started-by", command.line, "--command-pid", str(os.getpid())]
    asked: list[int] = []
    try:
        with signals_counted(asked):  # no signal may come between the start and the means to end it
            process = subprocess.Popen(  # noqa: S603 - our own arguments
                [*arguments, *command.options],
                env=environ,
                stdin=subprocess.PIPE,
                # A terminal's Ctrl-C reaches this process only. A session of its own would be a scheduler's
                # group of its own, in which the user's nice counts for nothing.
                process_group=0,
                pass_fds=[writing],
            )
        os.close(writing)
        with process:
            one = StartedProcess(process, reading, asked)
            try:
                yield one
            finally:
                if process.poll() is None:
                    one.end(at_once=True)
    finally:
        os.close(reading)


@contextmanager
def signals_counted(seen: list[int]) -> Iterator[None]:
    """Collect Ctrl-C and similar signals instead of ending."""

    def note(number: int, _: FrameType | None) -> None:
        seen.append(number)

    before: dict[int, Any] = {number: signal.signal(number, note) for number in _ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, kw_only=True)
class Launched:
    """How a scenario ended.

    Attributes:
        note: Why it ended, for people, where the record does not say so; may be empty.
        was_interrupted: Whether the user asked for the end, even if the load was over by then.
    """

    exit_code: ExitCode
    folder: Path | None
    note: str = ""
    was_interrupted: bool = False


def launch(
    command: LoadCommand,
    environ: Mapping[str, str],
    *,
    on_progress: Callable[[LoadProgress], object] = lambda _: None,
) -> Launched:
    """Run Locust on a scenario, with no other environment than ``environ``, and wait for its end."""
    with started(command, environ) as process:
        return lead(process, environ, on_progress=on_progress)


def lead(
    process: StartedProcess,
    environ: Mapping[str, str],
    *,
    on_progress: Callable[[LoadProgress], object] = lambda _: None,
    say: Callable[[str], object] = lambda _: None,
) -> Launched:
    """Let a process begin with this environment, and wait for its end.

    The first Ctrl-C, SIGTERM or SIGHUP ends it in order, a second one at once; the record is readable either
    way. If this process is killed, Locust and its workers notice and end.
    """
    # The process starts before these imports.
    from knouds_harness.runs.findings import RunOutcome  # noqa: PLC0415
    from knouds_harness.runs.load_progress import Listener  # noqa: PLC0415
    from knouds_harness.runs.record import rewrite_outcome  # noqa: PLC0415

    listener = Listener(process.reading)
    with signals_counted(process.asked):
        process.give(environ)
        try:
            status = _ended(process, lambda: _show(listener.hear(), on_progress), say)
        except BaseException:  # such as a closed output
            process.end()
            _ended(process, listener.hear)
            raise
    ending = ending_of(status, listener.hear(), was_interrupted=bool(process.asked))
    if status < 0 and process.asked[1:] and ending.folder is not None:
        rewrite_outcome(ending.folder, RunOutcome.INTERRUPTED, ending.exit_code, note=_TWICE)
    return ending


def ending_of(status: int, told: ProgressMessage, *, was_interrupted: bool) -> Launched:
    """Return how a run ended, by its own verdict; without one it failed, even if Locust exited with 0."""
    folder = Path(told.progress.folder) if told.progress and told.progress.folder else None
    exit_code, note = _verdict(status, told, was_interrupted=was_interrupted)
    if folder is not None and not folder.is_dir():
        if told.has_begun:  # else it was given up before load began
            note = f"{folder}: the record of this run has been removed, so there is no report."
            exit_code = exit_code or ExitCode.USAGE
        folder = None
    return Launched(exit_code=exit_code, folder=folder, note=note, was_interrupted=was_interrupted)


def _verdict(status: int, told: ProgressMessage, *, was_interrupted: bool) -> tuple[ExitCode, str]:
    if status < 0:
        signalled = f"The load generator was killed by {signal.Signals(-status).name}."
        return ExitCode.INTERRUPTED, "" if was_interrupted else signalled
    if told.exit_code is not None:
        if status == told.exit_code:
            return ExitCode(status), ""
        return ExitCode(told.exit_code) or ExitCode.BREACH, f"Locust ended with exit code {status}."
    if was_interrupted:
        return ExitCode.INTERRUPTED, ""
    if told.has_begun:
        return ExitCode.BREACH, f"The load generator ended without a verdict, with exit code {status}."
    # Load never began: the Locust file, or an option of Locust's, is at fault.
    return ExitCode.USAGE, "" if status else "Locust ended at once, and no load was sent."


def _show(told: ProgressMessage, on_progress: Callable[[LoadProgress], object]) -> None:
    if told.progress is not None:
        on_progress(told.progress)


def _ended(
    process: StartedProcess, on_look: Callable[[], object], say: Callable[[str], object] = lambda _: None
) -> int:
    passed_on = 0
    while (status := process.wait(_LOOK_EVERY_S)) is None:
        if len(process.asked) > passed_on:
            passed_on = len(process.asked)
            process.end(at_once=passed_on > 1)
            if passed_on == 1:
                say(_ENDING)
        on_look()
    return status
