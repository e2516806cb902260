"""Running ``knouds-harness check`` as a user does, for tests that look at its verdict."""

import json
import multiprocessing
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from subprocess import CompletedProcess, Popen, run
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from knouds_harness.commands.cli import DEFECT, main
from knouds_harness.judging.checks.schemas import SHAPE_FACTS
from knouds_harness.judging.engine import checks_of_every_answer
from knouds_harness.runs.findings import Finding, Verdict
from knouds_harness.runs.record import RunRecord, read_run
from knouds_harness.targets import builtin
from knouds_sandbox import command as sandbox
from knouds_sandbox.fault_points import Fault
from knouds_sandbox.faults import FAULTS

FAILING = {Verdict.BREACH, Verdict.CONFLICT, Verdict.CONTRADICTION}
TIMEOUT_S = 300
PRINTED_FILE = "printed.txt"
BASH = ("/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")
"""How a CI system runs a step."""
_OUTPUTS = ("stdout", "stderr")
_PEAK_FILE = "peak-kb"
_MET_FILE = "met.json"

_SERVER = builtin._server  # noqa: SLF001 - replaced in forked processes

# Importing takes longer than a check: each is forked from a process that has imported everything.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["checked_ahead"])


@cache
def _start_server_of_forks() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        forkserver.ensure_running()


def check(folder: Path, *options: str) -> RunRecord:
    """Check a sandbox from a folder, which is created if it is not there; return the record."""
    folder.mkdir(exist_ok=True)
    ended = knouds("check", "--runs-folder", "runs", *options, cwd=folder)
    assert (folder / "runs").exists(), ended.printed
    record = only_record(folder / "runs")
    assert record.exit_code == ended.returncode
    return record


def only_record(runs: Path) -> RunRecord:
    """Return the record of the only run in a folder of runs."""
    (run,) = runs.iterdir()
    return read_run(run)


def broken_by(record: RunRecord) -> set[str]:
    """Return the facts of the findings that fail a run."""
    return {each.fact for each in record.findings if each.verdict in FAILING}


def has_met(record: RunRecord, fault: Fault) -> bool:
    """Return whether a check met a fault of its sandbox."""
    met = record.folder.parents[1] / _MET_FILE
    return bool(json.loads(met.read_text(encoding="utf-8"))[fault.id])


def only(fact: str) -> tuple[str, ...]:
    """Return the options that select a fact; none if any test may show it to be broken."""
    is_of_any = any(fact in each.facts for each in checks_of_every_answer()) and fact not in SHAPE_FACTS
    return () if is_of_any else ("--fact", fact)


def findings_of(fault: Fault, folder: Path) -> tuple[RunRecord, list[Finding]]:
    """Return the record of a run that found a fault, and its findings about the fault's fact."""
    options = ("--fault", fault.id, *only(fault.fact), "--seed", "1", "--examples", "10")
    record = check(folder / "first", *options, "--fail-fast")
    if fault.fact not in broken_by(record):  # another fact that the same response breaks may be found first
        record = check(folder / "all", *options)
    findings = [each for each in record.findings if each.fact == fault.fact and each.verdict in FAILING]
    assert findings
    return record, findings


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A command that has ended: its output, and the peak memory of it or a process that it waited for."""

    returncode: int
    stdout: str
    stderr: str
    peak_mb: float = 0.0

    @property
    def printed(self) -> str:
        return f"{self.stdout}\n{self.stderr}"


def knouds(*arguments: object, cwd: Path, timeout_s: float = TIMEOUT_S, **environ: str) -> Ended:
    """Run ``knouds-harness`` in a folder, to its end, with additional environment variables.

    Raises:
        AssertionError: It printed a traceback.
    """
    with TemporaryDirectory() as kept:
        ended = _run(cwd, tuple(map(str, arguments)), environ, Path(kept), timeout_s)
    assert "Traceback" not in ended.printed, ended.printed
    assert DEFECT not in ended.printed, ended.printed
    return ended


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Popen[bytes]]:
    """Start a command in its own process, with output to a file; kill it at the end if it still runs."""
    with (folder / PRINTED_FILE).open("w") as printed:
        command = [sys.executable, "-m", "knouds_harness", *arguments]
        process = Popen(command, cwd=folder, stdout=printed, stderr=printed, start_new_session=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def run_program(*words: object, cwd: Any = None, env: Any = None, **environ: str) -> CompletedProcess[str]:
    """Run a program to its end, with additional environment variables."""
    variables = {**(os.environ if env is None else env), **environ}
    options: dict[str, Any] = {"cwd": cwd, "env": variables, "timeout": 2 * TIMEOUT_S}
    return run(list(map(str, words)), capture_output=True, encoding="utf-8", check=False, **options)


def _run(
    folder: Path, arguments: tuple[str, ...], environ: Mapping[str, str], kept: Path, timeout_s: float
) -> Ended:
    _start_server_of_forks()
    whole = {**os.environ, "NO_COLOR": "1", **environ}
    process = _PROCESSES.Process(target=_command_in, args=(folder, arguments, whole, kept), daemon=True)
    process.start()
    process.join(timeout_s)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode is not None, f"no end within {timeout_s:g} s"
    stdout, stderr = ((kept / each).read_text(encoding="utf-8") for each in _OUTPUTS)
    peak_kb = (kept / _PEAK_FILE).read_text(encoding="utf-8") if process.exitcode >= 0 else "0"
    return Ended(returncode=process.exitcode, stdout=stdout, stderr=stderr, peak_mb=int(peak_kb) / 1024)


def _command_in(folder: Path, arguments: tuple[str, ...], environ: Mapping[str, str], kept: Path) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    for name, stream in zip(_OUTPUTS, (sys.stdout, sys.stderr), strict=True):
        os.dup2(os.open(kept / name, os.O_WRONLY | os.O_CREAT), stream.fileno())
    sys.argv = ["knouds-harness", *arguments]
    builtin._server = _forked_sandbox  # noqa: SLF001 - the same command, without starting Python anew
    try:
        main()
    finally:
        peak_kb = max(
            resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        (kept / _PEAK_FILE).write_text(str(peak_kb), encoding="utf-8")


@contextmanager
def _forked_sandbox(options: Sequence[str], token: str) -> Iterator[Callable[[], Mapping[str, Any]]]:
    from_parent, to_child = os.pipe()
    from_child, to_parent = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()
        os.close(to_child)  # when it is closed, the sandbox ends
        sys.stdin, sys.stdout = os.fdopen(from_parent), os.fdopen(to_parent, "w")
        sys.argv[1:] = [*options, "--control-token", token]
        try:
            sandbox.main()
        except SystemExit:
            pass
        except BaseException:  # noqa: BLE001 - nothing above may go on in a child
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(from_parent)
    os.close(to_parent)
    with os.fdopen(from_child, encoding="utf-8") as announced, os.fdopen(to_child, "wb"):
        try:
            line = announced.readline()
            if line:
                yield lambda: json.loads(line)
                if "--fault" in options:
                    headers = {"x-sandbox-token": token}
                    state = httpx.get(f"{json.loads(line)['base_url']}/__sandbox__/state", headers=headers)
                    Path(_MET_FILE).write_text(json.dumps(state.json()["faultsMet"]), encoding="utf-8")
            else:  # it has printed why, where no one reads it
                with _SERVER(options, token) as announced_anew:
                    yield announced_anew
        finally:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)


TRIES_ALL = bool(os.environ.get("EVERY_FAULT"))
_ONE_BY_FACT = {fault.fact: fault for fault in sorted(FAULTS, key=lambda fault: fault.is_subtle)}
TRIED_FAULTS = list(FAULTS if TRIES_ALL else _ONE_BY_FACT.values())


def sampled(cases: Sequence[object], *, every: int) -> list[Any]:
    """Mark all cases but every nth as nightly; CI tries the first."""
    return [
        case
        if place % every == 0
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.nightly)
        for place, case in enumerate(cases)
    ]
