"""The pytest plugin, while tests run in threads."""

from contextlib import contextmanager
from unittest import mock

import pytest

from knouds_harness.runs.run_file import UntestedFact
from knouds_harness.suite import plugin
from knouds_harness.suite.untested import Untested


def test_error_is_shown_while_no_other_test_computes(monkeypatch):
    """To show it, pytest parses source, which can crash CPython 3.11 if another thread parses too."""
    events = []

    @contextmanager
    def held():
        events.append("lock held")
        yield
        events.append("lock released")

    def fail():
        raise ValueError

    run = mock.Mock(lock=mock.Mock(held=held))
    monkeypatch.setattr(plugin, "opened_run", lambda _: run)
    monkeypatch.setattr(plugin, "checks_of", lambda _: [mock.Mock(id="a.check")])

    reporting = plugin.pytest_runtest_makereport(mock.Mock(), pytest.CallInfo.from_call(fail, "call"))
    next(reporting)
    events.append("error shown")
    with pytest.raises(StopIteration):
        reporting.send(mock.Mock())

    assert events == ["lock held", "error shown", "lock released"]


def test_untested_becomes_a_skip_and_an_entry_in_the_record(monkeypatch):
    """The code that raises it does not depend on pytest."""

    def lack():
        raise Untested("a second account", "profile")

    run = mock.MagicMock()
    check = mock.Mock(id="a.check")
    monkeypatch.setattr(plugin, "opened_run", lambda _: run)
    monkeypatch.setattr(plugin, "checks_of", lambda _: [check])
    monkeypatch.setattr(plugin, "facts_of", lambda _: {"a.fact": ()})
    monkeypatch.setattr(plugin, "operation_of", lambda _: None)
    item = mock.Mock(reportinfo=lambda: ("test_a.py", 6, "test_a"), stash={})

    reporting = plugin.pytest_runtest_makereport(item, pytest.CallInfo.from_call(lack, "call"))
    next(reporting)
    with pytest.raises(StopIteration) as stopped:
        reporting.send(mock.Mock(outcome="failed"))

    report = stopped.value.value
    assert (report.outcome, report.longrepr) == (
        "skipped",
        ("test_a.py", 7, "untested: needs a second account"),
    )
    run.recorder.writer.add_untested.assert_called_once_with(
        UntestedFact(check="a.check", fact="a.fact", operation=None, missing="a second account")
    )
