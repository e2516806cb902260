"""Run a scenario for the command line, in a Locust process that ends when the command does.

Locust patches its process, so it needs one of its own; this module does not import it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from knouds_harness.errors import ExitCode, UnknownName
from knouds_harness.locations import scenario_names, scenarios_path
from knouds_harness.runs.load_progress import Listener, LoadProgress, ProgressMessage

_LOOK_EVERY_S: Final = 0.25
_LOCUST: Final = "knouds_harness.load.generator.locust_process"
_ENDING_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


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


def scenario_file(name: str) -> Path:
    """Find a Locust file: by the name of a scenario of the harness, or by the path of a ``.py`` file.

    Raises:
        UnknownName: There is no such scenario or file.
    """
    path = Path(name) if name.endswith(".py") else scenarios_path() / f"{name}.py"
    if not path.is_file():
        raise UnknownName("scenario", name, scenario_names())
    return path


def launch(
    scenario: Path,
    *,
    runs_folder: Path,
    options: Sequence[str],
    environ: Mapping[str, str],
    command: str,
    on_progress: Callable[[LoadProgress], object] = lambda _: None,
) -> Launched:
    """Run Locust on a scenario, with no other environment than ``environ``, and wait for its end.

    The first Ctrl-C, SIGTERM or SIGHUP ends it in order, a second one at once; the record is readable either
    way. If this process is killed, Locust and its workers notice and end.
    """
    listener = Listener()
    arguments = ["--headless", "--only-summary", "--loglevel", "ERROR"]
    arguments += ["--record", str(runs_folder), "--progress-descriptor", str(listener.writing)]
    arguments += ["--started-by", command, "--command-pid", str(os.getpid())]
    try:
        with (
            _signals_counted() as asked,  # before the start: no signal may end this process alone
            subprocess.Popen(  # noqa: S603 - our own arguments
                [sys.executable, "-P", "-m", _LOCUST, "-f", str(scenario), *arguments, *options],
                env=environ,
                stdin=subprocess.DEVNULL,
                # A terminal's Ctrl-C reaches this process only. A session of its own would be a scheduler's
                # group of its own, in which the user's nice counts for nothing.
                process_group=0,
                pass_fds=[listener.writing],
            ) as process,
        ):
            try:
                _wait(process, asked, lambda: _show(listener.hear(), on_progress))
            except BaseException:  # such as a closed output
                process.terminate()
                _wait(process, asked, listener.hear)
                raise
        told = listener.hear()
    finally:
        listener.close()
    return ending_of(process.returncode, told, was_interrupted=bool(asked))


def ending_of(status: int, told: ProgressMessage, *, was_interrupted: bool) -> Launched:
    """Return how a run ended, by its own verdict; without one it failed, even if Locust exited with 0."""
    folder = Path(told.progress.folder) if told.progress and told.progress.folder else None
    lost = folder if folder and not folder.is_dir() and told.has_begun else None
    if folder is not None and not folder.is_dir():  # given up before load began, or removed since
        folder = None
    exit_code, note = _verdict(status, told, was_interrupted=was_interrupted, has_begun=told.has_begun)
    if lost is not None:
        note = f"{lost}: the record of this run has been removed, so there is no report."
        exit_code = exit_code or ExitCode.USAGE
    return Launched(exit_code=exit_code, folder=folder, note=note, was_interrupted=was_interrupted)


def _verdict(
    status: int, told: ProgressMessage, *, was_interrupted: bool, has_begun: bool
) -> tuple[ExitCode, str]:
    if status < 0:
        signalled = f"The load generator was killed by {signal.Signals(-status).name}."
        return ExitCode.INTERRUPTED, "" if was_interrupted else signalled
    if told.exit_code is not None:
        if status == told.exit_code:
            return ExitCode(status), ""
        return ExitCode(told.exit_code) or ExitCode.BREACH, f"Locust ended with exit code {status}."
    if was_interrupted:
        return ExitCode.INTERRUPTED, ""
    if has_begun:
        return ExitCode.BREACH, f"The load generator ended without a verdict, with exit code {status}."
    # Load never began: the Locust file, or an option of Locust's, is at fault.
    return ExitCode.USAGE, "" if status else "Locust ended at once, and no load was sent."


def _show(told: ProgressMessage, on_progress: Callable[[LoadProgress], object]) -> None:
    if told.progress is not None:
        on_progress(told.progress)


def _wait(process: subprocess.Popen[bytes], asked: Sequence[int], on_look: Callable[[], object]) -> None:
    passed_on = 0
    while process.poll() is None:
        if len(asked) > passed_on:
            _end(process, at_once=bool(passed_on))
            passed_on = len(asked)
        on_look()
        time.sleep(_LOOK_EVERY_S)  # a signal does not cut it short, and is passed on after it


def _end(process: subprocess.Popen[bytes], *, at_once: bool) -> None:
    if at_once and hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)  # the workers too
    elif at_once:
        process.kill()
    else:
        process.send_signal(signal.SIGTERM)  # Locust ends in order, or, before it has begun, at once


@contextmanager
def _signals_counted() -> Iterator[list[int]]:
    """Collect Ctrl-C and similar signals instead of ending."""
    seen: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        seen.append(number)

    before: dict[int, Any] = {number: signal.signal(number, note) for number in _ENDING_SIGNALS}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
