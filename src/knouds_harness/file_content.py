"""Read files that a user names, and raise the limit of open files."""

import errno
import os
import select
import stat
import sys
from collections.abc import Iterator
from io import BytesIO, FileIO
from pathlib import Path
from typing import Final

from knouds_harness.errors import UsageError

_WRITES_WITHIN_S: Final = 0.5


def file_content(path: Path) -> bytes:
    """Read a whole file, or a pipe that has a writer, such as a shell's ``<(command)``.

    Raises:
        OSError: The file cannot be read, is a pipe without a writer, or a device (which may have no end).
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return path.read_bytes()
    if not stat.S_ISFIFO(mode):
        raise OSError(errno.EINVAL, "is a device or socket, not a file")
    with FileIO(path, opener=_without_waiting) as pipe:
        select.select([pipe], [], [], _WRITES_WITHIN_S)
        first = pipe.read(1)  # None if its writer has not written yet
        if first == b"":
            raise OSError(errno.EPIPE, "is a pipe without a writer")
        os.set_blocking(pipe.fileno(), True)
        return (first or b"") + pipe.read()


def file_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, which may be larger than memory.

    Raises:
        OSError: As ``file_content``.
    """
    if not path.is_file():
        yield from BytesIO(file_content(path))
        return
    with path.open("rb") as file:
        yield from file


def file_text(path: Path) -> str:
    """Read a whole file as UTF-8, without its byte order mark.

    Raises:
        OSError: As ``file_content``.
        UnicodeDecodeError: It is not UTF-8.
    """
    return file_content(path).decode("utf-8-sig")


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


LEAST_OPEN_FILES: Final = 128
"""Enough for the files of a run record, libraries, and a few connections."""


def require_open_files(count: int) -> None:
    """Make sure that ``count`` files can be open at once; raise the soft limit if it is lower.

    Raises:
        UsageError: The hard limit is lower.
    """
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - only here, as Windows has none

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise UsageError(
            f"a process may have only {hard:,} files open here, but this needs {count:,}\n"
            "  Raise the limit (ulimit -n, LimitNOFILE=, nofile in limits.conf), or use fewer --users."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
