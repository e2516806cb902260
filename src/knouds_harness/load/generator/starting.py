"""Start the Locust process of a load: it imports what it needs while the command still prepares the run.

Locust patches its process, so it needs one of its own. Little is imported here, so that it starts at once.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

from knouds_harness.errors import UnknownName
from knouds_harness.locations import scenario_names, scenarios_path

_LOCUST: Final = "knouds_harness.load.generator.locust_process"
_ENDING_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def scenario_file(name: str) -> Path:
    """Find a Locust file: by the name of a scenario of the harness, or by the path of a ``.py`` file.

    Raises:
        UnknownName: There is no such scenario or file.
    """
    path = Path(name) if name.endswith(".py") else scenarios_path() / f"{name}.py"
    if not path.is_file():
        raise UnknownName("scenario", name, scenario_names())
    return path


class StartedProcess:
    """A Locust process that waits for the variables of its target, and sends nothing before.

    Attributes:
        reading: The end of a pipe through which it tells its progress.
        asked: The signals that have asked for its end.
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
        """End it in order, or at once."""
        if at_once and hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # the workers too
        elif at_once:
            self._process.kill()
        else:
            self._process.send_signal(
                signal.SIGTERM
            )  # Locust ends in order, or, before it has begun, at once


@contextmanager
def started(
    scenario: Path, *, runs_folder: Path, options: Sequence[str], environ: Mapping[str, str], command: str
) -> Iterator[StartedProcess]:
    """Start Locust on a scenario, in this environment until it is given more; kill it with the context."""
    reading, writing = os.pipe()
    arguments = ["--headless", "--only-summary", "--loglevel", "ERROR"]
    arguments += ["--record", str(runs_folder), "--progress-descriptor", str(writing)]
    arguments += ["--started-by", command, "--command-pid", str(os.getpid())]
    asked: list[int] = []
    try:
        with signals_counted(asked):  # no signal may come between the start and the means to end it
            process = subprocess.Popen(  # noqa: S603 - our own arguments
                [sys.executable, "-P", "-m", _LOCUST, "-f", str(scenario), *arguments, *options],
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
