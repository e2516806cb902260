"""Running a scenario for the command line: a Locust of its own, and a target that lives as long as it does.

Locust patches its process, so it gets one of its own; this module imports none of it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from knouds_harness.errors import ExitCode, UnknownName
from knouds_harness.locations import scenarios_path

_OBJECTIVES = "objectives.toml"


@dataclass(frozen=True, kw_only=True)
class Launched:
    """How a scenario ended.

    Attributes:
        exit_code: Of Locust's process: one of ours, unless Locust itself failed.
        folder: The record; None where it did not come to one.
    """

    exit_code: int
    folder: Path | None


def scenario_names() -> tuple[str, ...]:
    """The scenarios that come with the harness."""
    return tuple(sorted(path.stem for path in scenarios_path().glob("*.py")))


def scenario_file(name: str) -> Path:
    """The Locust file of a scenario.

    Args:
        name: Of one that comes with the harness, or the path of any other ``.py`` file.

    Raises:
        UnknownName: There is neither.
    """
    path = Path(name) if name.endswith(".py") else scenarios_path() / f"{name}.py"
    if not path.is_file():
        raise UnknownName("scenario", name, scenario_names())
    return path


def launch(
    scenario: Path, *, runs_folder: Path, options: Sequence[str], variables: Mapping[str, str]
) -> Launched:
    """Run Locust on a scenario and wait for its end; Ctrl-C ends it in order.

    Args:
        scenario: The Locust file.
        runs_folder: Where the record goes.
        options: Of Locust and of the plugin.
        variables: For the target's profile, besides this process's environment.
    """
    runs_folder.mkdir(parents=True, exist_ok=True)
    before = set(runs_folder.iterdir())
    objectives = scenarios_path() / _OBJECTIVES
    port = str(_free_port())
    command = [sys.executable, "-m", "locust", "-f", str(scenario), "--headless", "--only-summary"]
    command += ["--loglevel", "ERROR", "--json-file", os.devnull, "--record", str(runs_folder)]
    command += ["--master-bind-port", port, "--master-port", port]  # two runs at once must not share workers
    command += ["--objectives", str(objectives)] if "--objectives" not in options else []
    with subprocess.Popen(  # noqa: S603 - our own arguments
        [*command, *options], env={**os.environ, **variables}, stdin=subprocess.DEVNULL
    ) as process:
        exit_code = _wait(process)
    made = sorted(set(runs_folder.iterdir()) - before)
    return Launched(exit_code=exit_code, folder=made[-1] if made else None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait; the first Ctrl-C reaches Locust by itself, as it is in the foreground too."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        try:
            process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGKILL)
        return process.wait() or ExitCode.INTERRUPTED
