"""Writes the record of a load run in the background during the load."""

import logging
import shlex
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import gevent
from gevent.queue import JoinableQueue

from knouds_harness.errors import ExitCode
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.load.collection.seconds import Second, now_unix_s
from knouds_harness.load.options import LoadOptions
from knouds_harness.measures.hdr_logs import HdrLogWriter, Interval
from knouds_harness.runs.findings import OUTCOME_BY_EXIT_CODE
from knouds_harness.runs.load_record import LoadWriter
from knouds_harness.runs.load_results import LoadResults
from knouds_harness.runs.operation_load import SecondRow
from knouds_harness.runs.run_file import run_setup
from knouds_harness.runs.writer import RunWriter
from knouds_harness.targets.profile import Target

_LOG = logging.getLogger(__name__)


class BackgroundWriter:
    """Runs jobs in gevent's pool of threads, one after the other, in the order given.

    A job reads its data when its turn comes: do not change them after giving it.
    """

    def __init__(self) -> None:
        self._jobs = JoinableQueue[Callable[[], object]]()
        self._failure: Exception | None = None
        gevent.spawn(self._work)

    def give(self, job: Callable[[], object]) -> None:
        self._jobs.put(job)

    def finish(self) -> None:
        """Wait for all jobs; then, if any failed, raise the first failure."""
        self._jobs.join()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while True:
            failure = gevent.get_hub().threadpool.apply(_failure_of, (self._jobs.get(),))
            if failure is not None and self._failure is None:
                self._failure = failure
                _LOG.error("%s", failure)
            self._jobs.task_done()


def _failure_of(job: Callable[[], object]) -> Exception | None:
    try:
        job()
    except Exception as failure:  # noqa: BLE001 - to be raised by finish
        return failure
    return None


class LoadRecordWriter:
    """Writes metrics, seconds, histograms and exchanges; what is to be written at once goes to ``run``."""

    def __init__(self, root: Path, target: Target, options: LoadOptions, *, scenario: str) -> None:
        self._resources = ExitStack()
        self._background = BackgroundWriter()
        setup = run_setup(target, command=shlex.split(options.started_by), seed=options.seed)
        enter = self._resources.enter_context
        self.run = enter(RunWriter(root, kind="load", target=target, about=scenario, setup=setup))
        self.folder = self.run.folder
        self._load = enter(LoadWriter(self.folder))
        self._histograms = enter(HdrLogWriter(self.folder / "times.hlog", start_unix_s=now_unix_s()))

    def add_exchange(self, exchange: Exchange) -> None:
        self._background.give(lambda: self.run.add_exchange(exchange))

    def add_second(self, second: Second, rows: Sequence[SecondRow]) -> None:
        self._background.give(lambda: self._write_second(second, rows))

    def write(self, results: LoadResults) -> None:
        self._background.give(lambda: self._load.write(results))
        self._background.give(self.run.checkpoint)

    def finish(self, exit_code: ExitCode, *, note: str) -> None:
        """Write how the run ended, and return once everything is written."""
        self._background.give(lambda: self.run.finish(OUTCOME_BY_EXIT_CODE[exit_code], exit_code, note=note))
        self._background.finish()
        self._resources.close()

    def discard(self) -> None:
        with suppress(Exception):  # what cannot be written is not wanted either
            self._background.finish()
        self._resources.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_second(self, second: Second, rows: Sequence[SecondRow]) -> None:
        self._load.add_seconds(rows)
        for series, histogram in second.histograms.items():
            self._histograms.write(
                Interval(
                    series=tuple(map(str, series)),
                    start_unix_s=second.unix_s + second.offset_s,
                    length_s=1.0,
                    histogram=histogram,
                )
            )
