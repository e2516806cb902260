"""The record of a load run, written in the background while load goes on."""

from __future__ import annotations

import logging
import platform
import shlex
import shutil
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import gevent

from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import ExitCode
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.load.collection.seconds import Second
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.steady_clock import now_unix_s
from knouds_harness.measures.hdr_logs import HdrLogWriter, Interval
from knouds_harness.runs.header import RunHeader
from knouds_harness.runs.load_record import LoadWriter
from knouds_harness.runs.load_results import LoadResults, SecondRow
from knouds_harness.runs.record import RunWriter
from knouds_harness.runs.verdicts import OUTCOME_BY_EXIT_CODE
from knouds_harness.targets.profile import Target

_LOG = logging.getLogger(__name__)


class BackgroundWriter:
    """Does what it is given in gevent's pool of threads, one after the other, in the order given.

    A job sees what it writes as it is when its turn comes: give it what nobody changes any more.
    """

    def __init__(self) -> None:
        """Have nothing to do."""
        self._jobs: deque[Callable[[], object]] = deque()
        self._working: gevent.Greenlet[[], None] | None = None
        self._failure: Exception | None = None

    def give(self, job: Callable[[], object]) -> None:
        """Have this done soon, and go on at once."""
        self._jobs.append(job)
        if self._working is None:
            self._working = gevent.spawn(self._work)

    def finish(self) -> None:
        """Return once all is done.

        Raises:
            Exception: What the first job that failed raised; the others were done nevertheless.
        """
        while self._working is not None:
            self._working.join()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while self._jobs:
            failure = gevent.get_hub().threadpool.apply(_failure_of, (self._jobs.popleft(),))
            if failure is not None and self._failure is None:
                self._failure = failure
                _LOG.error("%s", failure)
        self._working = None


def _failure_of(job: Callable[[], object]) -> Exception | None:
    """Do it; what it raises is returned, as gevent would print it."""
    try:
        job()
    except Exception as failure:  # noqa: BLE001 - to be raised by finish
        return failure
    return None


class LoadRecordWriter:
    """Writes figures, seconds, histograms and exchanges; what it is given, nobody may change any more.

    Attributes:
        folder: Where the record is.
    """

    def __init__(self, root: Path, target: Target, options: LoadOptions, *, scenario: str) -> None:
        """Begin the record.

        Args:
            root: The folder of all runs.
            target: What load is sent to.
            options: What is asked for.
            scenario: The name of the Locust file.

        Raises:
            RunRecordError: The folder cannot be made or written to.
        """
        self._resources = ExitStack()
        self._background = BackgroundWriter()
        header = RunHeader(
            tool_version=version("knouds-harness"),
            python_version=platform.python_version(),
            command=tuple(shlex.split(options.started_by)) or tuple(sys.argv),
            seed=options.seed,
            target=target,
            document=shipped_document(),
            checks={},
        )
        enter = self._resources.enter_context
        self._run = enter(
            RunWriter.start(root, kind="load", target_name=f"{target.name}-{scenario}", header=header)
        )
        self.folder = self._run.folder
        self._load = enter(LoadWriter(self.folder))
        self._histograms = enter(HdrLogWriter(self.folder / "times.hlog", start_unix_s=now_unix_s()))

    def add_created(self, line: bytes) -> None:
        """Write a line about workflows that the run creates, before this returns.

        Raises:
            RunRecordError: It cannot be written.
        """
        self._run.add_created(line)

    def add_exchange(self, exchange: Exchange) -> None:
        """Keep an exchange as evidence."""
        self._background.give(lambda: self._run.add_exchange(exchange))

    def add_second(self, second: Second, rows: Sequence[SecondRow]) -> None:
        """Keep what a second brought, and its rows of figures."""
        self._background.give(lambda: self._write_second(second, rows))

    def write(self, results: LoadResults) -> None:
        """Keep the figures so far, in place of those before."""
        self._background.give(lambda: self._load.write(results))

    def checkpoint(self) -> None:
        """Keep that the run still goes."""
        self._background.give(self._run.checkpoint)

    def finish(self, exit_code: ExitCode, *, note: str) -> None:
        """Keep how the run ended, and return once everything is written.

        Raises:
            HarnessError: Something could not be written.
            OSError: Likewise.
        """
        self._background.give(lambda: self._run.finish(OUTCOME_BY_EXIT_CODE[exit_code], exit_code, note=note))
        self.flush()
        self._resources.close()

    def flush(self) -> None:
        """Return once all that was given is written; raises as ``finish`` does."""
        self._background.finish()

    def discard(self) -> None:
        """Remove the record: the run cannot begin after all, and nothing was sent."""
        self._resources.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_second(self, second: Second, rows: Sequence[SecondRow]) -> None:
        self._load.add_seconds(rows)
        for series, histogram in second.histograms.items():
            self._histograms.write(
                Interval(
                    series=tuple(map(str, series)),
                    start_unix_s=float(second.unix_s),
                    length_s=1.0,
                    histogram=histogram,
                )
            )
