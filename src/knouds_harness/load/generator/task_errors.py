"""Exceptions in tasks of users: where they came from, and whether a task ever completes."""

from __future__ import annotations

import logging
import sysconfig
import traceback
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from locust.user.task import DefaultTaskSet
from locust.user.users import User

import knouds_harness
from knouds_harness.load.collection.rows import RequestRecorder
from knouds_harness.runs.operation_load import TASK

_MOST_FAILURES: Final = 5
"""A task that failed this often, and never completed, ends the run."""
_LONGEST_TEXT: Final = 160
_OWN_FOLDER: Final = str(Path(knouds_harness.__file__).parent)
_OTHERS_FOLDERS: Final = tuple({sysconfig.get_path(each) for each in ("stdlib", "platlib", "purelib")})
_LOGGERS: Final = ("locust.user.task", "locust.user.users", "locust.runners")
_REPEATED: Final = ("%s\n%s", "While stopping users, we encountered a user that didn't have proper args %s")
"""Locust's log messages of each exception, and of each user that an exception ended as it started."""


class TaskErrors:
    """Counts exceptions in tasks of one process; they reach the leading process like other errors."""

    def __init__(
        self,
        recorder: RequestRecorder,
        *,
        users: int,
        passed: Collection[Any],
        never_completes: Callable[[str], object],
        safe: Callable[[str], str] = str,
    ) -> None:
        """Stop Locust from logging each of them.

        ``never_completes`` is told of a task that failed often and is not among the ``passed``; ``safe``
        removes secrets.
        """
        self._recorder = recorder
        self._never_completes = never_completes
        self._safe = safe
        self._most_failures = min(_MOST_FAILURES, users)
        self._passed = passed
        self._counts: Counter[str] = Counter()
        self._text_by_place: dict[str, str] = {}
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_is_not_repeated)

    def count(
        self,
        user_instance: Any,  # noqa: ANN401 - a user, or a TaskSet of one
        exception: Exception,
        tb: TracebackType,
    ) -> str:
        """Count an exception; return it in words."""
        is_nested = not isinstance(user_instance, User | DefaultTaskSet)
        user = user_instance if isinstance(user_instance, User) else user_instance.user
        task = type(user_instance) if is_nested else getattr(user, "task_at_hand", None)  # of our users
        name = task.__name__ if task else "on_start"
        place = place_of(tb)
        says = " ".join(str(exception).split())[:_LONGEST_TEXT]
        described = f"{type(exception).__name__}{says and f': {says}'} ({place})"
        text = self._text_by_place.setdefault(place, self._safe(described))
        self._recorder.count_error(TASK + name, text)
        self._counts[name] += 1
        if self._counts[name] == self._most_failures and not (is_nested or task in self._passed):
            self._never_completes(name)
        return text


def place_of(tb: TracebackType) -> str:
    """Return file and line of an exception: the last frame outside Python and other packages."""
    frames = traceback.extract_tb(tb)
    own = [
        frame
        for frame in frames
        if frame.filename.startswith(_OWN_FOLDER) or not frame.filename.startswith(_OTHERS_FOLDERS)
    ]
    frame = (own or frames)[-1]
    path = Path(frame.filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{frame.lineno}"


def _is_not_repeated(record: logging.LogRecord) -> bool:
    return record.msg not in _REPEATED
