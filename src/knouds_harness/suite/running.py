"""Run the suite for ``knouds-harness check``: pytest inside, our own progress display outside."""

import ctypes
import gc
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from tempfile import gettempdir
from typing import Final

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from knouds_harness.command_output import print_line
from knouds_harness.errors import HarnessError, OutputClosed
from knouds_harness.locations import suite_path
from knouds_harness.printable import counted
from knouds_harness.suite.plugin import fills_early, finished_run, opened_run
from knouds_harness.suite.run_outcome import mistyped
from knouds_harness.suite.selection import checks_of
from knouds_harness.suite.session import ConformanceRun

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LONG_BYTES: Final = 1_000_000


@dataclass(eq=False, kw_only=True)  # pytest 9.0 hashes plugins
class SessionErrors:
    """A pytest plugin that keeps collection errors, what was raised inside pytest or a plugin, and the run.

    Attributes:
        run: The run beyond pytest's session; None before, and if there was none.
        was_interrupted: Ctrl-C or a closed output ended the session, and not pytest or a plugin.
    """

    trouble: list[str] = field(default_factory=list)
    raised: BaseException | None = None
    was_interrupted: bool = False
    run: ConformanceRun | None = None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.trouble.append(report.longreprtext)

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
        """Keep what was raised; returning True keeps pytest from printing a traceback."""
        self.raised = excinfo.value
        return True

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tell Ctrl-C from a session that ended itself, as pytest has one hook for both."""
        self.was_interrupted = excinfo.type in (KeyboardInterrupt, OutputClosed)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        self.run = finished_run(config)


def run_suite(options: Sequence[str], *, console: Console, only_failures: bool) -> tuple[int, Path | None]:
    """Run the conformance suite in this process; returns the exit code, and the folder of a record."""
    watcher = _Watcher(console=console, only_failures=only_failures)
    with watcher.progress:
        code = run_pytest(options, watcher)
    run = watcher.run
    return code, run.recorder.writer.folder if run is not None and run.is_begun else None


@cache
def collect_suite() -> tuple[pytest.Item, ...]:
    """Collect every test of the suite, without running any or opening a target."""
    collector = _Collector()
    run_pytest(["--collect-only"], collector)
    return tuple(collector.items)


def run_pytest(options: Sequence[str], plugin: SessionErrors) -> int:
    """Have pytest run the conformance suite with our plugin and ``plugin``; returns its exit code.

    Raises:
        HarnessError: Not all of it could be collected; says why.
        KeyboardInterrupt: Ctrl-C came before there was a run record.
        BaseException: What was raised inside pytest or a plugin.
    """
    _keep_little_memory()
    environment = dict(os.environ)
    # The suite runs alike whatever plugins and options the user's environment has; -p loads our plugin.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    # Keep the tables that Hypothesis stores for next time out of the user's files.
    os.environ.setdefault(
        "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(gettempdir()) / "knouds-harness-hypothesis")
    )
    folder = suite_path()
    own = [
        f"--config-file={folder / 'suite.ini'}",
        f"--rootdir={folder}",
        *("-p", "knouds_harness.suite.plugin"),
        *("-p", "no:terminal"),
        *("-p", "no:unraisableexception"),  # the command has a hook of its own, so that no Ctrl-C is lost
        "--capture=sys",  # nothing writes to file descriptors, and replacing them costs 4 % of a check
    ]
    try:
        code = int(pytest.main([*own, *options, str(folder)], plugins=[plugin]))
    finally:
        os.environ.clear()
        os.environ.update(environment)
    if plugin.raised is not None:
        raise plugin.raised
    if plugin.trouble:
        raise HarnessError("the suite could not be collected:\n" + "\n".join(plugin.trouble))
    if code == pytest.ExitCode.INTERRUPTED and plugin.was_interrupted:
        raise KeyboardInterrupt  # before there was a run to conclude, which would have given another code
    return code


def _keep_little_memory() -> None:
    """Have glibc return the memory of long bodies at once, and not keep free memory for each thread."""
    with suppress(AttributeError, OSError, TypeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LONG_BYTES)
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def show_wait(console: Console, seconds: float) -> None:
    """Say why nothing moves: only a rate-limit window takes that long."""
    until = datetime.now(UTC).astimezone() + timedelta(seconds=seconds)
    console.print(f"  waiting {seconds:.0f} s: throttled until {until:%H:%M:%S}", highlight=False)


@dataclass(eq=False, kw_only=True)
class _Collector(SessionErrors):
    items: list[pytest.Item] = field(default_factory=list)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = list(session.items)


@dataclass(eq=False, kw_only=True)
class _Watcher(SessionErrors):
    console: Console
    only_failures: bool = False
    _left_by_family: Counter[str] = field(default_factory=Counter)
    _family_by_test: dict[str, str] = field(default_factory=dict)
    _ended_by_family: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _has_begun: bool = False

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

    def pytest_collection(self, session: pytest.Session) -> None:
        """Read the profile first, so that its errors show before hundreds of tests are collected."""
        opened_run(session.config).lock.on_long_wait = partial(show_wait, self.console)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._config = session.config
        gc.freeze()  # all current objects stay, so full collections need not visit them
        self._family_by_test = {
            item.nodeid: checks[0].family for item in session.items if (checks := checks_of(item))
        }
        self._left_by_family.update(self._family_by_test.values())
        self.progress.update(self._task, total=len(session.items))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._announce()
        self.progress.update(self._task, description=self._family_by_test.get(nodeid, ""))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        family = self._family_by_test.get(report.nodeid, "")
        ended = self._ended_by_family[family]
        if report.when == "call" or not report.passed:
            ended[report.outcome] += 1
        if report.failed:
            failed = sum(each["failed"] for each in self._ended_by_family.values())
            self.progress.update(self._task, broken=f"{failed} failed")
            self.console.print(report.longreprtext, markup=False, highlight=False, soft_wrap=True)
        if report.when == "teardown":
            self.progress.advance(self._task)
            self._left_by_family[family] -= 1
            if self._left_by_family[family] == 0 and (ended["failed"] or not self.only_failures):
                others = "".join(f", {ended[each]} {each}" for each in ("failed", "skipped") if ended[each])
                self.console.print(f"  {family:<16} {ended['passed']:>4} passed{others}", highlight=False)

    def _announce(self) -> None:
        """Print the target, what is odd about its profile, where it contradicts that, and what takes long."""
        run = opened_run(self._config)
        profile = run.profile
        if not self.console.is_terminal:  # on a terminal, the progress bar says it
            words = f"{profile.name} ({profile.base_url}): {counted(len(self._family_by_test), 'test')}"
            self.console.print(f"checking {words}", markup=False, highlight=False, soft_wrap=True)
        for says in mistyped(profile):
            print_line(f"  {says}", style="yellow", console=self.console)
        for each in run.contradictions:
            words = f"  target contradicts the profile: {each.says}"
            print_line(words, style="red", console=self.console)
        if fills_early(self._config):
            words = "  filling a rate-limit window alongside other tests: one or two minutes"
            self.console.print(words, highlight=False)
