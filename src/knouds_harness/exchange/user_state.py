"""A user's runs on one machine: the secret that signs their ledgers, and locks of accounts in use.

One run at a time uses an account of a target: the others wait.
"""

import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Final

from knouds_harness.errors import UsageError
from knouds_harness.files import create_file, own_content
from knouds_harness.targets.profile import Target

_BYTES: Final = 32
_FILE: Final = "secret"


def user_secret() -> bytes:
    """Return the user's secret, which is made at first use and never replaced.

    Raises:
        UsageError: It can neither be read nor made, as in a container whose home cannot be written.
    """
    return _secret_in(data_folder())


def data_folder() -> Path:
    """Return the folder for data of the XDG Base Directory Specification, which ignores relative paths."""
    named = Path(os.environ.get("XDG_DATA_HOME", ""))
    try:
        return (named if named.is_absolute() else Path.home() / ".local/share") / "knouds-harness"
    except RuntimeError as error:
        raise UsageError("there is no home folder\n  Set HOME or XDG_DATA_HOME.") from error


@cache
def _secret_in(folder: Path) -> bytes:
    path = folder / _FILE
    try:
        if not os.path.lexists(path):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileExistsError):  # another process was faster
                create_file(folder, _FILE, secrets.token_bytes(_BYTES), mode=0o600)
        content, status = own_content(path, most_bytes=_BYTES)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    is_mine = not hasattr(os, "geteuid") or (
        status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
    )
    if not is_mine or len(content) != _BYTES:
        raise UsageError(f"{path}: is not a secret of {_BYTES} bytes that only its owner may read (mode 600)")
    return content


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
            _lock(file, account, target, tell)
            _held.add(path)
            held.callback(_held.discard, path)
        yield


def _lock(file: IO[bytes], account: str, target: Target, tell: Callable[[str], object]) -> None:
    """Wait until no other process holds the lock, take it, and note this process in the file."""
    has_told = False
    while not _is_taken(file):
        if not has_told:
            file.seek(0)
            pid = file.read(_MOST_DIGITS).decode("ascii", "replace")
            named = f" (process {pid})" if pid.isdecimal() else ""
            tell(f'another knouds-harness run{named} uses account "{account}" of {target.base_url}; waiting')
            has_told = True
        time.sleep(_LOOK_EVERY_S)  # blocking in flock would hold up signals of Locust
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()).encode())
    file.flush()


def _is_taken(file: IO[bytes]) -> bool:
    """Take the lock, and return whether it is taken; also if the system has none."""
    with suppress(ImportError, OSError):  # Windows has none, nor have some file systems
        from fcntl import LOCK_EX, LOCK_NB, flock  # noqa: PLC0415

        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return False
    return True


def process_start(pid: int) -> str | None:
    """Return when a process was started, by the boot and its clock tick; None if it has ended.

    Also None where there is no ``/proc``, as on macOS.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    is_ended = fields[0] in (b"Z", b"X")  # listed until its parent reads its exit status
    return None if is_ended else f"{boot} {fields[19].decode()}"


def is_running(pid: object, start: object) -> bool:
    """Return whether a process still runs; if its start is not known, any process with its id will do."""
    if not isinstance(pid, int) or not 0 < pid < 2**31:
        return False
    if start is not None:
        return process_start(pid) == start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True
