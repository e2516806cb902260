"""Every exception that a user can meet, each with the exit code it ends the command with.

HarnessError
├── UsageError                  2   the command line asks for something impossible
│   ├── UnknownName                 a target, family, operation or fault that does not exist
│   └── PortInUse                   the sandbox's port is taken
├── ProfileError                2   a target's profile is missing, broken or incomplete
├── DocumentError               2   the OpenAPI document is broken
├── RunRecordError              2   a run folder cannot be read or written
├── RecordingError              2   a recording cannot be used: edited, cut short, of another contract
├── TargetUnreachable           3   no usable answer from the target
└── GuardStop                   4   a guard refused to send a request
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status means (documented in the README)."""

    KEPT = 0
    BREACH = 1
    USAGE = 2
    UNREACHABLE = 3
    GUARD = 4
    INVALID_MEASUREMENT = 5
    INTERRUPTED = 130


class HarnessError(Exception):
    """Something the user can act on; the message says what, where and what to do next."""

    exit_code = ExitCode.USAGE


class UsageError(HarnessError):
    """The command line asks for something impossible."""


class UnknownName(UsageError):
    """A name that does not exist; the message lists the known ones and the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        """Build the message.

        Args:
            kind: What is named, such as ``target``.
            name: What the user wrote.
            known: Every valid name.
        """
        known = sorted(known)
        shown = ", ".join(known) if len(known) <= 12 else f"{', '.join(known[:12])}, … {len(known)} in all"
        message = f'no {kind} "{name}" (known: {shown}).'
        nearest = difflib.get_close_matches(name, known, n=1)
        if nearest:
            message += f' Did you mean "{nearest[0]}"?'
        super().__init__(message)


class PortInUse(UsageError):
    """A port to listen on is taken."""


class ProfileError(HarnessError):
    """A target's profile is missing, broken or incomplete; lists every problem at once."""


class DocumentError(HarnessError):
    """The OpenAPI document is broken; says where in it."""


class RunRecordError(HarnessError):
    """A run folder cannot be read or written."""


class RecordingError(HarnessError):
    """A recording cannot be read, or must not be relied on; names the file and says why."""


class TargetUnreachable(HarnessError):
    """No usable answer from the target."""

    exit_code = ExitCode.UNREACHABLE


class GuardStop(HarnessError):
    """A guard refused to send a request: host, kind of action, rate or budget."""

    exit_code = ExitCode.GUARD
