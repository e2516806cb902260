"""The files of a run folder: whole or not changed, and with room left to say that the disk is full."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from knouds_harness.errors import RunRecordError
from knouds_harness.file_content import replace_file

_RESERVE_FILE = ".room-for-the-end"
_RESERVE_BYTES = 490_000  # run.json of a whole run takes 350,000
_NOT_IN_A_FOLDER_NAME = re.compile(r"[^\w.-]+", re.ASCII)


class RunFolder:
    """Writes files of one folder.

    Where the disk gives out, the first call that notices raises; later ones keep silent, so that the run can
    still clean up behind itself.

    Attributes:
        path: Path of the folder.
    """

    def __init__(self, path: Path, *, on_lost: Callable[[], object]) -> None:
        """Keep some room for the end.

        Args:
            path: Path of the folder, which is empty.
            on_lost: Told when the disk gives out: half of what was to be written may be in a file.
        """
        self.path = path
        self._on_lost = on_lost
        self._is_lost = False
        self._reserve = path / _RESERVE_FILE
        with suppress(OSError):  # then the run may end without saying why, and begins all the same
            self._reserve.write_bytes(bytes(_RESERVE_BYTES))

    def append(self, name: str, content: bytes) -> None:
        """Write more into a file.

        Raises:
            RunRecordError: It cannot be written.
        """
        with self.writing(name), (self.path / name).open("ab", buffering=0) as file:
            file.write(content)

    def replace(self, name: str, content: bytes) -> None:
        """Write a file so that its readers see the old or the new one, whole.

        Raises:
            RunRecordError: It cannot be written.
        """
        with self.writing(name):
            replace_file(self.path / name, content)

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """Make a failure to write this file one of ours.

        Raises:
            RunRecordError: It cannot be written.
        """
        try:
            yield
        except OSError as error:
            if self._is_lost:
                return
            self._is_lost = True
            self._on_lost()
            self.give_up_reserve()
            raise RunRecordError(
                f"{self.path / name}: cannot be written: {error.strerror}\n"
                "  What was written until then is kept. Make room there, or choose another --runs-folder."
            ) from error

    def give_up_reserve(self) -> None:
        """Make the room in which a run whose disk is full can still say how it ended."""
        with suppress(OSError):
            self._reserve.unlink(missing_ok=True)


def make_run_folder(root: Path, *, kind: str, target_name: str, at: datetime) -> Path:
    """Make ``<UTC time>-<kind>-<target>``, with a number where there is one of that name.

    Args:
        root: The folder of all runs; made if it is not there.
        kind: Kind of run, such as ``check``.
        target_name: Name of the profile.
        at: The time of day, UTC.

    Raises:
        RunRecordError: It cannot be made.
    """
    name = f"{at:%Y%m%dT%H%M%SZ}-{kind}-{_NOT_IN_A_FOLDER_NAME.sub('_', target_name)}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        return _made_anew(root, name)
    except OSError as error:
        raise RunRecordError(
            f"{root}: no run folder can be made there: {error.strerror}\n"
            "  Choose another folder with --runs-folder."
        ) from error


def _made_anew(root: Path, name: str) -> Path:
    """A folder that no other user can read, with a number behind its name if there is one."""
    for number in count(1):
        folder = root / (name if number == 1 else f"{name}-{number}")
        try:
            os.mkdir(folder, 0o700)  # noqa: PTH102 - pathlib adds nothing
        except FileExistsError:
            continue
        return folder
    raise AssertionError  # pragma: no cover
