"""Run the tests again that showed findings which relate several responses."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from knouds_harness.option_declarations import runner_arguments
from knouds_harness.runs.findings import Finding
from knouds_harness.suite.options import RunOptions
from knouds_harness.suite.plugin import UNTESTED, finished_run
from knouds_harness.suite.replay.replay_judgement import CannotTell, ReplayStatus
from knouds_harness.suite.running import SessionErrors, run_pytest
from knouds_harness.suite.session import ConformanceRun


@dataclass(eq=False, kw_only=True)  # pytest hashes plugins
class RepeatedTests(SessionErrors):
    """A pytest plugin that runs only some tests of the suite; the record of ``run`` has what they show.

    Attributes:
        skipped: Why a test could not run, by test id.
    """

    tests: Collection[str]
    show: Callable[[str], None] = lambda _: None
    found: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    run: ConformanceRun | None = None
    _ended: int = 0

    @classmethod
    def repeat(
        cls,
        tests: Iterable[str],
        *,
        show: Callable[[str], None],
        **options: Any,  # noqa: ANN401 - fields of RunOptions
    ) -> Self:
        repeated = cls(tests=frozenset(tests), show=show)
        run_pytest(runner_arguments(RunOptions, options), repeated)
        return repeated

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self.tests]
        self.found = {item.nodeid for item in items}

    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Note why a test was untested."""
        if UNTESTED in item.stash:
            self.skipped[item.nodeid] = str(item.stash[UNTESTED])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)
        if report.when == "teardown":
            self._ended += 1
            self.show(f"  {self._ended} of {len(self.found)}: {report.nodeid.rpartition('::')[2]}")

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Keep the finished run beyond pytest's session."""
        self.run = finished_run(config)

    @property
    def left(self) -> Sequence[str]:
        return self.run.left if self.run else ()

    def judge(self, finding: Finding) -> tuple[ReplayStatus, str]:
        """Return whether a finding still stands, by its test.

        Raises:
            CannotTell: The test did not get to judge it.
        """
        if finding.test not in self.found:
            raise CannotTell(f"this version has no test {finding.test}")
        if self.run is None or not self.run.is_begun:
            raise CannotTell("its test could not run")
        writer = self.run.recorder.writer
        known = writer.findings.get(finding.fingerprint)
        if known is not None:
            return ReplayStatus.STANDS, known.difference
        about = finding.check, finding.fact, finding.operation
        for each in writer.findings.values():
            if (each.check, each.fact, each.operation) == about:
                raise CannotTell(f"it is broken in another way: {each.difference}")
        if finding.test in self.skipped:
            raise CannotTell(f"its test needs {self.skipped[finding.test]}")
        kept = {(each.check, each.fact, each.operation) for each in writer.results() if each.passed}
        # A check may claim nothing about a correct response; then another check of the test shows the fact.
        shown = {fact for _, fact, _ in kept} if finding.test in self.passed else set()
        if about not in kept and finding.fact not in shown:
            raise CannotTell(self.run.note.partition("\n")[0] or "its test did not get to judge it")
        return ReplayStatus.GONE, "its test ran again, and its check found nothing wrong"
