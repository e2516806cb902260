"""A slow disk delays the writing of the record, and nothing else."""

import threading

import gevent
import pytest

from knouds_harness.load.leader.record_writer import BackgroundWriter


def test_jobs_are_done_in_order_while_the_loop_goes_on():
    """The first job blocks; neither its caller nor another greenlet waits for it."""
    background_writer, done, disk_is_free = BackgroundWriter(), [], threading.Event()

    def blocked() -> None:
        disk_is_free.wait(timeout=10)
        done.append("first")

    background_writer.give(blocked)
    background_writer.give(lambda: done.append("second"))
    for _ in range(3):
        gevent.sleep(0.001)
    assert done == []
    disk_is_free.set()
    background_writer.finish()

    assert done == ["first", "second"]


def test_failure_is_raised_at_the_end_and_stops_nothing():
    background_writer, done = BackgroundWriter(), []

    def fail() -> None:
        raise OSError("no space left")

    background_writer.give(fail)
    background_writer.give(lambda: done.append("later"))

    with pytest.raises(OSError, match="no space left"):
        background_writer.finish()
    assert done == ["later"]
