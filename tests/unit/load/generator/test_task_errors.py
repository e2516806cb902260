"""Exceptions in tasks count, are shown with their place, and end the run if a task never completes."""

import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from locust import TaskSet, User
from locust.env import Environment
from locust.user.task import DefaultTaskSet

from knouds_harness.load.collection.rows import RequestRecorder
from knouds_harness.load.collection.seconds import SecondsCounter, count_rows
from knouds_harness.load.generator.task_errors import TaskErrors, place_of
from knouds_harness.runs.operation_load import RequestStatus


class Mine(User):
    task_at_hand: Any = None


class Nested(TaskSet):
    """A set of tasks within a task."""


def look(_user):
    """A task."""


@pytest.fixture
def recorder():
    return RequestRecorder(clock=lambda: 100.0)


@pytest.fixture
def passed():
    return set()


@pytest.fixture
def in_vain():
    """The tasks that never complete, as they are told."""
    return []


@pytest.fixture
def task_errors(recorder, passed, in_vain):
    return TaskErrors(recorder, users=2, passed=passed, never_completes=in_vain.append)


@pytest.fixture
def user():
    user = Mine(Environment())
    user.task_at_hand = look
    return user


def raised(act: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind
        act()
    return caught.value


def told(task_errors: TaskErrors, instance: object, error: Exception | None = None) -> str:
    error = error or raised(lambda: json.loads("{"))
    assert error.__traceback__ is not None
    return task_errors.count(instance, error, error.__traceback__)


def errors(recorder):
    counter = SecondsCounter()
    count_rows(counter, recorder.take(), 0.0)
    (second,) = counter.take()
    return second.errors


def test_exception_counts_under_its_task_with_its_place(task_errors, user, recorder):
    for _ in range(3):
        told(task_errors, DefaultTaskSet(user))

    ((error, count),) = errors(recorder).items()
    assert count == 3
    assert (error.operation, error.status, error.status_code) == ("task look", RequestStatus.FAILED, 0)
    assert error.code.startswith("JSONDecodeError: Expecting property name")
    assert "tests/unit/load/generator/test_task_errors.py:" in error.code


def test_exceptions_at_one_place_are_one_kind_of_error(task_errors, user, recorder):
    """Even if their messages differ."""

    def fail(number):
        raise ValueError(number)

    for number in range(3):
        told(task_errors, DefaultTaskSet(user), raised(partial(fail, number)))

    ((error, count),) = errors(recorder).items()
    assert count == 3
    assert error.code.startswith("ValueError: 0 (")


def fail_often(task_errors, instance):
    for _ in range(9):
        told(task_errors, instance)


def test_task_that_never_completes_is_in_vain(task_errors, user, in_vain):
    """Once it has failed as often as there are users, or five times."""
    told(task_errors, DefaultTaskSet(user))
    assert in_vain == []

    fail_often(task_errors, DefaultTaskSet(user))

    assert in_vain == ["look"]


def test_task_that_completed_once_is_not_in_vain(task_errors, user, passed, in_vain):
    passed.add(look)

    fail_often(task_errors, DefaultTaskSet(user))

    assert in_vain == []


def test_task_in_a_nested_set_is_not_in_vain(task_errors, user, recorder, in_vain):
    """Whether other tasks of its set complete is not known."""
    fail_often(task_errors, Nested(user))

    assert in_vain == []
    assert {each.operation for each in errors(recorder)} == {"task Nested"}


def test_failing_on_start_is_in_vain(task_errors, recorder, in_vain):
    fail_often(task_errors, Mine(Environment()))

    assert in_vain == ["on_start"]
    assert {each.operation for each in errors(recorder)} == {"task on_start"}


def test_tracebacks_logged_by_locust_are_hidden(task_errors, caplog):
    logger = logging.getLogger("locust.user.task")
    logger.error("%s\n%s", "what", "Traceback …")
    logger.error("something else")

    assert [each.getMessage() for each in caplog.records] == ["something else"]


def test_exception_outside_of_user_code_has_a_place():
    try:
        json.loads("{")
    except ValueError as error:
        traceback = error.__traceback__
    assert traceback is not None
    assert traceback.tb_next is not None

    assert "json" in place_of(traceback.tb_next)
