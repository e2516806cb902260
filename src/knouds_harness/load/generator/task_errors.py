"""Exceptions in tasks: each counts, each place is shown once, and one that comes every time ends the run."""

import logging
import sysconfig
import traceback
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, runtime_checkable

from locust.user.task import DefaultTaskSet
from locust.user.users import User

import knouds_harness
from knouds_harness.load.collection.seconds import SecondsRecorder
from knouds_harness.runs.operation_load import TASK, RequestStatus

_MOST_IN_VAIN: Final = 5
"""So often a task may fail that has never come to its end."""
_LONGEST_TEXT: Final = 160
_OWN_FOLDER: Final = str(Path(knouds_harness.__file__).parent)
_OTHERS_FOLDERS: Final = tuple({sysconfig.get_path(each) for each in ("stdlib", "platlib", "purelib")})
_LOGGERS: Final = ("locust.user.task", "locust.user.users", "locust.runners")
_REPEATED: Final = ("%s\n%s", "While stopping users, we encountered a user that didn't have proper args %s")
"""What Locust logs of each exception, and of each user that has ended by one as it started."""


@dataclass(frozen=True, kw_only=True)
class TaskError:
    """An exception in a task; ``is_in_vain`` if that failed often, and never came to its end."""

    task: str
    text: str
    is_in_vain: bool


class TaskErrors:
    """Counts exceptions in one process; they travel to the leading one as any other error."""

    def __init__(self, recorder: SecondsRecorder, *, users: int, passed: Collection[Any]) -> None:
        """Keep Locust from logging each of them."""
        self._recorder = recorder
        self._most_in_vain = min(_MOST_IN_VAIN, users)
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
    ) -> TaskError:
        is_nested = not isinstance(user_instance, User | DefaultTaskSet)
        user = user_instance if isinstance(user_instance, User) else user_instance.user
        task = type(user_instance) if is_nested else _task_of(user)
        name = task.__name__ if task else "on_start"
        place = place_of(tb)
        text = self._text_by_place.setdefault(
            place, self._recorder.safe(f"{_described(exception)} ({place})")
        )
        self._recorder.count_error(TASK + name, RequestStatus.FAILED, text)
        self._counts[name] += 1
        return TaskError(
            task=name,
            text=text,
            is_in_vain=self._counts[name] == self._most_in_vain and not (is_nested or task in self._passed),
        )


@runtime_checkable
class DoesTasks(Protocol):
    """A user that says which task it does; None before its first."""

    task_at_hand: Any


def _task_of(user: User) -> Any:  # noqa: ANN401 - a function, or a TaskSet of Locust's
    return user.task_at_hand if isinstance(user, DoesTasks) else None


def place_of(tb: TracebackType) -> str:
    """File and line that an exception comes from: the last that are neither Python's nor a package's."""
    frames = traceback.extract_tb(tb)
    own = [
        frame
        for frame in frames
        if frame.filename.startswith(_OWN_FOLDER) or not frame.filename.startswith(_OTHERS_FOLDERS)
    ]
    frame = (own or frames)[-1]
    return f"{_shortened(frame.filename)}:{frame.lineno}"


def _shortened(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _described(exception: Exception) -> str:
    says = " ".join(str(exception).split())[:_LONGEST_TEXT]
    return f"{type(exception).__name__}{says and f': {says}'}"


def _is_not_repeated(record: logging.LogRecord) -> bool:
    return record.msg not in _REPEATED
