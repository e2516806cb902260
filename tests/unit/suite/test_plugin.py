"""The pytest plugin, while tests run in threads."""

from contextlib import contextmanager
from unittest import mock

import pytest

from knouds_harness.suite import plugin


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
