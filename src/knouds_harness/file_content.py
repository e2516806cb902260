"""Files: the content of one that a user names, its replacement as a whole, and how many may be open."""

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
    """All of a file, or of a pipe with a writer, as a shell's ``<(command)`` is.

    Raises:
        OSError: It cannot be read, is a pipe without a writer, or a device, which may have no end.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return path.read_bytes()
    if not stat.S_ISFIFO(mode):
        raise OSError(errno.EINVAL, "is a device or socket, not a file")
    with FileIO(path, opener=_without_waiting) as pipe:
        select.select([pipe], [], [], _WRITES_WITHIN_S)
        first = pipe.read(1)  # None while its writer has nothing to say
        if first == b"":
            raise OSError(errno.EPIPE, "is a pipe without a writer")
        os.set_blocking(pipe.fileno(), True)
        return (first or b"") + pipe.read()


def file_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, one after the other: it may be longer than memory.

    Raises:
        OSError: As ``file_content``.
    """
    if not path.is_file():
        yield from BytesIO(file_content(path))
        return
    with path.open("rb") as file:
        yield from file


def file_text(path: Path) -> str:
    """The same as text in UTF-8, without its byte order mark.

    Raises:
        OSError: As ``file_content``.
        UnicodeDecodeError: It is other text.
    """
    return file_content(path).decode("utf-8-sig")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that its readers see the old or the new one, whole.

    Raises:
        OSError: It cannot be written; nothing half done is left.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


LEAST_OPEN_FILES: Final = 128
"""For the files of a record, libraries, and some connections."""


def require_open_files(count: int) -> None:
    """Make sure that so many files can be open at once; raises the soft limit where it is less.

    Raises:
        UsageError: The hard limit is less.
    """
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - only here, as Windows has none

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise UsageError(
            f"a process may have {hard:,} files open here, and this needs {count:,}\n"
            "  Raise the limit (ulimit -n, LimitNOFILE=, nofile in limits.conf), or use fewer --users."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
