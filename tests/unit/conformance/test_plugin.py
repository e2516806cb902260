"""The pytest plugin, beside tests that run in threads."""

from contextlib import contextmanager
from unittest import mock

import pytest

from knouds_harness.conformance import plugin


def test_error_is_shown_while_no_other_test_computes(monkeypatch):
    """To show one, pytest parses source: a crash of CPython 3.11 where another thread parses meanwhile."""
    events = []

    @contextmanager
    def taken():
        events.append("turn taken")
        yield
        events.append("turn given back")

    def fail():
        raise ValueError

    run = mock.Mock(turn=mock.Mock(taken=taken))
    monkeypatch.setattr(plugin, "opened_run", lambda _: run)
    monkeypatch.setattr(plugin, "checks_of", lambda _: ["a check"])

    reporting = plugin.pytest_runtest_makereport(mock.Mock(), pytest.CallInfo.from_call(fail, "call"))
    next(reporting)
    events.append("error shown")
    with pytest.raises(StopIteration):
        reporting.send(mock.Mock())

    assert events == ["turn taken", "error shown", "turn given back"]
