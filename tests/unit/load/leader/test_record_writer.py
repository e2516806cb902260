"""A slow disk delays the writing of the record, and nothing else."""

import os
from collections.abc import Iterator

import gevent
import pytest

from knouds_harness.load.leader.record_writer import BackgroundWriter


class Disk:
    def __init__(self) -> None:
        self._wait_at, self._free_at = os.pipe()

    def wait(self) -> None:
        os.read(self._wait_at, 1)

    def free(self) -> None:
        os.close(self._free_at)

    def close(self) -> None:
        os.close(self._wait_at)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.close()


def test_jobs_are_done_in_order_while_the_loop_goes_on(disk):
    """The first job blocks; neither its caller nor another greenlet waits for it."""
    background_writer, done = BackgroundWriter(), []

    def blocked() -> None:
        disk.wait()
        done.append("first")

    background_writer.give(blocked)
    background_writer.give(lambda: done.append("second"))
    for _ in range(3):
        gevent.sleep(0.001)
    assert done == []
    disk.free()
    background_writer.finish()

    assert done == ["first", "second"]


def test_later_jobs_are_done_too():
    """Also after a while without jobs, and while the end is awaited."""
    background_writer, done = BackgroundWriter(), []

    background_writer.give(lambda: done.append(1))
    background_writer.finish()
    background_writer.give(lambda: done.append(2))
    ending = gevent.spawn(background_writer.finish)
    background_writer.give(lambda: done.append(3))
    ending.get(timeout=5)

    assert done == [1, 2, 3]


def test_failure_is_raised_at_the_end_and_stops_nothing():
    background_writer, done = BackgroundWriter(), []

    def fail() -> None:
        raise OSError("no space left")

    background_writer.give(fail)
    background_writer.give(lambda: done.append("later"))

    with pytest.raises(OSError, match="no space left"):
        background_writer.finish()
    assert done == ["later"]
