"""One run at a time on each account of a target: a user's runs on one machine wait for each other."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Final

from knouds_harness.errors import UsageError
from knouds_harness.exchange.user_secret import data_folder
from knouds_harness.targets.profile import Target

_LOOK_EVERY_S: Final = 0.2
_MOST_DIGITS: Final = 20
_held: set[Path] = set()


@contextmanager
def alone_on(target: Target, tell: Callable[[str], object]) -> Iterator[None]:
    """Wait until no other run uses an account of the target, and keep others waiting until the context ends.

    Two runs on one account would take each other's usage rows, charges and counted requests for errors of the
    server. ``tell`` gets a line if there is something to wait for. Nothing is locked for the built-in
    sandbox, which is never shared, nor if the user's data folder cannot be written.
    """
    accounts = [] if target.is_built_in else sorted({each.user for each in target.personas.values()})
    with ExitStack() as held:
        for account in accounts:  # in one order, so that two runs never wait for each other
            name = hashlib.sha256(f"{target.base_url}\n{account}".encode()).hexdigest()
            try:
                path = data_folder() / "in-use" / name
                if path in _held:
                    continue
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
                file = held.enter_context(os.fdopen(os.open(path, flags, 0o600), "r+b"))
            except (OSError, UsageError):
                continue
            _lock(file, partial(_tell, tell, target, account))
            _held.add(path)
            held.callback(_held.discard, path)
        yield


def _lock(file: IO[bytes], tell: Callable[[str], object]) -> None:
    """Wait until no other process holds the lock, take it, and note this process in the file."""
    has_told = False
    while not _is_taken(file):
        if not has_told:
            file.seek(0)
            tell(file.read(_MOST_DIGITS).decode("ascii", "replace"))
            has_told = True
        time.sleep(_LOOK_EVERY_S)  # blocking in flock would hold up signals of Locust
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()).encode())
    file.flush()


def _is_taken(file: IO[bytes]) -> bool:
    """Take the lock, and return whether it is taken; also if the system has none."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock  # noqa: PLC0415 - Windows has none
    except ImportError:
        return True
    try:
        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _tell(tell: Callable[[str], object], target: Target, account: str, pid: str) -> None:
    named = f" (process {pid})" if pid.isdecimal() else ""
    tell(f'another knouds-harness run{named} uses account "{account}" of {target.base_url}; waiting')
