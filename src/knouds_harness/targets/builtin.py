"""Open a target; for the built-in ``sandbox``, also start, seed and stop its server."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Final, TypedDict, Unpack

from knouds_harness.errors import TargetUnreachable, UsageError
from knouds_harness.locations import SANDBOX

if TYPE_CHECKING:
    from knouds_harness.targets.profile import Target

_TOKEN_VARIABLE = "KNOUDS_SANDBOX_SERVED_TOKEN"  # noqa: S105 - a name
_ENDS_WITHIN_S = 2.0
_PASSED_ON: Final = re.compile(
    r"PATH|HOME|LANG|LC_\w+|TZ|TMPDIR|TEMP|TMP|SYSTEMROOT|LD_LIBRARY_PATH|PYTHON\w+"
)
"""The variables that a sandbox gets; any other may hold a key of another target."""
_PASSED_ON_TO_SENDERS: Final = re.compile(
    rf"{_PASSED_ON.pattern}|KNOUDS_HARNESS_\w+|LOCUST_\w+|SSL_CERT_(?:FILE|DIR)|XDG_\w+"
    r"|(?i:all|http|https|no)_proxy"
)
"""What processes that send get besides the variables of their target."""


class SandboxOptions(TypedDict, total=False):
    seed: int
    faults: tuple[str, ...]
    legal: str | None
    between: str | None


@contextmanager
def open_target(
    name: str, *, environ: Mapping[str, str] | None = None, **options: Unpack[SandboxOptions]
) -> Iterator[Target]:
    """Read a target's profile, as ``load_target`` does; run the built-in sandbox until the context ends.

    Raises:
        UnknownName: There is no such profile, or no such fault or choice.
        ProfileError: The profile is broken.
        UsageError: Options of the sandbox were given for another target, or it refused them.
        TargetUnreachable: The sandbox did not start.
    """
    from knouds_harness.targets.profile import load_target  # noqa: PLC0415 - a sandbox starts as quickly

    environ = os.environ if environ is None else environ
    with _served(name, **options) as variables:
        yield load_target(name, environ={**environ, **variables()})


@contextmanager
def target_environment(
    name: str, **options: Unpack[SandboxOptions]
) -> Iterator[Callable[[], Mapping[str, str]]]:
    """Yield what returns the environment of processes that are to send to a target.

    It has the variables that the profile names, what programs usually need, and the secrets of no other
    target. The built-in sandbox's server starts at once, is waited for by the call, and runs until the
    context ends. Arguments and exceptions are those of ``open_target``.
    """
    with _served(name, **options) as variables:

        def environ() -> Mapping[str, str]:
            from knouds_harness.targets.profile import variables_of  # noqa: PLC0415 - as in open_target

            of_sandbox = variables()
            named = frozenset[str]() if of_sandbox else variables_of(name)
            own = {each: value for each, value in os.environ.items() if each in named}
            return {**usual_environment(), **own, **of_sandbox}

        yield environ


def usual_environment() -> Mapping[str, str]:
    """Return the environment of a process that is to send, without the variables of any target."""
    return {name: each for name, each in os.environ.items() if _PASSED_ON_TO_SENDERS.fullmatch(name)}


@contextmanager
def _served(name: str, **asked: Unpack[SandboxOptions]) -> Iterator[Callable[[], Mapping[str, str]]]:
    """Run the server of the built-in sandbox until the context ends; yield what waits for its variables."""
    if name != SANDBOX:
        if asked.get("faults") or asked.get("legal") or asked.get("between"):
            raise UsageError(f'target "{name}": --fault, --legal and --between are for the sandbox only')
        yield dict
        return
    token = secrets.token_urlsafe(24)
    options = ["--announce", "--port", "0", "--seed", str(asked.get("seed", 0))]
    options += [option for fault in asked.get("faults", ()) for option in ("--fault", fault)]
    options += ["--legal", legal] if (legal := asked.get("legal")) else []
    options += ["--between", between] if (between := asked.get("between")) else []
    with _server(options, token) as announced:
        yield lambda: _variables(announced(), token)


def _variables(announced: Mapping[str, Any], token: str) -> dict[str, str]:
    keys = {
        f"KNOUDS_SANDBOX_KEY_{persona.upper().replace('-', '_')}": secret
        for persona, secret in announced["keys"].items()
    }
    return {"KNOUDS_SANDBOX_URL": announced["base_url"], "KNOUDS_SANDBOX_CONTROL_TOKEN": token, **keys}


@contextmanager
def _server(options: Sequence[str], token: str) -> Iterator[Callable[[], Mapping[str, Any]]]:
    """Run a sandbox until the context ends; it also ends when its standard input closes."""
    command = [sys.executable, "-P", "-m", "knouds_sandbox", *options]
    variables = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    with (
        TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(  # noqa: S603 -- our own module, our own arguments
            command,
            env={**variables, _TOKEN_VARIABLE: token},  # other users can see arguments
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C ends us, not the server; we end it
        ) as process,
    ):

        def announced() -> Mapping[str, Any]:
            assert process.stdout is not None  # noqa: S101 -- for the type checker: it is a PIPE
            line = process.stdout.readline()
            if not line.startswith("{"):
                raise _start_error(process, errors)
            told: Mapping[str, Any] = json.loads(line)
            return told

        try:
            yield announced
        finally:
            process.kill()  # it keeps nothing, and an orderly end takes 0.25 s


def _start_error(process: subprocess.Popen[str], errors: IO[str]) -> TargetUnreachable | UsageError:
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_ENDS_WITHIN_S)
    process.kill()
    process.wait()
    errors.seek(0)
    reason = errors.read().strip().removeprefix("Error: ").removeprefix("error: ")
    if process.returncode == UsageError.exit_code:
        return UsageError(reason)
    last_line = reason.splitlines()[-1] if reason else f"it ended with status {process.returncode}"
    return TargetUnreachable(f"the sandbox did not start: {last_line}")


def recorded_target(name: object, base_url: object, *, asked: str | None = None) -> Target:
    """Read the profile of a run record's server: the one asked for, or the one in ``targets/`` of its name.

    The name in a record may come from anywhere, so it is never a path; its address is only compared.

    Raises:
        UsageError: There is no such profile, or it is for another address than the record.
        ProfileError: As ``load_target``.
    """
    from knouds_harness.targets.profile import load_target, target_names  # noqa: PLC0415 - as in open_target

    remedy = "  Name the profile of that server with --target."
    if asked is None and name not in target_names():
        raise UsageError(
            f'the run was on target "{name}", and targets/ has no profile of that name\n{remedy}'
        )
    target = load_target(asked or str(name))
    if target.base_url != base_url:
        raise UsageError(f"the run was on {base_url}, and {target.source} is for {target.base_url}\n{remedy}")
    return target
