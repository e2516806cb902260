"""Judge a finding again: by the response to its replayed request, or by its test."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

import pytest

from knouds_harness.contract.document import shipped_document, value_at
from knouds_harness.contract.operations import Source
from knouds_harness.contract.shapes import as_json
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.checks import all_checks
from knouds_harness.judging.claim import Claim, RuleCheck
from knouds_harness.judging.context import Case, Context
from knouds_harness.judging.drift import FACT, Gatherer, drift_finding
from knouds_harness.judging.engine import claims_of
from knouds_harness.judging.rule.reading import claims_by_rule
from knouds_harness.option_declarations import runner_arguments
from knouds_harness.runs.findings import Finding, Verdict, fingerprint
from knouds_harness.suite.options import RunOptions
from knouds_harness.suite.plugin import UNTESTED
from knouds_harness.suite.running import SessionErrors, run_pytest


class ReplayStatus(StrEnum):
    """What the replay of a finding showed."""

    STANDS = "still stands"
    GONE = "gone"
    UNSEEN = "not seen"
    OPEN = "cannot tell"


class CannotTell(Exception):
    """Why a replay cannot tell whether a finding stands; shown to the user in the finding's line."""


def is_shown_by_suite(finding: Finding) -> bool:
    """Return whether a test of the suite shows the finding; user checks are known only to their run."""
    return bool(finding.test) and finding.check in all_checks()


def judge_again(
    finding: Finding, before: Exchange, after: Exchange, context: Context
) -> tuple[ReplayStatus, str]:
    """Return what the new response shows.

    Raises:
        CannotTell: It says nothing about the finding.
    """
    if after.status == 429 and finding.status != 429:
        raise CannotTell("the target throttles")
    if after.status is None and finding.status is not None:
        raise CannotTell(f"no response: {after.failure}")
    if finding.verdict is Verdict.ADDITIVE:
        return _drift(finding, after)
    claims = claims_of(finding.check, after, context)
    if claims is not None:
        return _claimed(finding, after, claims)
    if isinstance(all_checks().get(finding.check), RuleCheck):
        # What had to be answered may show nothing of the finding's fact.
        shown = [claim.holds for _, claim in claims_by_rule(Case(exchange=after, context=context))]
        if shown and all(shown):
            return ReplayStatus.GONE, f"answered {after.answer}, for which there is a documented reason"
    return _compared(finding, before, after)


def _drift(finding: Finding, after: Exchange) -> tuple[ReplayStatus, str]:
    document = shipped_document()
    gatherer = Gatherer(document)
    gatherer.add(after)
    fact = document.facts[FACT]
    for novelty in gatherer.novelties():
        if drift_finding(novelty, fact).fingerprint == finding.fingerprint:
            return ReplayStatus.STANDS, f"observed {novelty.says}, which the document does not name"
    return ReplayStatus.GONE, f"answered {after.answer}"


def _claimed(finding: Finding, after: Exchange, claims: Sequence[Claim]) -> tuple[ReplayStatus, str]:
    """Decide by the check's claims: gone if there are some, and none is broken in another way."""
    about = [claim for claim in claims if claim.fact == finding.fact]
    if not about:
        raise CannotTell(f"answered {after.answer}, about which its check says nothing")
    broken = [claim for claim in about if not claim.holds]
    for claim in broken:
        as_in_the_run = fingerprint(
            check=finding.check,
            fact=claim.fact,
            operation=finding.operation,
            where=claim.where,
            status=finding.status,
            code=finding.code,
        )
        if as_in_the_run == finding.fingerprint:
            return ReplayStatus.STANDS, claim.difference
    if broken:
        raise CannotTell(f"it is broken in another way: {broken[0].difference}")
    if finding.where and after.status != finding.status:
        raise CannotTell(
            f"answered {after.answer}, but {finding.status} in the run: {finding.where} is not there"
        )
    return ReplayStatus.GONE, f"answered {after.answer}"


def _compared(finding: Finding, before: Exchange, after: Exchange) -> tuple[ReplayStatus, str]:
    """Decide by what was expected and observed, as the check itself would have to know more."""
    if finding.where.startswith("/") and after.status == before.status:
        shown = as_json(value_at(after.json_or_none(), finding.where))  # as checks write it in findings
        if shown in (finding.expected, finding.observed):
            is_same = shown == finding.observed
            return (ReplayStatus.STANDS if is_same else ReplayStatus.GONE), f"{finding.where} is {shown}"
    if finding.observed != before.answer:
        if finding.source is Source.USER:
            raise CannotTell("it is a finding of your own check")
        raise CannotTell("its check needs more than one response")
    if (after.status, after.code) == (before.status, before.code):
        return ReplayStatus.STANDS, f"answered {after.answer}"
    if str(after.status) in re.findall(r"\b\d{3}\b", finding.expected):
        return ReplayStatus.GONE, f"answered {after.answer}"
    raise CannotTell(f"answered {after.answer}, which is neither what was observed nor clearly as expected")


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
        if UNTESTED in item.stash:
            self.skipped[item.nodeid] = str(item.stash[UNTESTED])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)
        if report.when == "teardown":
            self._ended += 1
            self.show(f"  {self._ended} of {len(self.found)}: {report.nodeid.rpartition('::')[2]}")

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
