"""Run a scenario for the command line, in a Locust process that ends when the command does."""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from knouds_harness.errors import ExitCode
from knouds_harness.load.generator.starting import StartedProcess, signals_counted, started
from knouds_harness.runs.load_progress import Listener, LoadProgress, ProgressMessage

_LOOK_EVERY_S: Final = 0.25


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
    scenario: Path,
    *,
    runs_folder: Path,
    options: Sequence[str],
    environ: Mapping[str, str],
    command: str,
    on_progress: Callable[[LoadProgress], object] = lambda _: None,
) -> Launched:
    """Run Locust on a scenario, with no other environment than ``environ``, and wait for its end."""
    with started(
        scenario, runs_folder=runs_folder, options=options, environ=environ, command=command
    ) as process:
        return lead(process, environ, on_progress=on_progress)


def lead(
    process: StartedProcess,
    environ: Mapping[str, str],
    *,
    on_progress: Callable[[LoadProgress], object] = lambda _: None,
) -> Launched:
    """Let a process begin with this environment, and wait for its end.

    The first Ctrl-C, SIGTERM or SIGHUP ends it in order, a second one at once; the record is readable either
    way. If this process is killed, Locust and its workers notice and end.
    """
    listener = Listener(process.reading)
    with signals_counted(process.asked):
        process.give(environ)
        try:
            status = _ended(process, lambda: _show(listener.hear(), on_progress))
        except BaseException:  # such as a closed output
            process.end()
            _ended(process, listener.hear)
            raise
    return ending_of(status, listener.hear(), was_interrupted=bool(process.asked))


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


def _ended(process: StartedProcess, on_look: Callable[[], object]) -> int:
    passed_on = 0
    while (status := process.wait(_LOOK_EVERY_S)) is None:
        if len(process.asked) > passed_on:
            process.end(at_once=bool(passed_on))
            passed_on = len(process.asked)
        on_look()
    return status
