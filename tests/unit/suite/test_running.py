"""Output of a check while it runs."""

from __future__ import annotations

import re
from contextlib import nullcontext
from functools import partial
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from knouds_harness.suite import running
from knouds_harness.suite.concurrent_tests import RunLock


def watcher(*, is_terminal=False):
    console = Console(file=StringIO(), force_terminal=is_terminal, color_system=None, width=80)
    return running._Watcher(console=console)  # noqa: SLF001 - pytest alone meets it otherwise


@pytest.mark.parametrize(
    ("is_terminal", "expected"),
    [(False, "checking staging (https://staging.example.com): 1 test\n"), (True, "")],
    ids=["pipe", "terminal"],
)
def test_first_line_in_a_pipe_says_what_is_checked(monkeypatch, is_terminal, expected):
    """Once nothing on the command line is wrong; in a terminal the progress bar says it."""
    profile = SimpleNamespace(name="staging", base_url="https://staging.example.com")
    run = SimpleNamespace(profile=profile, contradictions=())
    monkeypatch.setattr(running, "opened_run", lambda _: run)
    monkeypatch.setattr(running, "mistyped", lambda _: ())
    monkeypatch.setattr(running, "fills_early", lambda _: False)
    monkeypatch.setattr(running, "checks_of", lambda _: [SimpleNamespace(family="usage")])
    shown = watcher(is_terminal=is_terminal)
    shown.pytest_collection_finish(SimpleNamespace(config=None, items=[SimpleNamespace(nodeid="a test")]))
    assert shown.console.file.getvalue() == ""

    shown.pytest_runtest_logstart("a test")

    assert shown.console.file.getvalue() == expected


def test_long_wait_is_explained(monkeypatch):
    """How long, why, and until when; a short wait is not mentioned."""
    lock, out = RunLock(), StringIO()
    lock.on_long_wait = partial(running.show_wait, Console(file=out, width=80))
    monkeypatch.setattr(lock._is_over, "wait", lambda _: None)  # noqa: SLF001 - time does not pass

    lock.wait(0.5)
    lock.wait(49)

    assert re.fullmatch(r"  waiting 49 s: throttled until \d\d:\d\d:\d\d\n", out.getvalue())


@pytest.mark.parametrize(
    ("raised", "is_interrupted"), [(KeyboardInterrupt, True), (pytest.exit.Exception, False)]
)
def test_ctrl_c_is_distinguished_from_other_ends_of_a_session(monkeypatch, raised, is_interrupted):
    """Pytest returns 2 for both, which is a usage error here."""

    def main(_, plugins):
        for plugin in plugins:
            plugin.pytest_keyboard_interrupt(SimpleNamespace(type=raised))
        return pytest.ExitCode.INTERRUPTED

    monkeypatch.setattr(pytest, "main", main)
    expected = pytest.raises(KeyboardInterrupt) if is_interrupted else nullcontext()

    with expected:
        assert running.run_pytest([], running.SessionErrors()) == pytest.ExitCode.INTERRUPTED
