"""Call the body of a test, of the suite or of the user, and fail it if checks found a breach."""

import itertools
import os
import re
import shlex
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import pytest
from hypothesis.errors import Flaky

from knouds_harness.contract.operations import Fact, Source
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.claim import Check, Claim
from knouds_harness.judging.engine import checks_of_every_answer
from knouds_harness.judging.user_checks import USER, UserChecks
from knouds_harness.runs.findings import Finding, script_file
from knouds_harness.suite.recorder import FindingRecorder
from knouds_harness.suite.selection import checks_of, own_facts_of
from knouds_harness.suite.untested import Untested

_MOST_AT_LENGTH: Final = 2
"""Findings of one fact: one cause may show on each operation."""


class FoundByChecks(pytest.fail.Exception):  # type: ignore[name-defined,misc]  # an attribute of a function
    """Checks found something in what a test has sent; the findings are already recorded."""


def call_body(item: pytest.Function, arguments: Mapping[str, object], recorder: FindingRecorder) -> None:
    """Call a test's function.

    Raises:
        Failed: Its own check has a finding, or the test is the first to show a finding of another check.
        Untested: No response shows any of its facts.
    """
    begun = time.monotonic()
    recorder.begin_test(item.nodeid)
    if item.get_closest_marker("sequence"):
        recorder.steps.begin_sequence()
    try:
        item.obj(**arguments)
    except (AssertionError, Flaky):  # findings count even if the target shows them only now and then
        if not recorder.shown.failing:
            raise
    finally:
        recorder.duration_s_by_test[item.nodeid] = time.monotonic() - begun
        recorder.steps.begin_test()
        said = _said_of_findings(item, recorder)
        if said and not isinstance(sys.exception(), KeyboardInterrupt):
            raise pytest.fail.Exception("\n".join(said), pytrace=False) from None  # even if an error ended it
    own = own_facts_of(item)
    if own and recorder.shown.claimed.isdisjoint(own):
        if recorder.shown.last is not None:
            raise Untested(f"a response that shows it: {recorder.shown.last}")
        if item.get_closest_marker("shares"):
            raise Untested("a run that shows it: those of this check did not")
        raise Untested("a key or resource in the profile that shows it", "profile")


@contextmanager
def user_body(item: pytest.Function, recorder: FindingRecorder) -> Iterator[None]:
    """Surround the call of a user's test, however pytest makes it.

    Raises:
        FoundByChecks: The test passed, but checks found something in what it sent.
    """
    begun = time.monotonic()
    try:
        yield
    finally:
        recorder.duration_s_by_test[item.nodeid] = time.monotonic() - begun
    said = _said_of_findings(item, recorder)
    if said:
        raise FoundByChecks("\n".join(said), pytrace=False)


def _said_of_findings(item: pytest.Item, recorder: FindingRecorder) -> list[str]:
    """Say what the test shows: the first findings of each fact at length, the others in a line."""
    own = next((each.id for each in checks_of(item)[:1] if each not in checks_of_every_answer()), None)
    by_fact: dict[str, list[str]] = defaultdict(list)
    for mark, finding in recorder.findings.items():
        by_fact[finding.fact].append(mark)
    first = {mark for marks in by_fact.values() for mark in marks[:_MOST_AT_LENGTH]}
    new = recorder.shown.new
    return [
        _describe(recorder.findings[mark], recorder.answered.get(mark, ""), recorder.writer.folder)
        if mark in new & first
        else f"{'also' if mark in new else 'again'}: {_headline(finding)}: {finding.who}: "
        f"{finding.difference}"
        for mark, finding in recorder.shown.failing.items()
        if finding.check == own or mark in new
    ]


def _describe(finding: Finding, answered: str, folder: Path) -> str:
    place = f" at {finding.where}" if finding.where else ""
    again = finding.script or f"  {finding.curl}"  # a script's here-document must end at the line's start
    if finding.has_long_script:
        path = os.path.relpath(folder / script_file(finding))
        again = f"  a script: sh {shlex.quote(path)}"  # the run may replace it by a shorter one
    return (
        f"{_headline(finding)}\n"
        f"  {finding.who}{place}\n"
        f"  expected {finding.expected}\n  observed {finding.observed}\n"
        f"{f'  answered {answered}{chr(10)}' if answered else ''}"
        f"{f'  trace {finding.trace_id}{chr(10)}' if finding.trace_id else ''}"
        f"{again}"
    )


def _headline(finding: Finding) -> str:
    return f"{finding.verdict}: {finding.fact} ({finding.source})"


RUN_FIXTURE: Final = "knouds_run"
"""All fixtures of the suite depend on this one, so every test that uses them has it too."""
_MARK: Final = "user_test"


def mark_user_tests(items: Iterable[pytest.Item]) -> UserChecks:
    """Give each of the user's tests a check and a fact of its own; returns all of them."""
    facts, checks = {}, {}
    for item in items:
        if checks_of(item) or RUN_FIXTURE not in getattr(item, "fixturenames", ()):
            continue
        fact = Fact(id=_id_of(item), says=_says(item), source=Source.USER)
        facts[fact.id], checks[fact.id] = fact, _check_of(fact)
        item.add_marker(pytest.mark.proves(checks[fact.id]))
        item.add_marker(_MARK)
    return UserChecks(facts=facts, checks=checks)


def is_user_test(item: pytest.Item) -> bool:
    return item.get_closest_marker(_MARK) is not None


def record_kept(item: pytest.Item, recorder: FindingRecorder) -> None:
    """Record that the fact of a passed test holds, unless the test has sent nothing."""
    check, exchange = checks_of(item)[0], recorder.steps.last_of_test
    if exchange is not None:
        recorder.record(check, exchange, check.judge(exchange))


def record_failure(
    item: pytest.Item, recorder: FindingRecorder, error: BaseException
) -> Literal["finding", "waived", "error"]:
    """Record that the fact of a failed test does not hold; all that the test has sent is the evidence.

    Returns ``error`` if no assert failed, or nothing was sent that could be evidence.
    """
    if isinstance(error, FoundByChecks):
        return "finding"
    check, exchange = checks_of(item)[0], recorder.steps.last_of_test
    if exchange is None or not _is_assert(error):
        return "error"
    callspec = getattr(item, "callspec", None)
    broken = [
        replace(claim, holds=False, observed=_observed(error), where=callspec.id if callspec else "")
        for claim in check.judge(exchange)
    ]
    return "finding" if recorder.record(check, exchange, broken, given={"test": item.nodeid}) else "waived"


def _check_of(fact: Fact) -> Check[[]]:
    begins_as_name = fact.says[1:2].isupper()
    says = fact.says if begins_as_name else fact.says[:1].lower() + fact.says[1:]

    def judge(_exchange: Exchange) -> Iterator[Claim]:
        yield Claim(f"that {says}".rstrip("."), "the test passed", holds=True, fact=fact.id)

    judge.__doc__ = fact.says
    return Check(id=fact.id, facts=(fact.id,), judge=judge)


def _id_of(item: pytest.Item) -> str:
    """Return an id like ``user.tests.test_orders.test_price``, equal for all parameters and in every run."""
    name = item.nodeid.partition("[")[0].replace(".py::", "::")
    return f"{USER}.{re.sub(r'[^A-Za-z0-9_-]+', '.', name).strip('.')}"


def _says(item: pytest.Item) -> str:
    first = (getattr(getattr(item, "obj", None), "__doc__", None) or "").strip().partition("\n")[0]
    name = getattr(item, "originalname", None) or item.name
    return first or name.removeprefix("test_").replace("_", " ")


def _is_assert(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):  # from Hypothesis, if a property fails in several ways
        return all(map(_is_assert, error.exceptions))
    return isinstance(error, AssertionError | pytest.fail.Exception)


def _observed(error: BaseException) -> str:
    """Return the message of an assert, without pytest's details on its values."""
    lines = itertools.takewhile(
        lambda line: not line.startswith(("+", "-", "?")), map(str.strip, str(error).splitlines())
    )
    return "; ".join(filter(None, lines)) or "the assert failed"
