"""Read files that a user names; write files, as only this module does, so that no link leads one elsewhere.

The folder of a file to write is the user's choice, and is opened once. The name may come from anywhere. A
link, pipe or device of that name is refused, and one that takes its place meanwhile is not followed. What has
a second name (a hard link) is replaced under this one, and never appended to.
"""

import errno
import os
import secrets
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter, BytesIO, FileIO, TextIOWrapper
from pathlib import Path
from typing import Final, Self

from knouds_harness.errors import UsageError

_MOST_BYTES_OF_A_NAME: Final = 200
_OWN: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OWN
_APPENDED: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | _OWN
_USUAL: Final = 0o666  # without what the umask takes away


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Write a file atomically: readers see the whole old file or the whole new one.

    Raises:
        OSError: The file cannot be written, or its name is refused; no partial file is left.
    """
    with _place(folder, name) as place:
        place.require_regular()
        with place.written(content) as part:
            os.replace(part, place.path, src_dir_fd=place.folder, dst_dir_fd=place.folder)


def create_file(folder: Path, name: str, content: bytes, *, mode: int = _USUAL) -> None:
    """Write a file that is not there yet; it is there whole, or not at all.

    Raises:
        FileExistsError: It is there already.
        OSError: As ``replace_file``.
    """
    with _place(folder, name) as place, place.written(content, mode) as part:
        os.link(part, place.path, src_dir_fd=place.folder, dst_dir_fd=place.folder)


def append_to_file(folder: Path, name: str, content: bytes, *, mode: int = _USUAL) -> None:
    """Append to a file, which is made if it is not there; if that fails, a part may have been appended."""
    with _place(folder, name) as place:
        place.require_regular()
        with place.opened(place.path, _APPENDED, mode) as file:
            status = os.fstat(file.fileno())
            _require_regular(status)
            if status.st_nlink > 1:
                raise OSError(errno.EINVAL, "it is a hard link: another file would change as well")
            _write(file, content)


def new_file(folder: Path, name: str) -> FileIO:
    """Open an empty file, which replaces one of this name."""
    with _place(folder, name) as place:
        if place.require_regular():
            os.unlink(place.path, dir_fd=place.folder)
        return place.opened(place.path, _NEW)


def new_text_file(folder: Path, name: str) -> TextIOWrapper:
    """Open an empty file for lines of UTF-8, each handed to the system when it is complete."""
    file = BufferedWriter(new_file(folder, name))
    return TextIOWrapper(file, encoding="utf-8", newline="", line_buffering=True)


class OwnsFile:
    """Closes its file at the end of its context."""

    _file: FileIO | TextIOWrapper

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()


class _Place:
    """A file in a folder that is open: its path is relative to the folder, if the system can do that."""

    def __init__(self, path: str, folder: int | None) -> None:
        self.path = path
        self.folder = folder

    def require_regular(self) -> bool:
        """Return whether the file is there; raise OSError if it is a link or another special file."""
        try:
            _require_regular(os.stat(self.path, dir_fd=self.folder, follow_symlinks=False))
        except FileNotFoundError:
            return False
        return True

    def opened(self, path: str, flags: int, mode: int = _USUAL) -> FileIO:
        return FileIO(os.open(path, flags, mode, dir_fd=self.folder), "ab" if flags & os.O_APPEND else "wb")

    @contextmanager
    def written(self, content: bytes, mode: int = _USUAL) -> Iterator[str]:
        """Yield the path of a new file of this content, which is removed if it is still there afterwards."""
        part = os.path.join(os.path.dirname(self.path), f".{secrets.token_hex(8)}.part")  # noqa: PTH118, PTH120
        with self.opened(part, _NEW, mode) as file:
            try:
                _write(file, content)
                file.close()
                yield part
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(part, dir_fd=self.folder)


@contextmanager
def _place(folder: Path, name: str) -> Iterator[_Place]:
    _require_plain(name)
    if os.open not in os.supports_dir_fd:  # Windows
        yield _Place(str(folder / name), None)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield _Place(name, descriptor)
    finally:
        os.close(descriptor)


def _require_plain(name: str) -> None:
    why = ""
    if not name.isprintable() or "/" in name or "\\" in name:
        why = "its name has a slash or a control character"
    elif not name or (name.startswith(".") and name != ".gitignore"):
        why = "its name is empty or begins with a dot"
    elif len(os.fsencode(name)) > _MOST_BYTES_OF_A_NAME:
        why = f"its name is longer than {_MOST_BYTES_OF_A_NAME} bytes"
    if why:
        raise OSError(errno.EINVAL, why)


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "a folder, pipe, socket or device"
        raise OSError(errno.EINVAL, f"it is {kind}")


def _write(file: FileIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


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
    with FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as pipe:
        select.select([pipe], [], [], _WRITES_WITHIN_S)
        first = pipe.read(1)  # None if its writer has not written yet
        if first == b"":
            raise OSError(errno.EPIPE, "is a pipe without a writer")
        os.set_blocking(pipe.fileno(), True)
        return (first or b"") + pipe.read()


def own_content(path: Path, *, most_bytes: int) -> tuple[bytes, os.stat_result]:
    """Read a file that only the harness writes, up to one byte more than it may have, and its status.

    Raises:
        OSError: The file cannot be read, or is a link or another special file.
    """
    _require_regular(path.lstat())
    with FileIO(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _OWN)) as file:
        status = os.fstat(file.fileno())
        _require_regular(status)
        return file.read(most_bytes + 1), status


def file_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, which may be larger than memory."""
    if not path.is_file():
        yield from BytesIO(file_content(path))
        return
    with path.open("rb") as file:
        yield from file


def file_text(path: Path) -> str:
    """Read a whole file, as ``file_content`` does, as UTF-8 without its byte order mark."""
    return file_content(path).decode("utf-8-sig")


LEAST_OPEN_FILES: Final = 128
"""Enough for the files of a run record, libraries, and a few connections."""


def require_open_files(count: int) -> None:
    """Make sure that ``count`` files can be open at once; raise the soft limit if it is lower."""
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
