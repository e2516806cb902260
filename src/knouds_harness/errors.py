"""Every exception that a user can meet, with the exit code of the command."""

import difflib
from collections.abc import Iterable
from enum import IntEnum
from typing import Final, Self

_MOST_SHOWN: Final = 20
_MOST_NEAR: Final = 5
LIKELY_MISTYPED: Final = 0.85
"""Likeness to a known name from which an unknown name of an open set counts as mistyped."""


class ExitCode(IntEnum):
    meaning: str

    KEPT = 0, "contract kept, objectives met"
    BREACH = 1, "breach, conflict, contradicted profile, missed objective or regression"
    USAGE = 2, "wrong command line, profile or file, or nothing to judge"
    UNREACHABLE = 3, "target unreachable"
    GUARD = 4, "stopped by a guard"
    INVALID_MEASUREMENT = 5, "measurement not valid"
    INTERRUPTED = 130, "interrupted"

    def __new__(cls, value: int, meaning: str = "") -> Self:
        code = int.__new__(cls, value)
        code._value_, code.meaning = value, meaning
        return code

    @classmethod
    def explained(cls) -> str:
        return "; ".join(f"{code.value} {code.meaning}" for code in cls)


class HarnessError(Exception):
    """An error that the user can act on; the message says what is wrong, where, and what to do next."""

    exit_code = ExitCode.USAGE


class UsageError(HarnessError):
    """The command line asks for something impossible."""


class UnknownName(UsageError):
    """A name that does not exist; the message lists the known ones, or says what does, and the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        shown = ", ".join(known)
        if len(known) > _MOST_SHOWN:
            near = difflib.get_close_matches(name, known, n=_MOST_NEAR, cutoff=0)
            shown = f"{', '.join(near)}, … {len(known)} in all"
        super().__init__(f'no {kind} "{name}" (known: {shown}). {suggestion(name, known)}'.rstrip())


def suggestion(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str:
    """Ask whether the nearest known name was meant; empty if none is near."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=likeness)
    return f'Did you mean "{nearest[0]}"?' if nearest else ""


class ProfileError(HarnessError):
    """A target's profile is missing, broken or incomplete; the message lists all problems."""


class RunRecordError(HarnessError):
    """A run folder cannot be read or written."""


class RecordingError(HarnessError):
    """A recording cannot be read or cannot be trusted; the message names the file and says why."""


class ProfileContradicted(HarnessError):
    """The target contradicts its profile in something that a load run needs; the message lists it all."""

    exit_code = ExitCode.BREACH


class TargetUnreachable(HarnessError):
    """No usable answer from the target."""

    exit_code = ExitCode.UNREACHABLE


class GuardStop(HarnessError):
    """A guard refused to send a request: host, kind of action, rate or budget."""

    exit_code = ExitCode.GUARD


class CreditsShort(GuardStop):
    """A request may cost more credits than are left."""


class NotSent(HarnessError):
    """A request was not sent. The run goes on, and the tests that need the response are untested."""

    exit_code = ExitCode.GUARD


class NotCreatedHere(NotSent):
    """It would change or delete a workflow that the run did not create."""


class OutputClosed(KeyboardInterrupt):
    """The reader closed the pipe of a command's output; handled like Ctrl-C."""
