"""The secret with which a user signs what only this user's later commands may act on."""

import os
import secrets
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from knouds_harness.errors import UsageError
from knouds_harness.files import create_file

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
            _make(path)
        return _read(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):  # another process was faster
        create_file(path.parent, path.name, secrets.token_bytes(_BYTES), mode=0o600)


def _read(path: Path) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        is_mine = not hasattr(os, "geteuid") or (
            status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
        )
        content = file.read(_BYTES + 1) if stat.S_ISREG(status.st_mode) and is_mine else b""
    if len(content) != _BYTES:
        raise UsageError(f"{path}: is not a secret of {_BYTES} bytes that only its owner may read (mode 600)")
    return content
