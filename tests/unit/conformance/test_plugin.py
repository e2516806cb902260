"""The pytest plugin, beside tests that run in threads."""

from contextlib import contextmanager
from types import SimpleNamespace

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

    run = SimpleNamespace(turn=SimpleNamespace(taken=taken), harness_errors=[])
    monkeypatch.setattr(plugin, "opened_run", lambda _: run)
    monkeypatch.setattr(plugin, "checks_of", lambda _: ["a check"])
    item = SimpleNamespace(nodeid="test_it", config=None)
    failed = pytest.CallInfo.from_call(lambda: 1 / 0, "call")

    reporting = plugin.pytest_runtest_makereport(item, failed)
    next(reporting)
    events.append("error shown")
    with pytest.raises(StopIteration):
        reporting.send(SimpleNamespace())

    assert events == ["turn taken", "error shown", "turn given back"]
