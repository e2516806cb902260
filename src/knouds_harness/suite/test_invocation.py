"""Call the body of a conformance test, and fail it if its own check found a breach."""

import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis.errors import Flaky

from knouds_harness.judging.engine import checks_of_every_answer
from knouds_harness.runs.findings import Finding, script_file
from knouds_harness.suite.recorder import FindingRecorder
from knouds_harness.suite.selection import checks_of, own_facts_of
from knouds_harness.suite.untested import Untested


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
        recorder.steps.end_sequence()
        said = _said_of_findings(item, recorder)
        if said:
            raise pytest.fail.Exception("\n".join(said), pytrace=False) from None  # even if an error ended it
    own = own_facts_of(item)
    if own and recorder.shown.claimed.isdisjoint(own):
        raise _nothing_shown(recorder.shown.last)


def _nothing_shown(last: str | None) -> Untested:
    if last is None:
        return Untested("a key or resource in the profile that shows it", "profile")
    return Untested(f"a response that shows it: {last}")


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
    own = next((each.id for each in checks_of(item)[:1] if each not in checks_of_every_answer()), None)
    shown = recorder.shown
    return [
        _describe(recorder.findings[mark], recorder.answered.get(mark, ""), recorder.writer.folder)
        if mark in shown.new
        else f"again: {_headline(finding)}: {finding.who}: {finding.difference}"
        for mark, finding in shown.failing.items()
        if finding.check == own or mark in shown.new
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
