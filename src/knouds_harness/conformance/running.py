"""Running the suite as ``knouds-harness check`` does: pytest inside, our own progress outside."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from knouds_harness.conformance.plugin import finished_run, takes_real_time
from knouds_harness.conformance.selection import checks_of
from knouds_harness.conformance.session import ConformanceRun
from knouds_harness.errors import ExitCode, HarnessError
from knouds_harness.locations import suite_path


class SuiteBroken(HarnessError):
    """The suite could not be collected, or the harness failed while running it."""

    exit_code = ExitCode.BREACH


@dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """What a run ended with.

    Attributes:
        exit_code: For the command.
        folder: The run record, if the run came as far as writing one.
    """

    exit_code: int
    folder: Path | None


def run_suite(options: Sequence[str], *, console: Console) -> SuiteResult:
    """Run the conformance suite in this process.

    Args:
        options: Of the pytest plugin, such as ``--target``.
        console: Where progress goes.

    Raises:
        SuiteBroken: The suite itself could not run; says why.
    """
    watcher = _Watcher(console)
    with watcher.progress:
        code = _pytest_main(options, watcher)
    if watcher.trouble:
        raise SuiteBroken("the suite could not run:\n" + "\n".join(watcher.trouble))
    run = watcher.run
    if watcher.was_interrupted and code == pytest.ExitCode.INTERRUPTED:
        code = ExitCode.INTERRUPTED  # before there was a run to conclude
    return SuiteResult(
        exit_code=int(code), folder=run.recorder.writer.folder if run is not None and run.is_begun else None
    )


def collect_suite() -> list[pytest.Item]:
    """Every test of the suite, without running any or opening a target."""
    collector = _Collector()
    _pytest_main(["--collect-only"], collector)
    return collector.items


def _pytest_main(options: Sequence[str], plugin: object) -> int:
    # Whatever pytest plugins the user's environment holds, the suite runs alike; ours is named.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # Hypothesis keeps tables for next time: not among the user's files.
    os.environ.setdefault(
        "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(gettempdir()) / "knouds-harness-hypothesis")
    )
    folder = suite_path()
    own = [
        "-c",
        str(folder / "suite.ini"),
        "--rootdir",
        str(folder),
        "-p",
        "knouds_harness.conformance.plugin",
    ]
    return int(pytest.main([*own, "-p", "no:terminal", *options, str(folder)], plugins=[plugin]))


@dataclass
class _Collector:
    """A pytest plugin that keeps what was collected."""

    items: list[pytest.Item] = field(default_factory=list)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep the tests."""
        self.items = list(session.items)


@dataclass
class _Watcher:
    """A pytest plugin that shows how far the run is, and each finding as it is found."""

    console: Console
    trouble: list[str] = field(default_factory=list)
    run: ConformanceRun | None = None
    was_interrupted: bool = False
    _left_by_family: Counter[str] = field(default_factory=Counter)
    _family_by_test: dict[str, str] = field(default_factory=dict)
    _broken_by_family: Counter[str] = field(default_factory=Counter)
    _last_by_test: dict[str, pytest.Item] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description:<16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[broken]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self.progress.add_task("starting", total=None, broken="")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn what will run."""
        for item in session.items:
            if item.get_closest_marker("last"):
                self._last_by_test[item.nodeid] = item
            checks = checks_of(item)
            if checks:
                self._family_by_test[item.nodeid] = checks[0].family
        self._left_by_family.update(self._family_by_test.values())
        self.progress.update(self._task, total=len(session.items))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what could not be collected."""
        if report.failed:
            self.trouble.append(report.longreprtext)

    def pytest_internalerror(self, excrepr: object) -> None:
        """Keep what went wrong inside pytest or a plugin."""
        self.trouble.append(str(excrepr))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tell Ctrl-C from a session that ended itself."""
        self.was_interrupted = excinfo.type is KeyboardInterrupt

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Name the family at work, and say beforehand what will take its time."""
        item = self._last_by_test.get(nodeid)
        if item is not None and takes_real_time(item):
            self.console.print("  filling a window of the rate limit: up to two minutes", highlight=False)
        self.progress.update(self._task, description=self._family_by_test.get(nodeid, ""))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Show a finding at once, and each family as it is done."""
        if report.failed:
            self._broken_by_family[self._family_by_test.get(report.nodeid, "")] += 1
            self.progress.update(self._task, broken=f"{self._broken_by_family.total()} tests broken")
            self.console.print(report.longreprtext, markup=False, highlight=False, soft_wrap=True)
        if report.when == "teardown":
            self.progress.advance(self._task)
            self._count_down(self._family_by_test.get(report.nodeid, ""))

    def _count_down(self, family: str) -> None:
        self._left_by_family[family] -= 1
        if self._left_by_family[family] == 0:
            broken = self._broken_by_family[family]
            tests = sum(each == family for each in self._family_by_test.values())
            self.console.print(f"  {family:<16} {tests:>4} tests, {broken or 'none'} broken", highlight=False)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Take the finished run out of pytest's hands."""
        self.run = finished_run(config)
