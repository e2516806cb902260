"""The command line: the table of commands, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import atexit
import io
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from knouds_harness.errors import (
    ExitCode,
    HarnessError,
    OutputClosed,
    RunRecordError,
    UnknownName,
    UsageError,
)
from knouds_harness.files import LEAST_OPEN_FILES, require_open_files
from knouds_harness.interrupts import end_as_ctrl_c_does, ignore_interrupts
from knouds_harness.printable import printable

if TYPE_CHECKING:
    from knouds_sandbox.answers import ObservedExchange

FIRST_COMMANDS: Final = {
    "init": "Write the profile of your own server.",
    "doctor": "Check a profile: what can be tested, what is missing, what it costs.",
    "check": "Check that a target keeps the contract.",
    "load": "Load a target with a scenario.",
    "report": "Render the reports of a run again.",
    "compare": "Compare runs: what changed, and how sure that is.",
    "sandbox": "Run a complete server of the Knouds API on this machine.",
}
MORE_COMMANDS: Final = {
    "demo": "Check the built-in sandbox.",
    "replay": "Replay findings, and report whether they still occur.",
    "record": "Record an answer for each documented outcome.",
    "verify": "Check recorded traffic against the contract.",
    "facts": "List facts with their source, checks, faults and recordings; all if no ID is given.",
    "cleanup": "Delete what interrupted runs left on a target.",
}
COMMANDS: Final = {**FIRST_COMMANDS, **MORE_COMMANDS}
"""All commands in the order of help, each with the first sentence of its own help."""

_PARTS: Final = {"load": "locust"} | dict.fromkeys(
    ("check", "demo", "doctor", "init", "record", "replay"), "schemathesis"
)
"""The commands that need a part of the installation, each with a module that only that part has."""
_EXTRAS: Final = {"schemathesis": "check", "locust": "load"}

REMOVED: Final = {
    "diff": "each check lists what is new (drift), and `oasdiff` compares two documents",
    "history": "`check --baseline` and `compare` say what changed; old runs are folders to delete",
    "selftest": "each load run measures its own delay",
    "check --only-failures": "`--only-new` prints only what fails the run if there is no baseline",
    "compare --format": "`compare.json` holds the same",
    "facts --gaps": "no documented fact lacks a check or a fault",
    "load --baseline": "`compare BASELINE RUN` says what changed, and fails if something got worse",
    "load --dashboard": "the terminal shows a load as it runs, as does the Grafana board on --metrics-port",
    "load --finish": "load polls asynchronous runs, and check judges their deliveries",
    "load --otlp-endpoint": "the prometheus receiver of an OpenTelemetry collector reads --metrics-port",
    "report --baseline": "`compare BASELINE RUN` says what changed",
}
"""Commands and options of earlier versions, each with what replaces it."""

DEFECT: Final = "knouds-harness failed"
_ELSEWHERE: Final = {"sandbox": "knouds_sandbox.command", "demo": "knouds_harness.commands.check"}
_EPILOG: Final = f"Exit codes: {ExitCode.explained()}."


def command_named(name: str) -> click.Command:
    module = import_module(_ELSEWHERE.get(name, f"knouds_harness.commands.{name}"))
    command: click.Command = getattr(module, name)
    needed = _PARTS.get(name, "click")
    if find_spec(needed) is None:
        command.callback = partial(_refuse, name, _EXTRAS[needed])
    return command


def _refuse(name: str, extra: str, **_: object) -> NoReturn:
    raise UsageError(f"{name} needs a part that is not installed: pip install '.[{extra}]' in its folder")


def _removed(name: str) -> UsageError:
    return UsageError(f"{name} was removed in 0.3.0: {REMOVED[name]}")


class LazyGroup(click.Group):
    """Imports a command's module only when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:  # noqa: ARG002 - the same
        if cmd_name in REMOVED:
            raise _removed(cmd_name)
        if cmd_name not in COMMANDS:
            raise UnknownName("command", cmd_name, COMMANDS)
        return command_named(cmd_name)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run the command; if its output is closed, end without a verdict."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as unknown:
            name = f"{unknown.ctx.command.name if unknown.ctx else ''} {unknown.option_name}"
            if name not in REMOVED:
                raise
            raise _removed(name) from None
        except (BrokenPipeError, OutputClosed):  # click would end with 1, a breach, or print a line
            sys.exit(ExitCode.INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        for heading, commands in (("Commands", FIRST_COMMANDS), ("More", MORE_COMMANDS)):
            with formatter.section(heading):
                formatter.write_dl(list(commands.items()))


@click.group(
    cls=LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="knouds-harness")
@click.option("--debug", is_flag=True, help="Show a traceback with every error")
@click.pass_context
def cli(context: click.Context, *, debug: bool) -> None:
    """Test whether a server keeps the contract of the Knouds REST API, and how much load it carries.

    Begin with `knouds-harness demo`: it checks a sandbox that it starts itself, and needs no account.
    """
    del debug  # main() looks at it
    context.obj = writing_har


@contextmanager
def writing_har(
    path: Path, base_url: str, keys: Mapping[str, str]
) -> Iterator[Callable[[ObservedExchange], None]]:
    """Open a HAR file for ``sandbox --har``: the sandbox imports nothing of the harness.

    Yields what adds an exchange to it, with every secret replaced by its name.
    """
    from knouds_harness.client_transports import ObservedTraffic, header_texts
    from knouds_harness.exchange.evidence import Exchange
    from knouds_harness.exchange.har import HarWriter, observed_request

    traffic = ObservedTraffic(keys)
    try:
        writer = HarWriter(path)
    except OSError as error:
        raise RunRecordError(f"--har {path}: cannot be written: {error.strerror}") from error

    def add(seen: ObservedExchange) -> None:
        url = base_url + seen.target.decode("latin-1")
        exchange = Exchange(
            id="",
            request=observed_request(seen.method, url, bytes(seen.body) or None),
            url=url,
            sent_headers=header_texts(seen.headers),
            status=seen.status or None,
            headers=header_texts(seen.answer_headers),
            body=bytes(seen.answer_body),
            started_at=datetime.fromtimestamp(seen.began_unix_s, UTC),
            elapsed_ms=seen.elapsed_ms,
            failure=None if seen.status else "not answered",
        )
        writer.add(traffic.without_secrets(exchange))

    with writer:
        yield add


def _open_closed_streams() -> None:
    """Open the null device for streams that a shell has closed (``>&-``), before a file gets their number."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            mode = "w" if descriptor else "r"
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - a descriptor, for as long as the process lives


class _Output(io.FileIO):
    """A file descriptor that drops what a full device cannot take, and keeps the error in ``lost``."""

    lost: OSError | None = None

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - a buffer
        """Write the data or drop it; raises only for a closed pipe."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.lost = error
            return memoryview(data).nbytes


def _tolerate_full_devices() -> _Output | None:
    """Make stdout and stderr survive a full device; return stdout, or None if it has no descriptor."""
    output = None
    for name in ("stderr", "stdout"):
        stream, output = getattr(sys, name), None
        with suppress(OSError):  # in tests, a stream has no descriptor
            output = _Output(stream.fileno(), "w", closefd=False)
            anew = io.TextIOWrapper(
                io.BufferedWriter(output),
                encoding=stream.encoding,
                errors="backslashreplace",  # an ASCII terminal must not end a run
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, anew)
    return output


def main() -> None:
    """Run the command line; every error that a user can meet ends in one message and its exit code."""
    _open_closed_streams()
    output = _tolerate_full_devices()
    end_as_ctrl_c_does()
    threading.excepthook = lambda thrown: _say_traceback(thrown.exc_value)
    exit_code = 0
    try:
        _run()
    except SystemExit as ended:
        exit_code = int(ended.code or 0)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # no reader is left, also for what Python writes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if output and output.lost:
        click.echo(f"error: standard output: {output.lost.strerror}", err=True)
        exit_code = exit_code or ExitCode.USAGE
    atexit.register(ignore_interrupts)
    sys.exit(exit_code)


def _run() -> None:
    try:
        require_open_files(LEAST_OPEN_FILES)
        cli.main(prog_name="knouds-harness", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        command = error.ctx.command if isinstance(error, click.UsageError) and error.ctx else cli
        if "unexpected extra argument" in error.message and any("--target" in p.opts for p in command.params):
            click.echo("  A target is named with --target.", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except HarnessError as error:
        _say(error, str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        _say(error, f"{error.filename or type(error).__name__}: {error.strerror or error}")
        sys.exit(ExitCode.USAGE)
    except Exception as error:  # noqa: BLE001 - a defect, or no memory: neither is a breach
        what = traceback.format_exception_only(error)[0].strip()
        _say(error, f"{DEFECT}: {what}\n  To see where, run knouds-harness --debug and then the rest.")
        sys.exit(ExitCode.USAGE)


def _say(error: Exception, message: str) -> None:
    if "--debug" in sys.argv:
        _say_traceback(error)
    click.echo(f"error: {_shown(message)}", err=True)


def _say_traceback(error: BaseException | None) -> None:
    click.echo(_shown("".join(traceback.format_exception(error))), err=True, nl=False)


def _shown(text: str) -> str:
    """Return text without the secrets that this process may know, and without terminal escapes."""
    redaction = sys.modules.get("knouds_harness.exchange.redaction")
    return redaction.shown(text) if redaction else printable(text, keep="\n\t")
