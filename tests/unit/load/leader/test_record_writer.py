"""A slow disk delays the writing of the record, and nothing else."""

import os
import time
from collections.abc import Iterator

import gevent
import pytest
from load_workload import FakeMaster, options
from locust.env import Environment

from knouds_harness.errors import ExitCode
from knouds_harness.load.collection.seconds import Second, SeriesKey
from knouds_harness.load.leader.leading_run import LeadingRun
from knouds_harness.load.leader.record_writer import BackgroundWriter
from knouds_harness.load.workload.preflight import LoadSetup
from knouds_harness.measures.hdr_logs import read_hdr_log
from knouds_harness.measures.histograms import Histogram
from knouds_harness.runs.load_record import LoadWriter
from knouds_harness.runs.operation_load import RequestStatus
from knouds_harness.runs.record import read_run
from knouds_harness.targets.profile import Target


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


def test_slow_disk_leaves_a_complete_record(tmp_path, disk, monkeypatch):
    """Every second, in order, and how the run ended, once ``conclude`` returns."""
    write = LoadWriter.write

    def slowly(writer: LoadWriter, results: object) -> None:
        disk.wait()
        write(writer, results)  # type: ignore[arg-type]  # it is what was given

    monkeypatch.setattr(LoadWriter, "write", slowly)
    environment = Environment()
    FakeMaster(environment)
    asked = options("--record", str(tmp_path), "--users", "1")
    target = Target(name="staging", base_url="http://127.0.0.1:1")
    run = LeadingRun(environment, LoadSetup(options=asked, target=target))
    start_unix_s = int(time.time()) + 1
    run.begin(float(start_unix_s))
    run.checkpoint()
    for at_s in range(4):
        histogram = Histogram()
        histogram.record(0.001, at_s + 1)
        series = SeriesKey("getWhoami", RequestStatus.OK)
        run.add_second(Second(unix_s=start_unix_s + at_s, histograms={series: histogram}))
    run.stop("enough", ExitCode.GUARD)
    gevent.spawn_later(0.01, disk.free)

    run.conclude()

    [folder] = [each.parent for each in tmp_path.rglob("run.json")]
    record = read_run(folder)
    assert (record.exit_code, record.note, record.gaps) == (ExitCode.GUARD, "enough", ())
    assert record.load is not None
    of_operation = [row for row in record.load.seconds if row.operation == "getWhoami"]
    assert [row.by_status["ok"] for row in of_operation] == [1, 2, 3, 4]
    assert [len(each.histogram) for each in read_hdr_log(folder / "times.hlog")] == [1, 2, 3, 4]
    assert record.load.results.note == "enough"
